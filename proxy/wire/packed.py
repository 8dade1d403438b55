"""JSON that is held for a while: of orjson's results (3.13.0) each keeps the whole buffer that it was written into, at least
four kilobytes, mostly eight to thirty, however short it is (findings/orjson-dumps-keeps-its-buffer.sh)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

_SLACK_BYTES = 65_536  # from here on the buffer is hardly larger than what is in it


def packed(value: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """`value` as JSON, in no more memory than it takes. Raises as `orjson.dumps` does."""
    data = orjson.dumps(value, default)
    return b"%b" % data if len(data) < _SLACK_BYTES else data
