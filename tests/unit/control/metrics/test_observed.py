"""A cost dealt out to its units: the short way, the long way and that of many at once say the same."""

from __future__ import annotations

from decimal import Decimal
from math import nan
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.control.metrics.cost_parts import _dealt, apportion, apportion_all
from proxy.control.metrics.observed import between_tokens_ms
from proxy.spool.plain import Part

AMOUNTS = st.one_of(
    st.integers(0, 10**15).map(lambda nanousd: str(Decimal(nanousd) / 10**9)),
    st.decimals(-100, 100, places=9).map(str),
    st.decimals(0, 10, places=12).map(str),
)
LINES = st.lists(st.fixed_dictionaries({"unit": st.sampled_from("abc"), "cost_usd": AMOUNTS}), max_size=5)


def by_unit(parts: Any) -> dict[str, int]:
    sums: dict[str, int] = {}
    for unit, nanousd in parts:
        sums[unit] = sums.get(unit, 0) + nanousd
    return {unit: nanousd for unit, nanousd in sums.items() if nanousd}


@given(lines=LINES, off=st.sampled_from([0, 0, 0, 1, -7]))
def test_the_short_way_gives_what_the_long_way_gives(lines: list[dict[str, str]], off: int) -> None:
    total = int(sum((Decimal(line["cost_usd"]) for line in lines), Decimal()) * 10**9) + off
    assert by_unit(apportion(total, lines)) == by_unit(_dealt(total, lines, "settled"))
    assert sum(by_unit(apportion(total, lines)).values()) == total


@pytest.mark.parametrize(
    "lines",
    [
        [{"unit": "a", "cost_usd": "NaN"}], [{"unit": "a", "cost_usd": "1e-7"}], [{"unit": "a"}], [{"cost_usd": "1"}], ["text"],
        [{"unit": "a", "cost_usd": None}], [{"unit": "a", "cost_usd": 1}], [{"unit": "a", "cost_usd": "0.0000000001"}],
        [{"unit": ["a"], "cost_usd": "0.0000001"}], [{"unit": "a", "cost_usd": "0.00000010_"}], [{"unit": "a", "cost_usd": ""}],
    ],
    ids=str,
)  # fmt: skip
def test_odd_lines_lose_no_money(lines: Any) -> None:
    assert sum(nanousd for _, nanousd in apportion(100, lines)) == 100
    assert by_unit(apportion(100, lines)) == by_unit(_dealt(100, lines, "settled"))


@given(lines=st.lists(LINES, min_size=1, max_size=4), off=st.sampled_from([0, 0, 0, 1, -7]))
def test_many_at_once_come_to_what_each_comes_to(lines: list[list[dict[str, str]]], off: int) -> None:
    """But for parts of a nano-dollar, which may be another unit's then."""
    totals = [int(sum((Decimal(line["cost_usd"]) for line in some), Decimal()) * 10**9) for some in lines]
    totals[0] += off
    parts = [[Part(line["unit"], float(line["cost_usd"])) for line in some] for some in lines]
    together = apportion_all(totals, parts, [orjson.dumps(some).decode() for some in lines], ["settled"] * len(lines))
    assert sum(together.values()) == sum(totals)
    if any(Decimal(line["cost_usd"]) * 10**9 % 1 for some in lines for line in some):
        return
    singly = [part for total, some in zip(totals, lines, strict=True) for part in apportion(total, some)]
    assert by_unit(together.items()) == by_unit(singly)


@pytest.mark.parametrize(
    "odd", ["[7]", "{}", '[{"unit":"a","cost_usd":7}]', '[{"unit":"a","cost_usd":"NaN"}]', "7", "[1e999]"]
)
def test_odd_lines_among_many_lose_no_money(odd: str) -> None:
    lines, said = '[{"unit":"a","cost_usd":"0.00000010"}]', [Part("a", 0.0000001)]
    parts = apportion_all([100, 7, 100], [said, [Part("a", nan)], said], [lines, odd, lines], ["settled"] * 3)
    assert sum(parts.values()) == 207
    assert parts["a"] in (200, 207)


@pytest.mark.parametrize(
    "odd", [-1, 10**400, -(10**400), float("inf"), nan, "1", None, [1]], ids=lambda odd: str(odd)[:9]
)
def test_an_odd_time_between_tokens_is_none(odd: Any) -> None:
    """Else it cost the metrics of its whole batch."""
    assert between_tokens_ms({"itl_ms_sum": 30.0, "itl_count": 3}) == 10
    assert between_tokens_ms({"itl_ms_sum": odd, "itl_count": 3}) is None
    assert between_tokens_ms({"itl_ms_sum": 30.0, "itl_count": odd}) is None
