"""What a reading costs, line by line. (The arithmetic lives here; which price applies is `book.py`'s question.)"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from pricing.usage import Quantity


@dataclass(frozen=True, slots=True)
class CostLine:
    """`quantity` of `unit` at `price_usd` per `per` of it; `cost_usd` is exact. `source` names the price row."""

    unit: str
    quantity: Quantity
    price_usd: Decimal
    per: int
    cost_usd: Decimal
    model: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """A priced reading. `cost_usd` is exact and None where unpriced; `cost_nanousd` is it, rounded once, half-even."""

    status: Literal["priced", "unpriced", "partial"]
    lines: tuple[CostLine, ...]
    cost_usd: Decimal | None
    cost_nanousd: int | None
    source: Literal["computed", "provider"]
    provider_reported_cost_usd: Decimal | None
    flags: tuple[str, ...]
    price_version: str
    model: str
