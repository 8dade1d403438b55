"""One bounded table: the latest entries stay, the oldest make room. What a process remembers is bounded by this."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Latest(Generic[K, V]):
    """A table of at most `most` entries. Setting an entry makes it the latest; reading one does not."""

    __slots__ = ("_most", "_table", "get")

    def __init__(self, most: int) -> None:
        self._most = most
        self._table: OrderedDict[K, V] = OrderedDict()
        self.get: Callable[[K], V | None] = self._table.get

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, key: K) -> bool:
        return key in self._table

    def __setitem__(self, key: K, value: V) -> None:
        table = self._table
        if key in table:
            table.move_to_end(key)
        table[key] = value
        if len(table) > self._most:
            table.popitem(last=False)

    def touch(self, key: K) -> None:
        """Make an entry that is there the latest."""
        self._table.move_to_end(key)

    def put(self, keys: Iterable[K], value: V) -> None:
        """Set several entries to one value."""
        table = self._table
        for key in keys:
            if key in table:
                table.move_to_end(key)
            table[key] = value
        while len(table) > self._most:
            table.popitem(last=False)

    def pop(self, key: K) -> V | None:
        return self._table.pop(key, None)

    def clear(self) -> None:
        self._table.clear()
