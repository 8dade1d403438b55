"""Rounding to nano-USD (1e-9 USD), the integers that budgets and the ledger hold."""

from __future__ import annotations

import math
from decimal import Decimal

_NANO = Decimal("1E+9")


def to_nanousd(usd: Decimal) -> int:
    """Half-even: what a bill is rounded by, once."""
    return round(usd * _NANO)


def to_nanousd_up(usd: Decimal) -> int:
    """Upwards: what a reservation is rounded by, so that it is never below the bill."""
    return math.ceil(usd * _NANO)
