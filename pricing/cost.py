"""What a reading costs, line by line. (Which price applies is `resolve.py`'s question.)"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from pricing.usage import Quantity
from pricing.values import NOTHING, Value, frozen


@frozen
class CostLine(Value):
    """`quantity` of `unit` at `price_usd` per `per` of it; `cost_usd` is exact. `source` names the price row."""

    unit: str
    quantity: Quantity
    price_usd: Decimal
    per: int
    cost_usd: Decimal
    model: str | None = None
    source: str | None = None


@frozen
class Cost(Value):
    """A priced reading. `cost_usd` is exact and None where unpriced; `cost_nanousd` is it, rounded once, half-even.

    status: `partial` where some units have a price and others none; `cost_usd` is None then too.
    source: `provider` where the provider's own statement is the cost; `lines` then add up to it all the same.
    requested: those of `Reading.requested` that the price is for, because it is dearer so.
    """

    status: Literal["priced", "unpriced", "partial"]
    lines: tuple[CostLine, ...]
    cost_usd: Decimal | None
    cost_nanousd: int | None
    source: Literal["computed", "provider"]
    provider_reported_cost_usd: Decimal | None
    flags: tuple[str, ...]
    price_version: str
    model: str
    requested: Mapping[str, str] = NOTHING
