"""The operator's own rows: what is accepted, what is refused and how it is named, and what wins."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import pytest
import yaml

from pricing.operator import parse_rows
from pricing.price import Multiplier
from tests.support.prices import at, book, price, with_rows
from tests.support.rows import each_row

BASE = {"prices": {"input": "2", "cache_read": "1", "output": "8", "web_search": "10/1000"}}


def problems(*rows: Any) -> list[str]:
    return [f"{problem.path}: {problem.message}" for problem in parse_rows(rows)[1]]


def test_the_contracts_examples_are_accepted() -> None:
    rows = yaml.safe_load(
        """
        - {provider: vllm, model: "*", input: "0.10", cache_read: "0.01", output: "0.40"}
        - {provider: openai, model: gpt-4o-mini, from: 2026-12-01, input: "0.12", output: "0.48"}
        - {provider: acme, model: big-1, input: "2", output: "10", tiers: [{over_input_tokens: 200000, input: "4", output: "15"}]}
        - {provider: openai, model: "*", multiplier: "0.9"}
        - {provider: openai, model: "*", multiplier: "0.8", match: {team: payments}}
        - {provider: acme, model: whisper, audio_second: {usd: "0.006", per: 60, min_quantity: 10}}
        """
    )
    parsed, found = parse_rows(rows)
    assert found == ()
    assert len(parsed) == 6
    assert parsed[1].row is not None
    assert parsed[1].row.from_s == at("2026-12-01")
    assert pickle.loads(pickle.dumps(parsed)) == parsed


@each_row(
    ("row", "expected"),
    [
        ("vllm", "prices[0]: must be a mapping"),
        ({"provider": "a", "model": "m", "input": 0.1}, 'prices[0].input: must be quoted to be exact: "0.1"'),
        ({"provider": "a", "model": "m", "input": "-1"}, "prices[0].input: must be a decimal number >= 0"),
        ({"provider": "a", "model": "m", "input": "NaN"}, "prices[0].input: must be a decimal"),
        ({"provider": "a", "model": "m", "input": True}, "prices[0].input: must be a decimal"),
        ({"provider": "a", "model": "m", "inptu": "1"}, "prices[0].inptu: is neither a setting nor a unit"),
        ({"model": "m", "input": "1"}, "prices[0].provider: is required"),
        ({"provider": "a", "model": "a*b", "input": "1"}, "prices[0].model: may hold * only at its end"),
        ({"provider": "a", "model": "m"}, "prices[0]: names neither a unit's price nor a multiplier"),
        ({"provider": "a", "model": "m", "input": {"usd": "1", "per": 0}}, "prices[0].input: per must be a whole number"),
        ({"provider": "a", "model": "m", "input": {"per": 1}}, "prices[0].input: needs usd"),
        ({"provider": "a", "model": "m", "input": {"usd": "1", "pr": 1}}, "prices[0].input: takes usd, per"),
        ({"provider": "a", "model": "m", "input": "1", "from": "soon"}, "prices[0].from: must be a date"),
        ({"provider": "a", "model": "m", "input": "1", "from": "2027-01-01", "to": "2026-01-01"}, "prices[0].to: must be later"),
        ({"provider": "a", "model": "m", "input": "1", "match": {"team": "x"}}, "prices[0].match: goes with `multiplier`"),
        ({"provider": "a", "model": "m", "multiplier": "1", "match": []}, "prices[0].match: must be a mapping"),
        ({"provider": "a", "model": "m", "input": "1", "tiers": [{"input": "2"}]}, "prices[0].tiers[0].over_input_tokens"),
        ({"provider": "a", "model": "m", "input": "1", "tiers": "x"}, "prices[0].tiers: must be a list"),
        ({"provider": "a", "model": "m", "input": "1", "tiers": [{"over_input_tokens": 1}]}, "prices[0].tiers[0]: names no"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_path(row: Any, expected: str) -> None:
    (problem,) = problems(row)
    assert problem.startswith(expected)


def test_all_problems_at_once_and_the_right_rows_all_the_same() -> None:
    parsed, found = parse_rows(
        [{"provider": "a", "model": "m", "input": 0.1, "x": 1}, {"provider": "a", "model": "m", "input": 1}, 3]
    )
    assert [problem.path for problem in found] == ["prices[0].input", "prices[0].x", "prices[2]"]
    assert len(parsed) == 1


def test_own_prices_win_unit_by_unit() -> None:
    prices = with_rows(book(BASE), {"provider": "acme", "model": "m", "input": "3"})
    cost = price(prices, {"input": 1_000_000, "output": 1_000_000, "reasoning": 1_000_000})
    assert [line.price_usd for line in cost.lines] == [Decimal(3), Decimal(8), Decimal(8)]
    assert cost.lines[0].source == "prices[0]"


def test_a_child_takes_the_own_price_of_its_parent() -> None:
    prices = with_rows(book(BASE), {"provider": "acme", "model": "m", "output": "3"})
    assert price(prices, {"reasoning": 1_000_000}).cost_usd == 3


def test_zero_is_a_price() -> None:
    cost = price(
        with_rows(book(), {"provider": "acme", "model": "*", "input": "0", "output": 0}), {"input": 5, "output": 5}
    )
    assert (cost.status, cost.cost_usd, cost.cost_nanousd) == ("priced", 0, 0)


def test_the_closest_name_then_the_latest_date_wins() -> None:
    prices = with_rows(
        book(),
        {"provider": "acme", "model": "*", "input": "1"},
        {"provider": "acme", "model": "big-*", "input": "2"},
        {"provider": "acme", "model": "big-1", "input": "3"},
        {"provider": "acme", "model": "big-1", "input": "4", "from": "2026-12-01"},
    )
    each = {"input": 1_000_000}
    assert price(prices, each, model="other").cost_usd == 1
    assert price(prices, each, model="big-2").cost_usd == 2
    assert price(prices, each, model="Big-1", moment="2026-11-30T23:59:59").cost_usd == 3
    assert price(prices, each, model="big-1", moment="2026-12-01").cost_usd == 4


def test_a_row_for_a_model_is_for_the_snapshot_that_answers_to_it() -> None:
    prices = with_rows(book(BASE | {"names": ["m-snap*"]}), {"provider": "acme", "model": "m", "input": "3"})
    assert price(prices, {"input": 1_000_000}, served="m-2026-01-01").cost_usd == 3
    assert price(prices, {"input": 1_000_000}, served="m-snapshot").cost_usd == 3


def test_tiers_count_cached_tokens_and_reprice_the_whole_call() -> None:
    row = {"provider": "acme", "model": "m", "input": "1", "cache_read": "1", "output": "1"}
    row["tiers"] = [{"over_input_tokens": 100, "input": "2", "output": "5"}]
    prices = with_rows(book(), row)
    assert price(prices, {"input": 60, "cache_read": 40, "output": 1}).cost_usd == Decimal("0.000101")
    assert price(prices, {"input": 60, "cache_read": 41, "output": 1}).cost_usd == Decimal("0.000166")


def test_of_several_multipliers_the_closest_applies() -> None:
    prices = with_rows(
        book(BASE),
        {"provider": "acme", "model": "*", "multiplier": "0.9"},
        {"provider": "acme", "model": "*", "multiplier": "0.5", "match": {"team": ["pay*", "x"]}},
    )
    usage = {"input": 1_000_000, "web_search": 100}
    assert price(prices, usage).cost_usd == Decimal("2.7")
    assert price(prices, usage, attributes={"team": "payments"}).cost_usd == Decimal("1.5")
    assert price(prices, usage, attributes={"team": None}).cost_usd == Decimal("2.7")


def test_own_prices_win_over_a_reported_cost_and_a_multiplier_never_touches_it() -> None:
    own = with_rows(book(BASE), {"provider": "acme", "model": "m", "input": "3"})
    assert price(own, {"input": 1_000_000}, reported="2").cost_usd == 3
    assert price(own, {"output": 1_000_000}, reported="2").cost_usd == 2
    discount = with_rows(book(BASE), {"provider": "acme", "model": "*", "multiplier": "0.5"})
    assert price(discount, {"input": 1_000_000}, reported="2").cost_usd == 2


@pytest.mark.parametrize("gap", [True, False])
@pytest.mark.parametrize(
    ("name", "value", "factor"),
    [
        ("processing", "batch", "0.5"),
        ("service_tier", "priority", "1.75"),
        ("region", "eu", "1.1"),
        ("speed", "fast", "6"),
    ],
)
def test_an_own_row_that_knows_a_condition_is_the_price_under_it(gap: bool, name: str, value: str, factor: str) -> None:
    listed = Multiplier("acme", "*", Decimal(factor), when={name: (value,)}, gap=gap, group="listed")
    own = {"provider": "acme", "model": "m", "input": "3", "when": {name: value}}
    prices = with_rows(book(BASE, multipliers=(listed,)), own)
    assert price(prices, {"input": 1_000_000}, **{name: value}).cost_usd == 3
    # What the row doesn't price, and a row that knows nothing of the condition, stay with the provider's factor.
    assert price(prices, {"output": 1_000_000}, **{name: value}).cost_usd == 8 * Decimal(factor)
    plain = with_rows(book(BASE, multipliers=(listed,)), {"provider": "acme", "model": "m", "input": "3"})
    assert price(plain, {"input": 1_000_000}, **{name: value}).cost_usd == 3 * Decimal(factor)
    # The operator's own factor is meant for his own rows, too.
    discount = {"provider": "acme", "model": "*", "multiplier": "0.9", "when": {name: value}}
    assert price(with_rows(prices, own, discount), {"input": 1_000_000}, **{name: value}).cost_usd == Decimal("2.7")


def test_gpu_time_pays_for_the_tokens() -> None:
    prices = with_rows(book(), {"provider": "acme", "model": "m", "gpu_second": {"usd": "2.49", "per": 3600}})
    cost = price(prices, {"input": 100, "output": 400, "gpu_second": Decimal("4.8")})
    assert (cost.status, cost.cost_usd) == ("priced", Decimal("0.00332"))


@pytest.mark.parametrize("match", [{"team": ""}, {"team": ["a", ""]}])
def test_a_match_of_nothing_is_refused(match: dict[str, Any]) -> None:
    rows, (problem,) = parse_rows([{"provider": "p", "model": "*", "multiplier": "0.9", "match": match}])

    assert (rows, problem.path, problem.message) == (
        (),
        "prices[0].match",
        "team has an empty value, which no call has",
    )
