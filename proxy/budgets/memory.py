"""The budget store of a single data plane: plain integers in one process, rebuilt from the ledger at start.

Everything between two awaits is atomic under asyncio, and no method here awaits between reading and writing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

from proxy.budgets.store import Denied, Ending, Granted, Standing, granted_amounts, standing_of
from proxy.types import Claim

_CounterKey = tuple[str, str, int]  # budget, group, window start


class _Counter:
    __slots__ = ("limit", "measure", "reserved", "spent", "window_end")

    def __init__(self, measure: str, limit: int, window_end: int | None) -> None:
        self.measure = measure
        self.limit = limit
        self.window_end = window_end
        self.spent = 0
        self.reserved = 0


class _Reservation:
    __slots__ = ("amounts", "counters", "deadline_s", "granted", "keys")

    def __init__(
        self,
        keys: list[_CounterKey],
        counters: list[_Counter],
        amounts: list[int],
        deadline_s: float,
        granted: Granted,
    ) -> None:
        self.keys = keys
        self.counters = counters
        self.amounts = amounts
        self.deadline_s = deadline_s
        self.granted = granted


class MemoryStore:
    """Counters by (budget, group, window), reservations by attempt id, and who waits for room."""

    def __init__(self) -> None:
        self._counters: dict[_CounterKey, _Counter] = {}
        self._open: dict[str, _Reservation] = {}
        self._waiters: dict[_CounterKey, deque[asyncio.Future[None]]] = {}

    def seed(self, standing: Standing) -> None:
        """Set what the ledger says was spent, unless the counter is in use already and so knows more."""
        key = (standing.budget, standing.group, standing.window_start)
        if key not in self._counters:
            counter = self._counter(key, standing.measure, standing.limit, standing.window_end)
            counter.spent = standing.spent

    def _counter(self, key: _CounterKey, measure: str, limit: int, window_end: int | None) -> _Counter:
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = _Counter(measure, limit, window_end)
        return counter

    async def reserve(
        self, reservation_id: str, claims: Sequence[Claim], now_s: float, deadline_s: float
    ) -> Granted | Denied:
        if reservation_id in self._open:
            return self._open[reservation_id].granted
        keys = [(claim.budget, claim.group, claim.window_start) for claim in claims]
        counters = [
            self._counter(key, claim.measure, claim.limit, claim.window_end)
            for key, claim in zip(keys, claims, strict=True)
        ]
        exceeded, busy, would_refuse = [], [], []
        smaller: int | None = None
        for claim, counter in zip(claims, counters, strict=True):
            counter.limit = claim.limit
            room = claim.limit - counter.spent - counter.reserved
            if claim.amount <= room:
                continue
            if not claim.hard:
                would_refuse.append(claim.budget)
            elif claim.smallest <= room:
                smaller = room if smaller is None else min(smaller, room)
            elif claim.smallest > claim.limit - counter.spent:
                exceeded.append(standing_of(claim, counter.spent, counter.reserved))
            else:
                busy.append(standing_of(claim, counter.spent, counter.reserved))
        if exceeded or busy:
            return Denied(tuple(exceeded), tuple(busy))
        amounts = granted_amounts(claims, smaller)
        for amount, counter in zip(amounts, counters, strict=True):
            counter.reserved += amount
        granted = Granted(smaller, tuple(would_refuse))
        self._open[reservation_id] = _Reservation(keys, counters, amounts, deadline_s, granted)
        return granted

    async def settle(self, reservation_id: str, amounts: Sequence[int]) -> Ending | None:
        return self._end(reservation_id, amounts, "settled")

    async def release(self, reservation_id: str) -> Ending | None:
        return self._end(reservation_id, None, "released")

    def _end(self, reservation_id: str, amounts: Sequence[int] | None, ending: Ending) -> Ending | None:
        reservation = self._open.pop(reservation_id, None)
        if reservation is None:
            return None
        for index, (counter, reserved) in enumerate(zip(reservation.counters, reservation.amounts, strict=True)):
            counter.reserved -= reserved
            if amounts is not None:
                counter.spent += amounts[index]
        if self._waiters:
            self._wake(reservation.keys)
        return ending

    def _wake(self, keys: Iterable[_CounterKey]) -> None:
        for key in keys:
            for waiter in self._waiters.pop(key, ()):
                if not waiter.done():
                    waiter.set_result(None)

    async def wait_for_room(self, claims: Sequence[Claim], timeout_s: float) -> bool:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        keys = [(claim.budget, claim.group, claim.window_start) for claim in claims]
        for key in keys:
            self._waiters.setdefault(key, deque()).append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            return False
        finally:
            for key in keys:
                waiting = self._waiters.get(key)
                if waiting and waiter in waiting:
                    waiting.remove(waiter)
                    if not waiting:
                        del self._waiters[key]
        return True

    def standings(self) -> list[Standing]:
        return [
            Standing(name, group, start, c.window_end, c.measure, c.limit, c.spent, c.reserved)
            for (name, group, start), c in self._counters.items()
        ]

    def remaining(self, claim: Claim) -> int:
        """What is left to reserve on the counter that `claim` counts in."""
        counter = self._counters.get((claim.budget, claim.group, claim.window_start))
        return max(0, claim.limit - counter.spent - counter.reserved) if counter else claim.limit

    def standing(self, claim: Claim) -> Standing | None:
        counter = self._counters.get((claim.budget, claim.group, claim.window_start))
        return standing_of(claim, counter.spent, counter.reserved) if counter else None

    def forget_ended_windows(self, now_s: float) -> None:
        """Drop counters whose window is over and on which nothing is reserved any more."""
        over = [
            key
            for key, counter in self._counters.items()
            if counter.window_end is not None and counter.window_end <= now_s and not counter.reserved
        ]
        for key in over:
            del self._counters[key]
