"""What a reading costs, line by line. (Which price applies is `resolve.py`'s question.)"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from pricing.usage import Quantity
from pricing.values import NOTHING, Value, frozen, slotted


@slotted
class Rate(Value):
    """What one unit costs: `price_usd` (multipliers are in it) per `per` of it; a call is billed `at_least` so many. `each_usd`
    is it for a single one, None where that has no end as a decimal. `source` names the price row. form: what stands around the
    two numbers of its lines, kept by who writes them down."""

    unit: str
    price_usd: Decimal
    per: int
    source: str | None = None
    at_least: Quantity = 0
    each_usd: Decimal | None = None
    of_operator: bool = False
    form: tuple[str, str, str] | None = None


@frozen
class CostLine(Value):
    """`quantity` of a unit at its rate; `cost_usd` is exact. model: where it is not that of the cost."""

    rate: Rate
    quantity: Quantity
    cost_usd: Decimal
    model: str | None = None

    @property
    def unit(self) -> str:
        return self.rate.unit

    @property
    def price_usd(self) -> Decimal:
        return self.rate.price_usd

    @property
    def per(self) -> int:
        return self.rate.per

    @property
    def source(self) -> str | None:
        return self.rate.source


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
