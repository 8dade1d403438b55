"""The operator's own rows: what is accepted, what is refused and how it is named, and what wins."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import yaml

from pricing.book import Book
from pricing.catalog import Catalog
from pricing.cost import Cost
from pricing.operator import parse_rows
from pricing.usage import Reading

RECORDS: list[dict[str, Any]] = [
    {"provider": "openai", "model": "m", "match": ["m-2026*"], "context_tokens": 1000},
    {
        "provider": "openai",
        "model": "m",
        "usd": {"input": "2", "cache_read": "1", "output": "8"},
        "source": "test",
    },
    {
        "provider": "openai",
        "model": "m",
        "when": {"service_tier": "flex"},
        "usd": {"input": "1", "output": "4"},
        "source": "test",
    },
    {"provider": "openai", "model": "*", "usd": {"web_search": {"usd": "10", "per": 1000}}, "source": "test"},
]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def book(*rows: dict[str, Any]) -> Book:
    made, problems = parse_rows(rows)
    assert problems == ()
    return Book(Catalog(RECORDS, multipliers={}, schedules={}, aliases={}), "v").with_operator(made)


def price(
    prices: Book,
    usage: dict[str, Any],
    *,
    model: str = "m",
    provider: str = "openai",
    when: str = "2026-11-23",
    **more: Any,
) -> Cost:
    reading = Reading(usage=usage, source="provider", **{k: more.pop(k) for k in list(more) if k in _READING})
    return prices.cost(reading, provider=provider, model=model, at_s=at(when), **more)


_READING = {"model", "conditions", "provider_cost_usd", "parts"}
M = 1_000_000


def test_wins_over_the_book_unit_by_unit() -> None:
    cost = price(book({"provider": "openai", "model": "m", "output": "5"}), {"input": M, "output": M})
    assert [line.price_usd for line in cost.lines] == [Decimal(2), Decimal(5)]


def test_from_is_inclusive_and_to_exclusive() -> None:
    prices = book({"provider": "openai", "model": "m", "from": "2026-12-01", "to": "2026-12-02", "input": "7"})
    costs = [
        price(prices, {"input": M}, when=when).cost_usd
        for when in ("2026-11-30T23:59:59", "2026-12-01T00:00:00", "2026-12-01T23:59:59", "2026-12-02T00:00:00")
    ]
    assert costs == [2, 7, 7, 2]


def test_most_specific_model_then_latest_start() -> None:
    prices = book(
        {"provider": "acme", "model": "*", "input": "1"},
        {"provider": "acme", "model": "big-*", "input": "2"},
        {"provider": "acme", "model": "big-1", "input": "3"},
        {"provider": "acme", "model": "big-1", "from": "2026-06-01", "input": "4"},
        {"provider": "acme", "model": "*", "from": "2026-07-01", "input": "9"},
    )
    costs = [
        price(prices, {"input": M}, provider="acme", model=model, when=when).cost_usd
        for model, when in (("x", "2026-01-01"), ("x", "2026-07-01"), ("big-2", "2026-07-01"))
    ]
    assert costs == [1, 9, 2]
    assert price(prices, {"input": M}, provider="acme", model="big-1", when="2026-05-31").cost_usd == 3
    assert price(prices, {"input": M}, provider="acme", model="big-1", when="2026-06-01").cost_usd == 4


def test_a_row_for_a_model_holds_for_its_dated_snapshots() -> None:
    prices = book({"provider": "openai", "model": "m", "input": "3"})
    served = Reading(usage={"input": M}, source="provider", model="m-2026-01-01")
    cost = prices.cost(served, provider="openai", model="m", at_s=0)
    assert (cost.cost_usd, cost.flags, cost.model) == (3, (), "m-2026-01-01")


def test_tiers_count_cached_tokens_and_price_the_whole_call() -> None:
    prices = book(
        {
            "provider": "acme",
            "model": "big-1",
            "input": "2",
            "output": "10",
            "cache_read": "1",
            "tiers": [{"over_input_tokens": 200_000, "input": "4", "output": "15"}],
        }
    )
    at_edge = price(prices, {"input": 100_000, "cache_read": 100_000, "output": M}, provider="acme", model="big-1")
    over = price(prices, {"input": 100_001, "cache_read": 100_000, "output": M}, provider="acme", model="big-1")
    assert at_edge.cost_usd == Decimal("0.2") + Decimal("0.1") + 10
    assert over.cost_usd == Decimal("0.400004") + Decimal("0.1") + 15


def test_discount_multiplies_everything_and_minds_its_match() -> None:
    prices = book({"provider": "openai", "model": "*", "multiplier": "0.9", "match": {"team": "payments"}})
    usage = {"input": M, "web_search": 1000}
    assert price(prices, usage, attributes={"team": "payments"}).cost_usd == Decimal("10.8")
    assert price(prices, usage, attributes={"team": "other"}).cost_usd == 12
    assert price(prices, usage).cost_usd == 12


def test_discount_leaves_a_reported_cost_alone() -> None:
    prices = book({"provider": "openai", "model": "*", "multiplier": "0.9"})
    cost = price(prices, {"input": M}, provider_cost_usd=Decimal(2))
    assert (cost.cost_usd, cost.source) == (2, "provider")


def test_an_operator_price_wins_over_a_reported_cost_and_that_over_the_book() -> None:
    reported = Decimal("1.99")
    named = price(book({"provider": "openai", "model": "m", "input": "3"}), {"input": M}, provider_cost_usd=reported)
    assert (named.cost_usd, named.source, named.provider_reported_cost_usd) == (3, "computed", reported)
    other = price(book({"provider": "openai", "model": "m", "output": "3"}), {"input": M}, provider_cost_usd=reported)
    assert (other.cost_usd, other.source, other.flags) == (reported, "provider", ())


def test_zero_is_a_price() -> None:
    cost = price(
        book({"provider": "ollama", "model": "*", "input": "0", "output": "0"}), {"input": 1}, provider="ollama"
    )
    assert (cost.status, cost.cost_usd, cost.cost_nanousd) == ("priced", 0, 0)


def test_minimum_quantity_and_per() -> None:
    prices = book({"provider": "g", "model": "*", "audio_second": {"usd": "0.36", "per": 3600, "min_quantity": 10}})
    cost = price(prices, {"audio_second": Decimal("2.5")}, provider="g", model="w")
    assert (cost.cost_usd, cost.lines[0].quantity) == (Decimal("0.001"), 10)
    assert price(prices, {"audio_second": 20}, provider="g", model="w").cost_usd == Decimal("0.002")


def test_gpu_time_prices_the_whole_call() -> None:
    prices = book({"provider": "vllm", "model": "my", "gpu_second": {"usd": "2.49", "per": 3600}})
    usage = {"input": 100, "output": 400, "gpu_second": Decimal("4.8")}
    cost = price(prices, usage, provider="vllm", model="my")
    assert (cost.status, cost.cost_usd) == ("priced", Decimal("0.00332"))


def test_assumed_prices_are_flagged_and_only_for_what_has_none() -> None:
    prices = book().with_operator((), assumed={"input": "15", "output": "75"})
    unknown = price(prices, {"input": M, "output": M}, model="who")
    assert (unknown.cost_usd, unknown.flags, unknown.status) == (90, ("assumed_price",), "priced")
    assert price(prices, {"input": M}).flags == ()
    assert prices.is_priced("openai", "who", 0)


def test_versions_differ_with_the_rows() -> None:
    plain, other = book(), book({"provider": "a", "model": "b", "input": "1"})
    assert plain.version == "v"
    assert other.version.startswith("v+")
    assert other.version != book({"provider": "a", "model": "b", "input": "2"}).version


def test_yaml_dates_and_ints_are_understood() -> None:
    rows = yaml.safe_load("- {provider: openai, model: m, from: 2026-12-01, to: 2027-01-01T12:00:00Z, input: 3}")
    made, problems = parse_rows(rows)
    assert problems == ()
    assert (made[0].from_s, made[0].to_s) == (at("2026-12-01"), at("2027-01-01T12:00:00"))


@pytest.mark.parametrize(
    ("row", "path", "says"),
    [
        ("{provider: a, model: m, input: 0.12}", "prices[0].input", 'put it in quotes ("0.12")'),
        ('{provider: a, model: m, input: "x"}', "prices[0].input", "is not a number"),
        ('{provider: a, model: m, input: "-1"}', "prices[0].input", "must be 0 or more"),
        ('{provider: a, model: m, input: "NaN"}', "prices[0].input", "must be 0 or more"),
        ("{provider: a, model: m, input: true}", "prices[0].input", "is not an exact amount"),
        ('{provider: a, model: m, input: {usd: "1", per: 0}}', "prices[0].input", "per: 0"),
        ('{provider: a, model: m, input: {price: "1"}}', "prices[0].input", "{usd, per, min_quantity}"),
        ('{provider: a, model: m, inptu: "1"}', "prices[0].inptu", "is no unit of usage"),
        ('{model: m, input: "1"}', "prices[0].provider", "provider is missing"),
        ('{provider: a, input: "1"}', "prices[0].model", "model is missing"),
        ('{provider: a, model: "*-m", input: "1"}', "prices[0].model", "* at the end"),
        ("{provider: a, model: m}", "prices[0]", "names no price"),
        ('{provider: a, model: m, from: soon, input: "1"}', "prices[0].from", "is not a date"),
        ('{provider: a, model: m, from: 2026-02-01, to: 2026-01-01, input: "1"}', "prices[0].to", "must be later"),
        ('{provider: a, model: m, tiers: [{input: "1"}]}', "prices[0].tiers[0]", "over_input_tokens"),
        ("{provider: a, model: m, multiplier: 0.9}", "prices[0].multiplier", 'put it in quotes ("0.9")'),
        ('{provider: a, model: m, multiplier: "1", match: team}', "prices[0].match", "must map attributes"),
    ],
)
def test_what_is_wrong_is_named(row: str, path: str, says: str) -> None:
    made, problems = parse_rows(yaml.safe_load(f"- {row}"))
    assert made == ()
    assert [problem.path for problem in problems] == [path]
    assert says in problems[0].message


def test_all_problems_at_once() -> None:
    made, problems = parse_rows(
        yaml.safe_load('[{model: m, input: 0.1, outptu: "1"}, {provider: a, model: m, input: 1}]')
    )
    assert [row.path for row in made] == ["prices[1]"]
    assert {problem.path for problem in problems} == {"prices[0].provider", "prices[0].input", "prices[0].outptu"}
