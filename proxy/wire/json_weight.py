"""Estimates, before parsing, how much memory a JSON text takes once parsed: mostly about its size, at worst thirty times that.

Work is O(bytes), in passes that run in C; what lies in strings does not count, however much it looks like structure.
"""

from __future__ import annotations

SMALL_BYTES = 16_384  # not worth a look
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
    if len(text) < SMALL_BYTES or len(text.translate(None, _NOT_STRUCTURE)) * _DENSE < len(text):
        return 0
    marks = text.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NOT_STRUCTURE_OR_QUOTE)
    quotes = marks.count(b'"')
    if quotes <= _MAX_QUOTES:
        marks = b"".join(marks.split(b'"')[::2])
    structure = marks.count(b"{") * _OBJECT_BYTES + marks.count(b"[") * _LIST_BYTES + marks.count(b",") * _VALUE_BYTES
    return structure + quotes // 2 * _STRING_BYTES
