"""Rounding to nano-USD (1e-9 USD), the integers that budgets and the ledger hold."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

_NANO = Decimal("1E+9")
_FINE = 10**9  # in a nano-USD


def to_nanousd(usd: Decimal) -> int:
    """Half-even: what a bill is rounded by, once."""
    return round(usd * _NANO)


Fine = int | Fraction
"""Money in 1e-18 USD: a whole number wherever prices are real, with which Python reckons in a fifth of the time."""


def fine(usd: Decimal) -> Fine:
    """The same amount, exactly."""
    amount = Fraction(usd) * 10**18
    return amount.numerator if amount.denominator == 1 else amount


def to_nanousd_up(amount: Fine) -> int:
    """Upwards: what a reservation is rounded by, so that it is never below the bill."""
    return -(-amount // _FINE)
