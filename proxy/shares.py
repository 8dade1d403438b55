"""A limited resource shared by many: nobody can hold so much that others get nothing. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

_GREED = 4

Answer = Literal["granted", "own share", "full"]


class Shares:
    """`capacity` of something, in whole units. Who holds some gets more only up to four times what is left free then.

    So one holder alone can have four fifths, two 4/9 each, and however many there are, a newcomer finds something. No
    number of holders is configured, and nothing is kept for those who are not there.
    alone: whether there is but one who could hold anything; then it may have all. most_each: what one may have in any case.
    """

    __slots__ = ("_alone", "_held", "capacity", "most_each", "total")

    def __init__(self, capacity: int, alone: Callable[[], bool], most_each: int | None = None) -> None:
        self._alone = alone
        self.capacity = capacity
        self.most_each = most_each
        self.total = 0
        self._held: dict[str, int] = {}

    def take(self, holder: str, amount: int = 1) -> Answer:
        """`amount` more for `holder`, unless there is not so much, or it has its share."""
        held = self._held.get(holder, 0)
        free = self.capacity - self.total - amount
        held_then = held + amount
        if self.most_each is not None and held_then > self.most_each:
            return "own share"
        if held and held_then > _GREED * free and not self._alone():
            return "own share"
        if free < 0:
            return "full"
        self._held[holder] = held_then
        self.total += amount
        return "granted"

    def give(self, holder: str, amount: int = 1) -> None:
        """`holder` needs `amount` no more."""
        self.total -= amount
        left = self._held[holder] - amount
        if left:
            self._held[holder] = left
        else:
            del self._held[holder]
