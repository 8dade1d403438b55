"""The engine: conditions, dates, clocks, what is reported, what is missing, ceilings."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from pricing.clock import Schedule
from pricing.cost import Cost
from pricing.load import load_book
from pricing.price import Multiplier
from pricing.units import UNITS
from pricing.usage import Part, Reading
from tests.support.prices import at, book, price, with_rows
from tests.support.rows import each_row

PLAIN = {"prices": {"input": "2", "cache_read": "0.5", "cache_write_5m": "2.5", "output": "8"}}
BATCH = {"when": {"processing": "batch"}, "prices": {"input": "1", "output": "4"}}
PRIORITY = {"when": {"service_tier": "priority"}, "prices": {"input": "4", "output": "16"}}
EU = Multiplier("acme", "*", Decimal("1.1"), when={"region": ("eu",)}, group="residency")
MILLION = {"input": 1_000_000}
BOOK = load_book()


def test_lines_are_exact_and_the_total_is_rounded_once_half_even() -> None:
    cost = price(book({"prices": {"input": "0.0005", "output": "0.0005"}}), {"input": 1, "output": 2})
    line = cost.lines[0]
    assert (line.unit, line.price_usd, line.per, line.source) == ("input", Decimal("0.0005"), 1_000_000, "test")
    assert (line.quantity, line.cost_usd, line.model) == (1, Decimal("5E-10"), None)
    assert cost.cost_usd == Decimal("0.0000000015")
    assert cost.cost_nanousd == 2
    assert price(book({"prices": {"input": "0.0005"}}), {"input": 1}).cost_nanousd == 0


def test_a_unit_without_a_price_takes_its_parents() -> None:
    cost = price(book(PLAIN), {"cache_write_1h": 1_000_000, "cache_read_audio": 1_000_000, "reasoning": 1_000_000})
    assert cost.cost_usd == Decimal("2.5") + Decimal("0.5") + 8


def test_without_any_price_it_is_unpriced_and_with_some_partial_never_0() -> None:
    nothing = price(book(PLAIN), MILLION, model="other")
    assert (nothing.status, nothing.cost_usd, nothing.cost_nanousd) == ("unpriced", None, None)
    some = price(book(PLAIN), {**MILLION, "image": 1})
    assert (some.status, some.cost_usd) == ("partial", None)
    assert book(PLAIN).is_priced("acme", "m", at("2026-11-23"))
    assert not book(PLAIN).is_priced("acme", "other", at("2026-11-23"))


def test_what_nobody_stated_is_unpriced_but_no_usage_of_a_known_kind_costs_nothing() -> None:
    unknown = book(PLAIN).cost(Reading(), provider="acme", model="m", at_s=at("2026-11-23"))
    assert unknown.cost_usd is None
    assert price(book(PLAIN), {}).cost_usd == 0


def test_units_that_only_inform_cost_nothing_without_a_price() -> None:
    assert price(book(PLAIN), {**MILLION, "request": 1, "gpu_second": Decimal("2.1")}).cost_usd == 2


def test_conditions_choose_rows_unit_by_unit() -> None:
    prices = book(PLAIN, BATCH, PRIORITY)
    usage = {"input": 1_000_000, "cache_read": 1_000_000, "output": 1_000_000}
    assert price(prices, usage).cost_usd == Decimal("10.5")
    assert price(prices, usage, processing="batch").cost_usd == Decimal("5.5")
    assert price(prices, usage, service_tier="priority").cost_usd == Decimal("20.5")
    assert price(prices, usage, service_tier="default").cost_usd == Decimal("10.5")
    assert price(prices, usage, service_tier="unheard-of").cost_usd == Decimal("10.5")


def test_dates_begin_inclusive_and_end_exclusive() -> None:
    prices = book({"to": "2026-12-01", "prices": {"input": "2"}}, {"from": "2026-12-01", "prices": {"input": "4"}})
    assert price(prices, MILLION, moment="2026-11-30T23:59:59Z").cost_usd == 2
    assert price(prices, MILLION, moment="2026-12-01T00:00:00Z").cost_usd == 4
    assert price(prices, MILLION, moment="2026-11-30T23:59:59Z").cost_usd == 2


def test_an_inclusive_tier_begins_at_its_threshold() -> None:
    tier = {"over": 10, "inclusive": True, "prices": {"input": "4"}}
    prices = book(
        {"prices": {"input": "2"}, "tiers": [tier]},
        {"model": "n", "prices": {"input": "2"}, "tiers": [tier | {"inclusive": False}]},
    )
    assert price(prices, {"input": 9}).cost_usd == Decimal("0.000018")
    assert price(prices, {"input": 10}).cost_usd == Decimal("0.00004")
    assert price(prices, {"input": 10}, model="n").cost_usd == Decimal("0.00002")


def test_a_minimum_quantity_is_billed() -> None:
    prices = book({"prices": {"audio_second": "0.36/3600>=10"}})
    assert price(prices, {"audio_second": Decimal("2.5")}).lines[0].quantity == 10
    assert price(prices, {"audio_second": 11}).cost_usd == Decimal("0.0011")


def test_multipliers_come_last_and_only_on_tokens() -> None:
    prices = book(PLAIN | {"prices": {"input": "2", "web_search": "10/1000"}}, multipliers=(EU,))
    usage = {**MILLION, "web_search": 100}
    assert price(prices, usage).cost_usd == 3
    assert price(prices, usage, geo="eu").cost_usd == Decimal("3.2")
    assert price(prices, usage, base_url="https://eu.api.acme.com/v1").cost_usd == Decimal("3.2")
    assert price(prices, usage, reported="1", geo="eu").cost_usd == 1


def test_a_gap_multiplier_stands_back_for_a_row_that_knows_its_condition() -> None:
    gap = Multiplier("acme", "*", Decimal("0.5"), when={"processing": ("batch",)}, gap=True, group="batch")
    assert price(book(PLAIN, multipliers=(gap,)), MILLION, processing="batch").cost_usd == 1
    usage = {"cache_read": 1_000_000}
    assert price(book(PLAIN, BATCH, multipliers=(gap,)), usage, processing="batch").cost_usd == Decimal("0.5")


def test_the_clock_knows_weekdays_holidays_and_midnight() -> None:
    peak = Schedule(((3600, 4 * 3600),), frozenset(range(1, 6)), frozenset({dt.date(2026, 10, 1)}))
    night = Schedule(((16 * 3600, 1800),))
    factors = (
        Multiplier("acme", "*", Decimal(2), when={"clock": ("peak",)}, group="clock"),
        Multiplier("acme", "*", Decimal("0.5"), when={"clock": ("night",)}, group="night"),
    )
    prices = book(PLAIN, multipliers=factors, schedules={"peak": peak, "night": night})
    assert price(prices, MILLION, moment="2026-11-23T02:30:00Z").cost_usd == 4  # Monday
    assert price(prices, MILLION, moment="2026-11-23T04:00:00Z").cost_usd == 2
    assert price(prices, MILLION, moment="2026-11-22T02:30:00Z").cost_usd == 2  # Sunday
    assert price(prices, MILLION, moment="2026-10-01T02:30:00Z").cost_usd == 2  # holiday
    assert price(prices, MILLION, moment="2026-11-23T23:00:00Z").cost_usd == 1
    assert price(prices, MILLION, moment="2026-11-23T00:29:59Z").cost_usd == 1
    assert price(prices, MILLION, moment="2026-11-23T00:30:00Z").cost_usd == 2


def test_the_served_model_is_priced_and_the_routed_one_where_it_has_no_price() -> None:
    prices = book(PLAIN, {"model": "big", "prices": {"input": "20"}})
    served = price(prices, MILLION, served="big")
    assert (served.cost_usd, served.model, served.flags) == (20, "big", ())
    fallen = price(prices, MILLION, served="unknown")
    assert (fallen.cost_usd, fallen.model, fallen.flags) == (2, "m", ("fallback_price",))
    neither = price(prices, MILLION, model="x", served="unknown")
    assert (neither.cost_usd, neither.model, neither.flags) == (None, "unknown", ())


EUROPE = {"when": {"region": "eu"}, "prices": {"input": "3"}}
IRELAND = {"model": "other", "when": {"bedrock_region": "eu-west-1"}, "prices": {"input": "3"}}
OREGON = {"when": {"bedrock_region": "us-west-2"}, "prices": {"input": "3"}}
JAPAN = Multiplier("acme", "m*", Decimal(2), when={"region": ("jp",)}, group="residency")


@pytest.mark.parametrize(
    ("rows", "served", "usd"),
    [
        ((PLAIN, EUROPE), {"zone": "asia"}, "2"),
        ((PLAIN, EUROPE), {"inference_geo": "mars"}, "2"),
        ((PLAIN, OREGON), {"bedrock_region": "mx-central-1"}, "2"),
    ],
)
def test_a_place_of_which_no_price_is_known_is_flagged(
    rows: tuple[dict[str, Any], ...], served: dict[str, str], usd: str
) -> None:
    cost = price(book(*rows), MILLION, **served)

    assert (cost.cost_usd, cost.status, cost.flags) == (Decimal(usd), "priced", ("fallback_price",))
    own = {"provider": "acme", "model": "m", "input": "3"}
    assert price(with_rows(book(*rows), own), MILLION, **served).flags == ()


@pytest.mark.parametrize(
    ("rows", "served", "usd"),
    [
        ((PLAIN,), {"zone": "asia"}, "2"),  # nothing says that it depends on the place
        ((PLAIN, EUROPE), {"zone": "eu"}, "3"),
        ((PLAIN, EUROPE), {"zone": "global"}, "2"),
        ((PLAIN, EUROPE), {}, "2"),
        ((PLAIN, EUROPE), {"region": "jp"}, "4"),
        ((PLAIN, OREGON, IRELAND), {"bedrock_region": "eu-west-1"}, "2"),  # a place that has no price of its own for it
    ],
)
def test_a_place_that_is_known_is_not_flagged(
    rows: tuple[dict[str, Any], ...], served: dict[str, str], usd: str
) -> None:
    cost = price(book(*rows, multipliers=(JAPAN,) if EUROPE in rows else ()), MILLION, **served)

    assert (cost.cost_usd, cost.flags) == (Decimal(usd), ())


@pytest.mark.parametrize("served", [{"service_tier": "ultrafast"}, {"service_tier": "priority"}, {"speed": "fast"}])
def test_what_was_served_dearer_and_has_no_price_is_flagged(served: dict[str, str]) -> None:
    cost = price(book(PLAIN), MILLION, **served)
    assert (cost.cost_usd, cost.status, cost.flags) == (2, "priced", ("fallback_price",))
    own = {"provider": "acme", "model": "m", "input": "3"}
    assert price(with_rows(book(PLAIN), own), MILLION, **served).flags == ()
    dearer = {"when": served, "prices": {"input": "5", "output": "16"}}
    assert price(book(PLAIN, dearer), MILLION, **served).cost_usd == 5
    assert price(book(PLAIN, dearer), MILLION, **served).flags == ()
    factor = Multiplier("acme", "m*", Decimal(2), when={name: (value,) for name, value in served.items()}, group="tier")
    assert price(book(PLAIN, multipliers=(factor,)), MILLION, **served).flags == ()


@pytest.mark.parametrize("tier", ["default", "standard", "auto", "on_demand", "flex", "scale", "reserved", "batch"])
def test_a_tier_that_is_no_dearer_needs_no_price_of_its_own(tier: str) -> None:
    assert price(book(PLAIN), MILLION, service_tier=tier).flags == ()


def test_capacity_of_anthropics_that_was_bought_beforehand_is_no_dearer_tier() -> None:
    reading = Reading(MILLION, conditions={"service_tier": "priority"})
    cost = BOOK.cost(reading, provider="anthropic", model="claude-sonnet-4-5", at_s=at("2026-11-23T00:00:00Z"))
    assert cost.flags == ()


@pytest.mark.parametrize(
    ("model", "counts"), [("claude-opus-5", True), ("claude-opus-5-latest", True), ("claude-sonnet-4-5", False)]
)
def test_what_is_asked_for_counts_only_where_a_price_of_that_model_depends_on_it(model: str, counts: bool) -> None:
    asked = BOOK.relevant_conditions(
        {"speed": "fast"}, provider="anthropic", model=model, at_s=at("2026-11-23T00:00:00Z")
    )
    assert asked == ({"speed": "fast"} if counts else {})


def test_parts_are_billed_at_their_own_models_prices() -> None:
    prices = book(PLAIN, {"model": "advisor", "prices": {"input": "20"}})
    cost = price(prices, MILLION, parts=(Part("advisor", MILLION),))
    assert cost.cost_usd == 22
    assert [line.model for line in cost.lines] == [None, "advisor"]
    assert price(prices, MILLION, parts=(Part("unknown", MILLION),)).status == "partial"


def test_a_reported_cost_wins_over_the_book_and_a_difference_is_flagged() -> None:
    close = price(book(PLAIN), MILLION, reported="2.01")
    assert (close.cost_usd, close.source, close.flags) == (Decimal("2.01"), "provider", ())
    apart = price(book(PLAIN), MILLION, reported="2.5")
    assert (apart.cost_usd, apart.flags) == (Decimal("2.5"), ("provider_cost_differs",))
    assert sum(line.cost_usd for line in apart.lines) == apart.cost_usd
    assert price(book(PLAIN), MILLION, model="unknown", reported="0.07").cost_nanousd == 70_000_000
    assert price(book({"prices": {"image": "0.02"}}), {"image": 1}, reported="0.07").flags == ()


def test_assumed_prices_stand_in_and_are_flagged() -> None:
    prices = book(PLAIN).with_assumed(Decimal(15), Decimal(75))
    assert prices.is_priced("acme", "unknown", 0)
    cost = price(prices, {**MILLION, "reasoning": 1_000_000}, model="unknown")
    assert (cost.cost_usd, cost.flags) == (90, ("assumed_price",))
    assert price(prices, MILLION).flags == ()


def test_capacity_that_is_paid_for_costs_nothing_more() -> None:
    assert price(book(PLAIN), MILLION, service_tier="provisioned").cost_usd == 0
    assert price(book(PLAIN), MILLION, deployment_type="ProvisionedManaged").cost_usd == 0


def ceiling(
    prices: object, usage: dict[str, int], moment: str = "2026-11-23T12:00:00Z", model: str = "m", **more: object
) -> int | None:
    start = at(moment)
    return prices.ceiling_nanousd(usage, provider="acme", model=model, at_s=start, until_s=start + 600, **more)  # type: ignore[attr-defined,no-any-return]


def test_the_ceiling_takes_the_dearest_that_the_provider_may_choose() -> None:
    assert ceiling(book(PLAIN), {"input": 10, "output": 10}) == 10 * 2500 + 10 * 8000  # a cache write
    assert ceiling(book(PLAIN, PRIORITY), {"output": 10}) == 160_000
    assert ceiling(book(PLAIN, PRIORITY), {"output": 10}, fixed={"service_tier": "default"}) == 80_000
    assert ceiling(book(PLAIN, multipliers=(EU,)), {"output": 10}) == 88_000
    assert ceiling(book(PLAIN, BATCH), {"output": 10}) == 80_000


def test_the_ceiling_counts_tiers_that_can_be_reached_and_dates_that_come() -> None:
    prices = book(
        {"to": "2026-12-01", "prices": {"input": "2"}, "tiers": [{"over": 100, "prices": {"input": "4"}}]},
        {"from": "2026-12-01", "prices": {"input": "20"}},
    )
    assert ceiling(prices, {"input": 100}) == 200_000
    assert ceiling(prices, {"input": 101}) == 404_000
    assert ceiling(prices, {"input": 100}, "2026-11-30T23:55:00Z") == 2_000_000


def test_the_ceiling_rounds_up_and_knows_what_has_no_price() -> None:
    assert ceiling(book({"prices": {"input": "0.0005", "output": "1"}}), {"input": 1}) == 1
    assert ceiling(book(), {"input": 1}) is None
    assert ceiling(book(PLAIN), {"input": 1, "image": 1}) is None


def test_a_discount_lowers_the_ceiling_only_where_it_is_certain() -> None:
    sure = with_rows(book(PLAIN), {"provider": "acme", "model": "*", "multiplier": "0.5", "match": {"team": "a"}})
    assert ceiling(sure, {"output": 10}, attributes={"team": "a"}) == 40_000
    assert ceiling(sure, {"output": 10}, attributes={"team": "b"}) == 80_000
    ending = with_rows(
        book(PLAIN), {"provider": "acme", "model": "*", "multiplier": "0.5", "to": "2026-11-23T12:05:00Z"}
    )
    assert ceiling(ending, {"output": 10}) == 80_000


MINE = {"provider": "acme", "model": "m", "input": "1", "output": "2"}


def test_the_operators_own_price_bounds_a_call_wherever_it_settles_it() -> None:
    """A negotiated price is a third of the list price: so is the ceiling."""
    mine = with_rows(book(PLAIN, PRIORITY), MINE)
    assert ceiling(mine, {"output": 10}) == 20_000  # the book's priority tier is not asked
    assert ceiling(mine, {"input": 10}) == 25_000  # what a cache write costs, only the book says
    writes = frozenset(unit for unit in UNITS if unit.startswith("cache_write"))
    assert ceiling(mine, {"input": 10}, without=writes) == 10_000
    rough = with_rows(book(PLAIN), MINE, MINE | {"model": "*", "output": "50"})
    assert ceiling(rough, {"output": 10}) == 20_000  # a closer row of his comes before a rougher one


@pytest.mark.parametrize(
    "row",
    [
        {"to": "2026-11-23T12:05:00Z"},
        {"from": "2026-11-23T12:05:00Z"},
        {"when": {"service_tier": "flex"}},
        {"when": {"region": "eu"}},
    ],
)
def test_a_price_of_the_operators_that_may_not_hold_lowers_no_ceiling(row: dict[str, object]) -> None:
    assert ceiling(with_rows(book(PLAIN), MINE | row), {"output": 10}) == 80_000


def test_a_row_of_the_operators_for_a_snapshot_counts_because_that_may_answer() -> None:
    rows = MINE, MINE | {"model": "m-2026-01-01", "output": "30"}
    assert ceiling(with_rows(book(PLAIN), *rows), {"output": 10}) == 300_000


DEARER = {"model": "m-2025-05-13", "prices": {"input": "5", "output": "20"}}


@each_row("asked", ["m", "M", "m-latest"])
@each_row("served", ["m-2025-05-13", "m-2412", "m-0613", "m-01-2025", "m@20250513"])
def test_a_ceiling_holds_for_each_snapshot_that_may_answer(asked: str, served: str) -> None:
    mine = book(PLAIN, DEARER | {"model": served})
    assert (
        ceiling(mine, {"output": 10}, model=asked) == 200_000 == price(mine, {"output": 10}, served=served).cost_nanousd
    )


@pytest.mark.parametrize("asked", ["m-2026-01-01", "m-mini", "n"])
def test_a_ceiling_is_not_that_of_another_model(asked: str) -> None:
    mine = book(
        PLAIN, {"model": "m-mini", "prices": PLAIN["prices"]}, {"model": "n", "prices": PLAIN["prices"]}, DEARER
    )
    assert ceiling(mine, {"output": 10}, model=asked) == 80_000


def test_an_operators_price_for_a_model_is_for_every_snapshot_that_answers_to_it() -> None:
    mine = with_rows(book(PLAIN, DEARER), MINE)
    assert price(mine, {"output": 10}, served="m-2025-05-13").cost_nanousd == 20_000 == ceiling(mine, {"output": 10})
    his = with_rows(book(PLAIN, DEARER), MINE, MINE | {"model": "m-2025-05-13", "output": "30"})
    assert price(his, {"output": 10}, served="m-2025-05-13").cost_nanousd == 300_000 == ceiling(his, {"output": 10})


def test_an_operators_price_for_a_deployment_is_for_the_model_that_answers_there() -> None:
    mine = with_rows(book(PLAIN), MINE | {"model": "my-deployment"})
    bill = price(mine, {"output": 10}, model="my-deployment", served="m")
    assert bill.cost_nanousd == 20_000 == ceiling(mine, {"output": 10}, model="my-deployment")


@pytest.mark.parametrize(("factor", "nanousd"), [("2", 160_000), ("0.5", 80_000)])
def test_a_factor_for_a_snapshot_may_raise_a_ceiling_and_never_lowers_it(factor: str, nanousd: int) -> None:
    mine = with_rows(book(PLAIN), {"provider": "acme", "model": "m-2026-01-01", "multiplier": factor})
    assert (
        ceiling(mine, {"output": 10})
        == nanousd
        >= (price(mine, {"output": 10}, served="m-2026-01-01").cost_nanousd or 0)
    )


@pytest.mark.parametrize("kind", ["provisioned-model", "inference-profile"])
def test_resource_names_are_understood(kind: str) -> None:
    cost = price(book(PLAIN), MILLION, model=f"arn:aws:bedrock:us-east-1:1:{kind}/m")
    assert cost.cost_usd == (0 if kind == "provisioned-model" else 2)


def test_caches_stay_bounded() -> None:
    prices = book(PLAIN)
    for number in range(5000):
        price(prices, MILLION, model=f"model-{number}")
    assert len(prices._plans) <= 4096
    for day in range(60):
        price(prices, MILLION, moment=f"20{26 + day // 28}-01-{day % 28 + 1:02d}")
    assert price(prices, MILLION).cost_usd == 2


def packaged_cost(provider: str, model: str, served: str | None, usage: dict[str, int]) -> Cost:
    reading = Reading(usage=usage, source="provider", model=served)
    return BOOK.cost(reading, provider=provider, model=model, at_s=at("2026-11-20"))


@pytest.mark.parametrize("router", ["model-router", "model_router", "model-router-2025-11-18"])
@pytest.mark.parametrize("provider", ["azure", "azure-ai-foundry"])
def test_a_router_that_bills_a_fee_of_its_own_costs_it_on_top(router: str, provider: str) -> None:
    usage = {"input": 600_000, "cache_read": 400_000, "output": 1000}
    alone = packaged_cost(provider, "gpt-5-nano-2025-08-07", None, usage)
    routed = packaged_cost(provider, router, "gpt-5-nano-2025-08-07", usage)
    assert routed.cost_usd == alone.cost_usd + Decimal("0.14")
    assert sum(line.cost_usd for line in routed.lines) == routed.cost_usd


def test_a_model_that_only_goes_by_another_name_pays_no_routers_fee() -> None:
    usage = {"input": 1_000_000}
    alone = packaged_cost("azure", "gpt-5-nano", None, usage)
    assert packaged_cost("azure", "gpt-5-nano", "gpt-5-nano-2025-08-07", usage).cost_usd == alone.cost_usd


@pytest.mark.parametrize("name", ["anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.nova-pro-v1:0"])
@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_a_foundation_models_arn_is_priced_as_its_name(name: str, partition: str) -> None:
    usage = {"input": 1000, "output": 1000}
    plain = packaged_cost("aws", name, None, usage)
    assert plain.cost_usd
    arn = packaged_cost("bedrock", f"arn:{partition}:bedrock:eu-west-1::foundation-model/{name}", None, usage)
    assert arn.cost_usd == plain.cost_usd
