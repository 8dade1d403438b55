"""Frames: how records stand in a segment. A length, a CRC-32 and a JSON payload that begins with its kind. No I/O."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from msgspec import Struct

HEAD = struct.Struct("<II")
_MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
_PAYLOAD_START = b'{"t":"'


def frame(payload: bytes) -> bytes:
    return HEAD.pack(len(payload), zlib.crc32(payload)) + payload


class Position(NamedTuple):
    """A place in a run: the segment's number and the byte in it. Positions of one run are ordered."""

    segment: int
    offset: int


class Record(Struct, gc=False, frozen=True):
    """One payload, where its frame begins, and the place right behind it. (A named tuple takes four times as long to make.)"""

    payload: bytes
    segment: int
    start: int
    end: int

    @property
    def start_position(self) -> Position:
        return Position(self.segment, self.start)

    @property
    def end_position(self) -> Position:
        return Position(self.segment, self.end)


def frames(data: bytes, segment: int, offset: int) -> tuple[list[Record], int]:
    """The whole, sound frames at the beginning of `data`, and how many bytes they take."""
    records: list[Record] = []
    unpack, crc32 = HEAD.unpack_from, zlib.crc32
    begin, start, end = 0, offset, len(data)
    payload_at = HEAD.size
    while payload_at <= end:
        length, crc = unpack(data, begin)
        begin = payload_at + length
        payload = data[payload_at:begin]
        if crc32(payload) != crc or begin > end or not length:
            return records, payload_at - HEAD.size
        payload_at = begin + HEAD.size
        records.append(Record(payload, segment, start, start := offset + begin))
    return records, begin


def first_bytes(data: bytes) -> int:
    """How long the first frame is, by its head."""
    length: int = HEAD.unpack_from(data)[0]
    return HEAD.size + length


def next_sound(rest: bytes) -> int | None:
    """Where the next whole, sound frame begins behind damage; None where there is none."""
    at = rest.find(_PAYLOAD_START, 9)
    while at >= 0:
        length, crc = HEAD.unpack_from(rest, at - 8)
        if at + length <= len(rest) and zlib.crc32(rest[at : at + length]) == crc:
            return at - 8
        at = rest.find(_PAYLOAD_START, at + 1)
    return None


def is_torn(data: bytes) -> bool:
    """Whether it is the beginning of one frame: what is left of a record that nobody was told is written."""
    if len(data) < HEAD.size:
        return True
    length, _ = HEAD.unpack_from(data)
    text = data[HEAD.size :]
    return len(text) < length <= _MAX_PAYLOAD_BYTES and _PAYLOAD_START.startswith(text[: len(_PAYLOAD_START)])
