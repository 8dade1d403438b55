"""Rounding to nano-USD (1e-9 USD), the integers that budgets and the ledger hold."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal


def to_nanousd(usd: Decimal) -> int:
    """Half-even: what a bill is rounded by, once."""
    return int(usd.scaleb(9).to_integral_value(ROUND_HALF_EVEN))


def to_nanousd_up(usd: Decimal) -> int:
    """Upwards: what a reservation is rounded by, so that it is never below the bill."""
    return int(usd.scaleb(9).to_integral_value(ROUND_CEILING))
