"""Bodies that begin as earlier ones did, recognised before they are parsed: of an agent's request nearly all was sent before.

The text of the messages is hashed in blocks, each with all that are before it, as inference servers find a prompt in their
caches. Messages that lie in known blocks are cut out of the body, a token put in their place, and the rest is parsed. Where the
token then stands in the list of messages, they stood: it is secret, and another one for each body, so nobody else writes it.
Their bytes are those of JSON that was valid when it came first, and was written as orjson writes it. No text is kept.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from proxy.dialects.unread_messages import Run, UnreadMessages

_BLOCK_BYTES = 16_384
# Of either generation: 64 MB of text, known by 350 bytes for each block and 16 for each message.
_MOST_BLOCKS = 4096
_LIVING = 1024  # bodies: who sent none among so many has perhaps ended
_LEAST_BYTES = 32_768  # of a beginning: a shorter one is parsed as fast
_MOST_OPEN = 32  # messages in a beginning that are looked at each time
_MOST_IN_BLOCK = 128  # messages: what nearly no conversation has so many of takes more memory than its text


class _Block(NamedTuple):
    """Of the messages that end in a block: a hash of each, where each ends behind the first byte of the first message of all,
    and which are looked at each time."""

    marks: Sequence[int]
    ends: Sequence[int]
    opened: Sequence[int]


class Beginning(NamedTuple):
    """What is known of a body. start: of its messages, in it. blocks, mark: how many of them, and the hash of these. marks,
    ends: of all messages in them, as in `_Block`; opened: the numbers of those that are looked at each time."""

    start: int
    blocks: int
    mark: int
    marks: Sequence[int]
    ends: Sequence[int]
    opened: Sequence[int]

    def unknown(self) -> Beginning:
        """The same of a body of which nothing is known."""
        return Beginning(self.start, 0, 0, (), (), ())


class KnownBeginnings:
    """Those of one dialect, whose messages stand in the field `name`.

    In two generations: what is used goes to the younger, and when that is full, the older is forgotten. Not before it had its
    turn: of more conversations than there is room for, some are known all the time, not all of them too late.
    """

    __slots__ = ("_bodies", "_name", "_old", "_opening", "_young")

    def __init__(self, name: str) -> None:
        self._name = name
        self._opening = b'"%b"' % name.encode()
        self._young: dict[int, _Block] = {}
        self._old: dict[int, _Block] = {}
        self._bodies = 0  # since this is the younger generation

    def is_full(self) -> bool:
        """Whether there is no room for what is new."""
        return len(self._young) >= _MOST_BLOCKS and self._bodies < _LIVING

    def find(self, raw: bytes) -> Beginning | None:
        """None where the body is not written as programs write it, without blanks."""
        at = raw.find(self._opening)
        start = at + len(self._opening) + 2
        if at < 0 or raw[start - 2 : start] != b":[":
            return None
        self._bodies += 1
        young, old, mark, number = self._young, self._old, 0, 0
        marks: list[int] = []
        ends: list[int] = []
        opened: list[int] = []
        for first in range(start, len(raw) - _BLOCK_BYTES, _BLOCK_BYTES):
            next_mark = hash((mark, hash(raw[first : first + _BLOCK_BYTES])))
            block = young.get(next_mark)
            if block is None:
                block = old.get(next_mark)
                if block is None:
                    break
                if len(young) < _MOST_BLOCKS:
                    young[next_mark] = block
            if block.opened:
                opened += [len(marks) + message for message in block.opened]
            marks += block.marks
            ends += block.ends
            mark, number = next_mark, number + 1
        return Beginning(start, number, mark, marks, ends, opened)

    def parse(self, raw: bytes, begun: Beginning) -> dict[str, Any] | None:
        """The body, of which what is known stays as it is; None where all of it has to be parsed."""
        if not begun.ends or begun.ends[-1] < _LEAST_BYTES:
            return None
        pieces = _pieces(raw, begun)
        rest = raw[begun.start + begun.ends[-1] :]
        # Another one for each body, and as secret as Python's hash: where that is not, nothing is recognised.
        token = f"{hash(rest):+020x}{hash((rest, begun.mark)):+020x}"
        written_token = orjson.dumps(token)
        written = [written_token if type(piece) is Run else piece for piece in pieces]
        try:
            body = orjson.loads(b"%b%b%b" % (raw[: begun.start], b",".join(written), rest))
        except orjson.JSONDecodeError:
            return None
        listed = body.get(self._name) if type(body) is dict else None
        if type(listed) is not list or len(listed) < len(pieces):
            return None
        for number, piece in enumerate(pieces):
            if type(piece) is Run:
                if listed[number] != token:
                    return None
                listed[number] = piece
        body[self._name] = UnreadMessages(listed)
        parsed: dict[str, Any] = body
        return parsed

    def note(
        self, raw: bytes, begun: Beginning, written: Sequence[bytes], marks: Sequence[int], opened: Sequence[bool]
    ) -> None:
        """Remember a body's messages, of which those behind `begun` are given. written: each as JSON. opened: which of them are
        to be looked at each time."""
        if self.is_full():
            return
        ends: list[int] = []
        at = begun.start + (begun.ends[-1] if begun.ends else 0)
        is_first = not begun.ends
        left = _MOST_OPEN - len(begun.opened)
        for message, is_open in zip(written, opened, strict=True):
            if not is_first:
                at += 1  # behind a comma
            is_first, left = False, left - is_open
            if left < 0 or not (message.startswith(b"{") and raw.startswith(message, at)):
                break  # it is written in another way, and goes on in its own
            at += len(message)
            ends.append(at - begun.start)
            if not raw.startswith(b",", at):
                break
        first, mark = 0, begun.mark
        for number in range(begun.blocks, ends[-1] // _BLOCK_BYTES if ends else 0):
            end = (number + 1) * _BLOCK_BYTES
            from_byte = begun.start + number * _BLOCK_BYTES
            mark = hash((mark, hash(raw[from_byte : from_byte + _BLOCK_BYTES])))
            last = bisect_right(ends, end)
            inside = [message - first for message in range(first, last) if opened[message]]
            if self.is_full() or last - first > _MOST_IN_BLOCK:
                break
            if len(self._young) >= _MOST_BLOCKS:
                self._young, self._old, self._bodies = {}, self._young, 0
            self._young[mark] = _Block(array("q", marks[first:last]), array("q", ends[first:last]), inside)
            first = last


def _pieces(raw: bytes, begun: Beginning) -> list[Any]:
    """What is known of a body's messages: runs of them, and the JSON of each that is to be looked at."""
    start, marks, ends = begun.start, begun.marks, begun.ends
    pieces: list[Any] = []
    first = 0
    for number in (*begun.opened, len(ends)):
        at = ends[first - 1] + 1 if first else 0
        if number > first:
            own = ends[first:number] if not at else [end - at for end in ends[first:number]]
            pieces.append(Run(raw[start + at : start + ends[number - 1]], marks[first:number], own))
        if number < len(ends):
            at = ends[number - 1] + 1 if number else 0
            pieces.append(raw[start + at : start + ends[number]])
        first = number + 1
    return pieces
