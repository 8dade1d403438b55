"""How much of the callers' bytes a data plane takes in at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Load:
    """Bytes of request bodies in flight, and their bounds. A reload changes the bounds, never the count."""

    max_body_bytes: int
    max_inflight_bytes: int
    bytes_in_flight: int = 0
