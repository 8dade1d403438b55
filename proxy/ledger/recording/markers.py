"""Markers of epochs among the records of a run: what stands before one is shipped before counters are made of the ledger."""

from __future__ import annotations

import orjson

MARKER_BEGINS = b'{"t":"epoch"'


def epoch_of(marker: bytes) -> str | None:
    """None where it says none: then it is one more record that cannot be read."""
    try:
        epoch = orjson.loads(marker)["epoch"]
    except (orjson.JSONDecodeError, LookupError):
        return None
    return epoch if isinstance(epoch, str) else None
