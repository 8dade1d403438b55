"""How much memory a body takes once it is parsed, which counts as in flight: a dense one takes up to thirty times its bytes.

To estimate that takes as long as to parse it (`wire/json_weight.py`). A body that cannot take much, whatever it says, is parsed
first: then Python says how many pieces of memory it has given out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from proxy.wire.json_weight import SMALL_BYTES, parsed_bytes

T = TypeVar("T")

_PARSED_FIRST_BYTES = 1024 * 1024
_PIECE_BYTES = 64  # on average, of what a parsed JSON is made of


def weighed(body: bytes, parse: Callable[[bytes], T], hold: Callable[[int], object]) -> T:
    """What `parse` makes of a body. `hold` is told how many bytes that takes, where they are many more than the body has:
    beforehand, or afterwards where it cannot be much. What it raises is raised."""
    before = sys.getallocatedblocks() if SMALL_BYTES < len(body) <= _PARSED_FIRST_BYTES else 0
    if not before:  # or this Python does not count them
        if weight := parsed_bytes(body):
            hold(weight)
        return parse(body)
    value = parse(body)
    weight = (sys.getallocatedblocks() - before) * _PIECE_BYTES
    if weight > len(body):
        hold(weight)
    return value
