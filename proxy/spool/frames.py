"""Frames: how records stand in a segment. A length, a CRC-32 and a JSON payload that begins with its kind. No I/O."""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections.abc import Sequence
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


class Records(Sequence[Record]):
    """Records that stand one behind another in a segment, as nearly all are looked at by their payloads alone; a `Record` only
    of one that somebody asks for. Never changed.

    bounds: where the first frame begins, and where each of them ends.
    """

    __slots__ = ("bounds", "payloads", "segment")

    def __init__(self, payloads: Sequence[bytes], segment: int, bounds: Sequence[int]) -> None:
        self.payloads = payloads
        self.segment = segment
        self.bounds = bounds

    def __len__(self) -> int:
        return len(self.payloads)

    def __getitem__(self, at: int) -> Record:  # type: ignore[override]  # no slices: `first`
        place = range(len(self.payloads))[at]
        return Record(self.payloads[place], self.segment, self.bounds[place], self.bounds[place + 1])

    def first(self, count: int) -> Records:
        """So many of them, from the first."""
        return Records(self.payloads[:count], self.segment, self.bounds[: count + 1])

    def ended_by(self, position: Position) -> int:
        """How many of them end there or before."""
        if self.segment != position.segment:
            return len(self) if self.segment < position.segment else 0
        return max(0, bisect_right(self.bounds, position.offset) - 1)


NONE = Records((), 0, (0,))


def frames(data: bytes, segment: int, offset: int) -> tuple[Records, int]:
    """The whole, sound frames at the beginning of `data`, and how many bytes they take."""
    payloads: list[bytes] = []
    stated: list[int] = []  # their checksums
    bounds = [offset]
    unpack, head, end = HEAD.unpack_from, HEAD.size, len(data)
    payload_at = head
    while True:
        if payload_at > end:
            break
        length, crc = unpack(data, payload_at - head)
        frame_end = payload_at + length
        if frame_end > end or not length:
            break
        payloads.append(data[payload_at:frame_end])
        stated.append(crc)
        bounds.append(offset + frame_end)
        payload_at = frame_end + head
    # All at once: what is read behind a damaged length is dropped with it.
    if (sums := list(map(zlib.crc32, payloads))) != stated:
        sound = next(at for at, pair in enumerate(zip(sums, stated, strict=True)) if pair[0] != pair[1])
        del payloads[sound:], bounds[sound + 1 :]
    return Records(payloads, segment, bounds), bounds[-1] - offset


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
