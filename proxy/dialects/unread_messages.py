"""A list of messages of which runs are JSON still, as nothing in them has to be looked at. Who looks all the same sees values.

orjson writes it as it writes the list of the values, byte for byte: it takes what lies in the list as it is (`Fragment`), whose
keys it does not sort. All that Python does with a list reads the messages first; only its length is known without. Machine code
does not ask the class: where modules may be compiled, it goes by `Sequence` (`fields.objects`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import orjson


class Run(NamedTuple):
    """Messages behind each other. json: with commas between, without brackets round them. marks: a hash of each. ends: where
    each ends in it."""

    json: bytes
    marks: Sequence[int]
    ends: Sequence[int]

    def read(self) -> list[Any]:
        messages: list[Any] = orjson.loads(b"[%b]" % self.json)
        return messages

    def message(self, number: int) -> Any:
        return orjson.loads(self.json[self.ends[number - 1] + 1 if number else 0 : self.ends[number]])


class UnreadMessages(list[Any]):
    """pieces: runs, and the values of the messages between them, in their order."""

    __slots__ = ("_firsts", "_pieces")

    def __init__(self, pieces: Sequence[Any]) -> None:
        super().__init__([orjson.Fragment(one.json) if type(one) is Run else one for one in pieces])
        self._pieces: Sequence[Any] | None = pieces
        # The number of each piece's first message, and of what would come behind them all.
        self._firsts = [0, *accumulate(len(one.marks) if type(one) is Run else 1 for one in pieces)]

    def pieces(self) -> Sequence[Any]:
        """As they were given; once all are read, each message by itself."""
        return [*self] if self._pieces is None else self._pieces

    def values(self) -> list[Any]:
        """The messages that stand in no run."""
        return [one for one in self.pieces() if type(one) is not Run]

    def with_runs(self, written: Sequence[bytes], marks: Sequence[int]) -> tuple[list[bytes], list[int]]:
        """The JSON and the hashes of all messages, given those of the values."""
        all_written: list[bytes] = []
        all_marks: list[int] = []
        number = 0
        for piece in self.pieces():
            if type(piece) is Run:
                all_written.append(piece.json)
                all_marks += piece.marks
            else:
                all_written.append(written[number])
                all_marks.append(marks[number])
                number += 1
        return all_written, all_marks

    def message(self, number: int) -> Any:
        """One message, of a run by itself: to be looked at, not to be changed."""
        if self._pieces is None:
            return super().__getitem__(number)
        if not 0 <= number < self._firsts[-1]:
            raise IndexError(number)
        place = bisect_right(self._firsts, number) - 1
        piece = self._pieces[place]
        return piece.message(number - self._firsts[place]) if type(piece) is Run else piece

    def __len__(self) -> int:
        return super().__len__() if self._pieces is None else self._firsts[-1]

    def __radd__(self, other: list[Any]) -> list[Any]:
        return [*other, *self]  # a list would take what lies in this one

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, ([*self],)  # a copy is a list like any other

    def _read(self) -> None:
        if (pieces := self._pieces) is not None:
            values: list[Any] = []
            for piece in pieces:
                if type(piece) is Run:
                    values += piece.read()
                else:
                    values.append(piece)
            super().__setitem__(slice(None), values)
            self._pieces = None


def _reading(name: str) -> Callable[..., Any]:
    own = getattr(list, name)

    def read_first(self: UnreadMessages, *given: Any, **named: Any) -> Any:
        self._read()
        return own(self, *given, **named)

    return read_first


for _name in (
    "__add__", "__contains__", "__delitem__", "__eq__", "__ge__", "__getitem__", "__gt__", "__iadd__", "__imul__", "__iter__",
    "__le__", "__lt__", "__mul__", "__ne__", "__repr__", "__reversed__", "__rmul__", "__setitem__", "append", "clear", "copy",
    "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort",
):  # fmt: skip
    setattr(UnreadMessages, _name, _reading(_name))
