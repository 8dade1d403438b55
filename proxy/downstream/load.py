"""How many bodies and calls a data plane holds at once, and how much of that one key may have."""

from __future__ import annotations

from pricing.values import slotted
from proxy.shares import Shares

MAX_DRAINS = 200


@slotted
class Load:
    """Calls in flight, bytes of their bodies, streams read to their end for clients that left: shared by keys.

    A reload changes the bounds, never the counts.
    """

    max_body_bytes: int
    bytes: Shares
    calls: Shares
    drains: Shares
