"""Who may use one of an upstream's connections: places shared fairly among callers, and a queue of those who wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from proxy.shares import Shares


class Turns:
    """`count` places. Who waits is served in order among its own, and in turn with other holders."""

    def __init__(self, count: int, alone: Callable[[], bool]) -> None:
        self._shares = Shares(count, alone)
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def waiting(self) -> int:
        return sum(len(turns) for turns in self._waiting.values())

    def take_now(self, holder: str) -> bool:
        """Whether there was a place that nobody has to wait for; then it is `holder`'s."""
        return self._shares.take(holder) == "granted"

    async def take(self, holder: str, within_s: float) -> None:
        """A place for `holder`, which gives it back with `give`. Raises TimeoutError."""
        if self._shares.take(holder) == "granted":
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(holder, deque()).append(turn)
        try:
            async with asyncio.timeout(within_s):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.give(holder)  # it came when nobody waited for it any more
            else:
                self._forget(holder, turn)
            raise

    def give(self, holder: str) -> None:
        self._shares.give(holder)
        if not self._waiting:
            return
        for waiting in list(self._waiting):
            if self._shares.total >= self._shares.capacity:
                return
            self._serve(waiting)

    def _serve(self, holder: str) -> None:
        turns = self._waiting.pop(holder)
        while turns and turns[0].done():
            turns.popleft()
        if turns and self._shares.take(holder) == "granted":
            turns.popleft().set_result(None)
        if turns:
            self._waiting[holder] = turns  # behind the others now

    def _forget(self, holder: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(holder)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[holder]
