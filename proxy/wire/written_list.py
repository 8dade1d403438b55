"""A list that is written as JSON already, for who writes the object that it stands in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

# What JSON as orjson writes it has nowhere: in texts it is escaped.
_ELSEWHERE = b"\n"


class WrittenList:
    """listed: the list, with at least one item. Its JSON is held until the object is written, and no longer: it may be as long
    as that."""

    __slots__ = ("_items", "listed")

    def __init__(self, listed: list[Any], items: Sequence[bytes]) -> None:
        """items: each of them as JSON."""
        self.listed = listed
        self._items: Sequence[bytes] | None = items

    def placed(self) -> Any:
        """What to write in place of the list: its place, for `filled`; itself where it was written before."""
        return self.listed if self._items is None else orjson.Fragment(_ELSEWHERE)

    def filled(self, written: bytes) -> bytes:
        """The JSON of the object, with the list in its place. In one copy, as that is long."""
        items, self._items = self._items, None
        if items is None:
            return written
        head, _, tail = written.partition(_ELSEWHERE)
        pieces = [b","] * (2 * len(items) + 1)
        pieces[1::2] = items
        pieces[0], pieces[-1] = head + b"[", b"]" + tail
        return b"".join(pieces)
