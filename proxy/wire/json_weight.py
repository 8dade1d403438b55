"""How much memory a JSON text takes once parsed: mostly about its size, at worst thirty times that.

Of a long text that is estimated before it is parsed. Work is O(bytes), in passes that run in C; what lies in strings does not
count, however much it looks like structure. Such a pass takes as long as parsing: of a text that cannot take much whatever it
says, Python is asked afterwards how many pieces of memory it has given out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PARSED_FIRST_BYTES = 1024 * 1024
_PIECE_BYTES = 64  # of what Python gives out, on average of what JSON is made of

_SMALL_BYTES = 16_384  # not worth a look
_DENSE = 14  # bytes for each mark of structure below which a text may weigh several times its size
_OBJECT_BYTES, _LIST_BYTES, _VALUE_BYTES = (
    232,
    64,
    40,
)  # of CPython's dict with one key, list, and small values and slots
_STRING_BYTES = 50
_MAX_QUOTES = 1_000_000  # beyond it what lies between them is not told apart: all counts

_NOT_STRUCTURE = bytes(set(range(256)) - set(b"{[,"))
_NOT_STRUCTURE_OR_QUOTE = bytes(set(range(256)) - set(b'{[,"'))


def parsed_bytes(text: bytes) -> int:
    """About what the value that `text` says takes in memory; 0 where that is not far from its own size."""
    if len(text) < _SMALL_BYTES or len(text.translate(None, _NOT_STRUCTURE)) * _DENSE < len(text):
        return 0
    marks = text.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NOT_STRUCTURE_OR_QUOTE)
    quotes = marks.count(b'"')
    if quotes <= _MAX_QUOTES:
        marks = b"".join(marks.split(b'"')[::2])
    structure = marks.count(b"{") * _OBJECT_BYTES + marks.count(b"[") * _LIST_BYTES + marks.count(b",") * _VALUE_BYTES
    return structure + quotes // 2 * _STRING_BYTES


def weighed(text: bytes, parse: Callable[[bytes], T], hold: Callable[[int], object]) -> T:
    """What `parse` makes of a text. `hold` is told how many bytes that takes, where they are many more than the text has:
    beforehand, or afterwards where it cannot be much. What it raises is raised."""
    before = sys.getallocatedblocks() if _SMALL_BYTES < len(text) <= _PARSED_FIRST_BYTES else 0
    if not before:  # or this Python does not count them
        if weight := parsed_bytes(text):
            hold(weight)
        return parse(text)
    value = parse(text)
    weight = (sys.getallocatedblocks() - before) * _PIECE_BYTES
    if weight > len(text):
        hold(weight)
    return value
