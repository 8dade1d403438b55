"""What calls cost, as people are shown it: nothing is not zero where nobody knows it. Pure."""

from __future__ import annotations

from typing import TypeVar

_Cost = TypeVar("_Cost", int, str)


def known_cost(cost: _Cost, calls: int, unpriced: int) -> _Cost | None:
    """None where no call has a price. cost: nano-USD, or as `usd_text` has it. unpriced: how many of the calls have none."""
    return None if cost in (0, "0") and unpriced >= calls > 0 else cost
