"""What a capacity costs: exact for any span, and its parts add up however it is cut."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from proxy.capacity.rates import Rates, Step, apportion
from proxy.times import DAY_US, HOUR_US, MINUTE_US

DAY = 20_000 * DAY_US
NANO = 1_000_000_000


def test_a_day_costs_24_hours() -> None:
    rates = Rates([Step(0, 2_500_000_001)], [Step(0, 4)])

    assert rates.cost(DAY, DAY + DAY_US) == 24 * 4 * 2_500_000_001
    assert sum(rates.cost(at, at + MINUTE_US) for at in range(DAY, DAY + DAY_US, MINUTE_US)) == 24 * 4 * 2_500_000_001


def test_a_price_holds_from_its_moment_and_before_the_first_nothing_is_paid() -> None:
    rates = Rates(
        [Step(DAY + HOUR_US, 2 * NANO), Step(DAY + 3 * HOUR_US, 3 * NANO)], [Step(DAY, 1), Step(DAY + 2 * HOUR_US, 5)]
    )

    hours = [rates.cost(DAY + n * HOUR_US, DAY + (n + 1) * HOUR_US) for n in range(4)]

    assert hours == [0, 2 * NANO, 10 * NANO, 15 * NANO]
    assert [piece.nanousd_per_hour for piece in rates.pieces(DAY, DAY + 4 * HOUR_US)] == [
        0, 2 * NANO, 10 * NANO, 15 * NANO,
    ]  # fmt: skip


steps = st.lists(st.tuples(st.integers(0, 3 * DAY_US), st.integers(0, 7)), max_size=4, unique_by=lambda step: step[0])


@given(prices=steps, units=steps, cuts=st.lists(st.integers(0, 3 * DAY_US), min_size=2, max_size=12, unique=True))
def test_the_parts_of_a_span_add_up(
    prices: list[tuple[int, int]], units: list[tuple[int, int]], cuts: list[int]
) -> None:
    """And differ from the exact cost by less than a nano-dollar a day."""
    rates = Rates([Step(*step) for step in sorted(prices)], [Step(*step) for step in sorted(units)])
    cuts.sort()
    whole = rates.cost(cuts[0], cuts[-1])
    exact = sum(
        (Fraction((p.end - p.start) * p.nanousd_per_hour, HOUR_US) for p in rates.pieces(cuts[0], cuts[-1])), Fraction()
    )

    assert sum(rates.cost(a, b) for a, b in zip(cuts, cuts[1:], strict=False)) == whole
    assert abs(whole - exact) < 4


@given(total=st.integers(0, 10**15), weights=st.lists(st.integers(0, 10**30), min_size=1, max_size=20).filter(any))
def test_dealt_parts_are_whole_and_add_up(total: int, weights: list[int]) -> None:
    parts = apportion(total, weights)

    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < 1
