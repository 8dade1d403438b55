"""What a plan earns and where it breaks even. Pure; money is integer nano-USD, shares are decimals.

A plan that is paid P, of which the share f goes in fees, earns nothing more once its calls cost P·(1 - f). At c a call that is
after N* = P·(1 - f) / c calls; with the share t of P to be left over, after P·(1 - f - t) / c. Both are rounded down: the call
after it is the first that loses money. $20 at $0.10 a call: 200 calls, or 140 with t = 30 %; 1,000 calls lose $80.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from proxy.times import HOUR_US


def fee_of(revenue: int, fee: Decimal) -> int:
    """Half to even, as every cost."""
    return round(Fraction(fee) * revenue)


def break_even_calls(revenue: int, kept: Decimal, cost: int, calls: int) -> int | None:
    """How many calls the share `kept` of the revenue pays for at what they cost on average; None where that is not known."""
    if calls <= 0 or cost <= 0:
        return None
    part, whole = kept.as_integer_ratio()
    return max(0, part * revenue * calls // (whole * cost))


def break_even_price(cost: int, payers: int, fee: Decimal) -> int | None:
    """What each of them would have to pay for the plan to earn its cost, rounded up."""
    if not payers:
        return None
    return -((-Fraction(cost) / (payers * (1 - Fraction(fee)))).__floor__())


def percentile(costs: Sequence[int], percent: int) -> int | None:
    """The nearest rank: one of the values, not one between two."""
    if not costs:
        return None
    return sorted(costs)[max(0, -(-len(costs) * percent // 100) - 1)]


def projected(cost: int, running: int, elapsed_us: int, length_us: int) -> int | None:
    """The cost at the month's end if it goes on as in its part so far, which cost `running`; None in its first hour."""
    if elapsed_us >= length_us:
        return cost
    if elapsed_us < HOUR_US:
        return None
    return cost + round(Fraction(running * (length_us - elapsed_us), elapsed_us))
