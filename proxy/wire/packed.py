"""JSON that is held for a while, without spare memory: each result of orjson (3.13.0) keeps the whole buffer it was written
into, four to thirty kilobytes, however short it is (findings/orjson-dumps-keeps-its-buffer.sh)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

_SLACK_BYTES = 65_536  # from here on the buffer is hardly larger than what is in it


def packed(value: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """`value` as JSON, in no more memory than it takes. Raises as `orjson.dumps` does."""
    data = orjson.dumps(value, default)
    return b"%b" % data if len(data) < _SLACK_BYTES else data
