"""Where a plan breaks even, by hand."""

from __future__ import annotations

from decimal import Decimal

from proxy.reports.apportion import apportion
from proxy.reports.margin.economics import break_even_calls, break_even_price, fee_of, percentile, projected

HOUR_US = 3_600_000_000


def test_break_even_is_the_last_call_that_is_paid_for() -> None:
    assert break_even_calls(20_000_000_000, Decimal(1), 100_000_000, 1) == 200
    assert break_even_calls(20_000_000_000, Decimal("0.7"), 100_000_000, 1) == 140
    assert break_even_calls(10, Decimal(1), 3, 1) == 3
    assert break_even_calls(10, Decimal(1), 10, 3) == 3  # at 10/3 a call, exactly
    assert break_even_calls(-10, Decimal(1), 3, 1) == 0
    assert break_even_calls(10, Decimal(1), 0, 5) is None
    assert break_even_calls(10, Decimal(1), 5, 0) is None


def test_the_price_at_which_a_plan_breaks_even_covers_its_cost() -> None:
    assert break_even_price(100, 3, Decimal(0)) == 34
    assert break_even_price(97, 1, Decimal("0.03")) == 100
    assert break_even_price(97, 0, Decimal(0)) is None


def test_percentiles_are_values_that_are_there() -> None:
    costs = list(range(1, 201))
    assert [percentile(costs, percent) for percent in (50, 90, 99)] == [100, 180, 198]
    assert percentile([7], 99) == 7
    assert percentile([], 50) is None


def test_a_month_goes_on_as_so_far() -> None:
    assert projected(900, 300, 10 * HOUR_US, 30 * HOUR_US) == 900 + 600
    assert projected(900, 300, HOUR_US // 2, 30 * HOUR_US) is None
    assert projected(900, 300, 40 * HOUR_US, 30 * HOUR_US) == 900


def test_a_fee_is_rounded_half_to_even() -> None:
    assert [fee_of(revenue, Decimal("0.5")) for revenue in (1, 3, -1)] == [0, 2, 0]


def test_what_is_dealt_out_adds_up() -> None:
    assert apportion(100, [1, 1, 1]) == [34, 33, 33]
    assert apportion(-100, [1, 1, 1]) == [-33, -33, -34]
    assert apportion(7, [0, 0]) == [4, 3]
    assert apportion(10, [-5, 1]) == [0, 10]
    assert apportion(1, []) == []
