"""One bounded table: the latest entries stay, the oldest make room. What a process remembers is bounded by this."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_SLACK = 64  # a table may have one part in so many more than it keeps, until the oldest go together


class BoundedTable(Generic[K, V]):
    """A table that keeps the latest `most` entries. Setting an entry makes it the latest; reading one does not.

    A plain dictionary, which has its entries in the order in which they came: an ordered one takes 80 bytes more for each.
    """

    __slots__ = ("_most", "_room", "_table", "get")

    def __init__(self, most: int) -> None:
        self._most = most
        self._room = most + most // _SLACK
        self._table: dict[K, V] = {}
        self.get: Callable[[K], V | None] = self._table.get

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, key: K) -> bool:
        return key in self._table

    def __setitem__(self, key: K, value: V) -> None:
        table = self._table
        if key in table:
            del table[key]
        table[key] = value
        if len(table) > self._room:
            self._forget()

    def touch(self, key: K) -> None:
        """Make an entry that is there the latest."""
        self._table[key] = self._table.pop(key)

    def put(self, keys: Iterable[K], value: V) -> None:
        """Set several entries to one value."""
        table = self._table
        for key in keys:
            if key in table:
                del table[key]
            table[key] = value
        if len(table) > self._room:
            self._forget()

    def _forget(self) -> None:
        """Let the oldest go. Some at a time: to find the first entry takes the longer the more have gone before it."""
        table = self._table
        for key in list(islice(table, len(table) - self._most)):
            del table[key]

    def pop(self, key: K) -> V | None:
        return self._table.pop(key, None)

    def first(self, most: int) -> list[K]:
        """The keys of the oldest entries."""
        return list(islice(self._table, most))

    def clear(self) -> None:
        self._table.clear()
