"""How much memory a body takes once it is parsed, which counts as in flight: a dense one takes up to thirty times its bytes.

To estimate that takes as long as to parse it (`wire/json_weight.py`). A body that cannot take much, whatever it says, is parsed
first: then Python says how many pieces of memory it has given out, but not how long they are. A list of single digits counts as
its text alone, of which it takes four times the bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from proxy.wire.json_weight import parsed_bytes

T = TypeVar("T")

# Python counts its pieces anew each time, 0.1 ms for each 100 MB of them: longer than to look at a shorter body.
_ASKED_FROM_BYTES, _ASKED_TO_BYTES = 64 * 1024, 1024 * 1024
_PIECE_BYTES = 64  # on average, of what a parsed JSON is made of


def weighed(body: bytes, parse: Callable[[bytes], T], hold: Callable[[int], object]) -> T:
    """What `parse` makes of a body. `hold` is told how many bytes that takes, where they are many more than the body has:
    beforehand, or afterwards where it cannot be much. What it raises is raised."""
    before = sys.getallocatedblocks() if _ASKED_FROM_BYTES <= len(body) <= _ASKED_TO_BYTES else 0
    if not before:  # or this Python does not count them
        if weight := parsed_bytes(body):
            hold(weight)
        return parse(body)
    value = parse(body)
    weight = (sys.getallocatedblocks() - before) * _PIECE_BYTES
    if weight > len(body):
        hold(weight)
    return value
