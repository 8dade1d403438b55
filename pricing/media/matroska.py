"""How long a WebM or Matroska with one track of Opus lasts, by its blocks (RFC 8794, RFC 9559): what browsers record."""

from __future__ import annotations

from collections.abc import Callable

from pricing.media.source import Source

_SEGMENT, _CLUSTER, _GROUP, _TRACKS, _TRACK = 0x18538067, 0x1F43B675, 0xA0, 0x1654AE6B, 0xAE
_HOLDING = frozenset({_SEGMENT, _CLUSTER, _GROUP, _TRACKS, _TRACK})
_BLOCK, _SIMPLE_BLOCK, _CODEC = 0xA1, 0xA3, 0x86
_MOST_ELEMENTS = 100_000


def most_microseconds(source: Source, at: int, packet_us: Callable[[bytes], int]) -> int | None:
    """The sum of its packets; None where it holds anything else, or packs several into a block."""
    total = tracks = 0
    for _ in range(_MOST_ELEMENTS):
        if at >= len(source):
            return total if tracks == 1 else None
        head = source.read(at, 16)
        name, width = _number(head, 0, marked=True)
        size, more = _number(head, width, marked=False)
        if not width or not more:
            return None
        at += width + more
        if name in _HOLDING:
            tracks += name == _TRACK
            continue  # its children follow: whether its own size is known does not matter
        if size is None:
            return None
        if name == _CODEC and source.read(at, size).rstrip(b"\0") != b"A_OPUS":
            return None
        if name in (_BLOCK, _SIMPLE_BLOCK):
            block = source.read(at, 12)
            _, track = _number(block, 0, marked=False)
            if not track or len(block) < track + 3 or block[track + 2] & 0x06:
                return None
            total += packet_us(block[track + 3 : min(track + 5, size)])
        at += size
    return None


def _number(data: bytes, at: int, *, marked: bool) -> tuple[int | None, int]:
    """A number of variable length, and how long it is (0: none stands there). All ones: not known."""
    if at >= len(data) or not data[at]:
        return None, 0
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big")
    if marked:
        return value, width
    value &= (1 << 7 * width) - 1
    return (None if value == (1 << 7 * width) - 1 else value), width
