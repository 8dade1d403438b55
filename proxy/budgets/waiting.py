"""Calls that wait until others give money back: woken when counters change, the oldest first, no more than may fit.

A call is woken when its claim fits into what is free, less what those before it in the queue will take; or when so much was
spent that it never will. One that was woken and does not get its room after all passes its turn on.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Sequence

from proxy.budgets.store import CounterKey, counter_key
from proxy.types import Claim

_MOST_LOOKED_AT = 256  # of one queue at one change: the work of a change has a bound


class _Waiter:
    __slots__ = ("claims", "id", "woken")

    def __init__(self, reservation_id: str, claims: Sequence[Claim]) -> None:
        self.id = reservation_id
        self.claims = {counter_key(claim): claim for claim in claims}
        self.woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()


def _age(waiter: _Waiter) -> str:
    return waiter.id


class _Queue:
    """The waiters of one counter, its last figures, and who had a turn since these changed."""

    __slots__ = ("reserved", "spent", "tried", "waiters")

    def __init__(self) -> None:
        self.waiters: list[_Waiter] = []
        self.tried: set[str] = set()
        self.spent: int | None = None
        self.reserved = 0


class WaitingRoom:
    """Everybody of one process who waits. Reservation ids are in the order of time, so a call keeps its place by its id."""

    def __init__(self) -> None:
        self._queues: dict[CounterKey, _Queue] = {}
        self._turns: dict[str, list[CounterKey]] = {}  # who was woken, by which counters, until it asks

    def __bool__(self) -> bool:
        return bool(self._queues or self._turns)

    async def wait(self, reservation_id: str, claims: Sequence[Claim], timeout_s: float) -> bool:
        """True when it is worth trying again; False when the time is over."""
        waiter = _Waiter(reservation_id, claims)
        for key in waiter.claims:
            insort(self._queues.setdefault(key, _Queue()).waiters, waiter, key=_age)
        self.turn_is_over(reservation_id)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter.woken
        except TimeoutError:
            self._leave(waiter)
            self.turn_is_over(reservation_id)
            return False
        except asyncio.CancelledError:
            self._leave(waiter)
            self.turn_is_over(reservation_id)
            raise
        finally:
            self._leave(waiter)
        return True

    def _leave(self, waiter: _Waiter) -> None:
        for key in waiter.claims:
            queue = self._queues.get(key)
            if queue is not None and waiter in queue.waiters:
                queue.waiters.remove(waiter)
                if not queue.waiters:
                    del self._queues[key]

    def took(self, reservation_id: str, claims: Sequence[Claim], amounts: Sequence[int]) -> None:
        """A reservation was granted, to somebody who waited or to somebody else."""
        for claim, amount in zip(claims, amounts, strict=True):
            queue = self._queues.get(counter_key(claim))
            if queue is not None:
                queue.reserved += amount
        self.turn_is_over(reservation_id)

    def turn_is_over(self, reservation_id: str) -> None:
        """Whoever was woken has asked, or is gone: what it left may be enough for those behind it."""
        for key in self._turns.pop(reservation_id, ()):
            queue = self._queues.get(key)
            if queue is not None:
                self._wake(key, queue)

    def changed(self, key: CounterKey, spent: int, reserved: int) -> None:
        """The counter stands like this now: wake those that may fit, and those that never will."""
        queue = self._queues.get(key)
        if queue is not None:
            queue.spent, queue.reserved = spent, reserved
            queue.tried.clear()
            self._wake(key, queue)

    def _wake(self, key: CounterKey, queue: _Queue) -> None:
        if queue.spent is None:
            return
        promised = 0
        for waiter in queue.waiters[:_MOST_LOOKED_AT]:
            claim = waiter.claims[key]
            if waiter.woken.done():
                promised += claim.smallest
                continue
            if waiter.id in queue.tried:
                continue
            left = claim.limit - queue.spent
            if claim.smallest <= left - queue.reserved - promised:
                promised += claim.smallest
            elif claim.hard and claim.smallest <= left:
                continue
            queue.tried.add(waiter.id)
            self._turns.setdefault(waiter.id, []).append(key)
            waiter.woken.set_result(None)

    def wake_all(self) -> None:
        """Nothing is known any more (the store was away): everybody asks for himself."""
        for queue in self._queues.values():
            for waiter in queue.waiters:
                if not waiter.woken.done():
                    waiter.woken.set_result(None)
