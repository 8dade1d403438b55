"""How many pixels a picture has, by its header.

Formats: PNG (w3.org/TR/png, IHDR), GIF89a, JPEG (ITU-T T.81, frame headers), WebP (RFC 9649), BMP, TIFF 6.0.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from pricing.media.source import Source, UnreadableError

_MOST_SEGMENTS = 1000
_MOST_TAGS = 512


class Size(NamedTuple):
    """Pixels."""

    width: int
    height: int


def image_size(source: Source) -> Size | None:
    """The size of a PNG, GIF, JPEG, WebP, BMP or TIFF; None for anything else and for what cannot be read."""
    try:
        size = _size(source)
    except (UnreadableError, struct.error):
        return None
    return size if size is not None and size.width > 0 and size.height > 0 else None


def _size(source: Source) -> Size | None:
    head = source.read(0, 32)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Size(*struct.unpack(">II", head[16:24])) if head[12:16] == b"IHDR" else None
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return _gif(source, head)
    if head.startswith(b"\xff\xd8"):
        return _jpeg(source)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp(head)
    if head.startswith(b"BM"):
        return _bmp(head)
    return _tiff(source, head) if head[:4] in (b"II*\0", b"MM\0*") else None


def _gif(source: Source, head: bytes) -> Size:
    """The screen, or the first picture where that is larger."""
    width, height, flags = struct.unpack("<HHB", head[6:11])
    at = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    skipped = 0
    while skipped < _MOST_SEGMENTS:
        block = source.read(at, 10)
        if block[:1] == b",":
            left, top, wide, high = struct.unpack("<HHHH", block[1:9])
            return Size(max(width, left + wide), max(height, top + high))
        if block[:1] != b"!":
            break
        at += 2
        while skipped < _MOST_SEGMENTS:
            skipped += 1
            length = source.read(at, 1)
            at += 1 + (length[0] if length else 0)
            if length in (b"", b"\0"):
                break
    return Size(width, height)


def _jpeg(source: Source) -> Size | None:
    """The first frame header; the segments before it are stepped over, not read."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        segment = source.read(at, 9)
        if len(segment) < 9 or segment[0] != 0xFF:
            return None
        marker = segment[1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", segment[5:9])
            return Size(width, height)
        elif marker in (0x01, 0xD8) or 0xD0 <= marker <= 0xD7:
            at += 2
        else:
            length = int.from_bytes(segment[2:4], "big")
            if length < 2 or marker in (0xD9, 0xDA):
                return None
            at += 2 + length
    return None


def _webp(head: bytes) -> Size | None:
    kind = head[12:16]
    if kind == b"VP8X":
        return Size(int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1)
    if kind == b"VP8L" and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", head[26:30])
        return Size(width & 0x3FFF, height & 0x3FFF)
    return None


def _bmp(head: bytes) -> Size:
    if int.from_bytes(head[14:18], "little") == 12:
        return Size(*struct.unpack("<HH", head[18:22]))
    width, height = struct.unpack("<ii", head[18:26])
    return Size(abs(width), abs(height))


def _tiff(source: Source, head: bytes) -> Size | None:
    """The first directory's width and length."""
    order = "<" if head[:2] == b"II" else ">"
    (at,) = struct.unpack(order + "I", head[4:8])
    (count,) = struct.unpack(order + "H", source.read(at, 2))
    if count > _MOST_TAGS:
        return None
    tags: dict[int, int] = {}
    entries = source.read(at + 2, 12 * count)
    for number in range(len(entries) // 12):
        tag, kind, many = struct.unpack_from(order + "HHI", entries, 12 * number)
        if tag in (256, 257) and many == 1 and kind in (3, 4):
            stated = struct.unpack_from(order + ("H" if kind == 3 else "I"), entries, 12 * number + 8)[0]
            tags[tag] = max(stated, tags.get(tag, 0))  # of one that is there twice readers take either
    return Size(tags[256], tags[257]) if len(tags) == 2 else None
