"""What a reading costs, line by line: the values that the price engine hands back. (How they come about: `book.py`.)"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple

from pricing.usage import Quantity

CostStatus = Literal["priced", "unpriced", "partial"]


class CostLine(NamedTuple):
    """`quantity` of `unit` at `price_usd` per `per` of it; `cost_usd` is exact.

    The quantity is what is billed: at least the price's minimum. The price includes all multipliers. `model` is given
    where it is not the reading's own; `source` names the price row.
    """

    unit: str
    quantity: Quantity
    price_usd: Decimal
    per: int
    cost_usd: Decimal
    model: str | None = None
    source: str | None = None


class Cost(NamedTuple):
    """A priced reading.

    status: `unpriced` where nothing that was used has a price, `partial` where something has none: then `cost_usd` is
        what the rest costs, a lower bound.
    cost_usd: exact; None where unpriced. cost_nanousd: it, rounded once, half-even.
    source: `provider` where the provider's own charge is taken.
    """

    status: CostStatus
    lines: tuple[CostLine, ...]
    cost_usd: Decimal | None
    cost_nanousd: int | None
    source: Literal["computed", "provider"]
    provider_reported_cost_usd: Decimal | None
    flags: tuple[str, ...]
    price_version: str
    model: str
