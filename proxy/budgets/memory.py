"""The budget store of a single data plane: plain integers in one process, rebuilt from the ledger at start.

Everything between two awaits is atomic under asyncio, and no method here awaits between reading and writing.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappush, heapreplace
from math import inf

from proxy.budgets.store import (
    REMEMBERED_S,
    CounterKey,
    Denied,
    Ending,
    Expired,
    Granted,
    Moved,
    Standing,
    counter_key,
    granted_amounts,
    in_window,
    standing_of,
)
from proxy.budgets.waiting import WaitingRoom
from proxy.types import Claim


class _Counter:
    __slots__ = ("limit", "reserved", "spent", "window_end")

    def __init__(self, limit: int, window_end: int | None) -> None:
        self.limit = limit
        self.window_end = window_end
        self.spent = 0
        self.reserved = 0


class _Reservation:
    __slots__ = ("amounts", "counters", "deadline_s", "granted", "keys", "record")

    def __init__(
        self,
        keys: list[CounterKey],
        counters: list[_Counter],
        amounts: list[int],
        deadline_s: float,
        granted: Granted,
        record: bytes,
    ) -> None:
        self.keys = keys
        self.counters = counters
        self.amounts = amounts
        self.deadline_s = deadline_s
        self.granted = granted
        self.record = record


class MemoryStore:
    """Counters by (budget, group, measure, window), reservations by attempt id, and who waits for room."""

    epoch = ""  # it lives as long as its one data plane

    def __init__(self) -> None:
        self._counters: dict[CounterKey, _Counter] = {}
        self._open: dict[str, _Reservation] = {}
        self._earliest_s = inf  # no open reservation has an earlier deadline
        # Ends that are remembered: until when (known from the next sweep on); None: nothing may come any more.
        self._ended: dict[str, tuple[float, _Reservation | None]] = {}
        self._unwritten: dict[str, Expired] = {}
        self._waiting = WaitingRoom()

    def seed(self, standing: Standing) -> None:
        """Set what the ledger says was spent, unless the counter is in use already and so knows more."""
        key = (standing.budget, standing.group, standing.measure, standing.window_start)
        if key not in self._counters:
            self._counter(key, standing.limit, standing.window_end).spent = standing.spent

    def begin_anew(self, budget: str) -> None:
        """Forget a budget's counters: it counts something else from now on. What is in flight settles in the old ones."""
        for key in [key for key in self._counters if key[0] == budget]:
            del self._counters[key]

    def _counter(self, key: CounterKey, limit: int, window_end: int | None) -> _Counter:
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = _Counter(limit, window_end)
        return counter

    async def reserve(
        self, reservation_id: str, claims: Sequence[Claim], now_s: float, deadline_s: float, record: bytes = b""
    ) -> Granted | Denied | Moved:
        if now_s >= self._earliest_s:
            self._sweep(now_s)
        if reservation_id in self._open:
            return self._open[reservation_id].granted
        if self._ended and reservation_id in self._ended:
            return Denied((), ())
        keys, counters = [], []
        for claim in claims:
            if not in_window(claim, now_s):
                return Moved(now_s)
            key = counter_key(claim)
            keys.append(key)
            counters.append(self._counter(key, claim.limit, claim.window_end))
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
            if self._waiting:
                self._waiting.turn_is_over(reservation_id)
            return Denied(tuple(exceeded), tuple(busy))
        amounts = granted_amounts(claims, smaller)
        for amount, counter in zip(amounts, counters, strict=True):
            counter.reserved += amount
        granted = Granted(smaller, tuple(would_refuse))
        self._open[reservation_id] = _Reservation(keys, counters, amounts, deadline_s, granted, record)
        self._earliest_s = min(self._earliest_s, deadline_s)
        if self._waiting:
            self._waiting.took(reservation_id, claims, amounts)
        return granted

    async def settle(self, reservation_id: str, amounts: Sequence[int]) -> Ending | None:
        reservation = self._open.pop(reservation_id, None)
        if reservation is None:
            return self._correct(reservation_id, amounts)
        self._end(reservation, amounts)
        return "settled"

    async def release(self, reservation_id: str) -> Ending | None:
        reservation = self._open.pop(reservation_id, None)
        if reservation is None:
            late = self._correct(reservation_id, None)
            self._close(reservation_id)
            return late
        self._end(reservation, None)
        return "released"

    async def charge(self, reservation_id: str, claims: Sequence[Claim], amounts: Sequence[int]) -> Ending | None:
        known = reservation_id in self._open or reservation_id in self._ended
        ending: Ending | None = await self.settle(reservation_id, amounts)
        if not known:
            for claim, amount in zip(claims, amounts, strict=True):
                self._counter(counter_key(claim), claim.limit, claim.window_end).spent += amount
            ending = "settled"
        self._close(reservation_id)
        return ending

    def _end(self, reservation: _Reservation, amounts: Sequence[int] | None) -> None:
        for index, (counter, reserved) in enumerate(zip(reservation.counters, reservation.amounts, strict=True)):
            counter.reserved -= reserved
            if amounts is not None:
                counter.spent += amounts[index]
        if self._waiting:
            self._tell(reservation.keys, reservation.counters)

    def _tell(self, keys: Sequence[CounterKey], counters: Sequence[_Counter]) -> None:
        for key, counter in zip(keys, counters, strict=True):
            self._waiting.changed(key, counter.spent, counter.reserved)

    # Expiry

    def _correct(self, reservation_id: str, amounts: Sequence[int] | None) -> Ending | None:
        """What is learned of a reservation that expired: it was charged whole, now it is charged with what it took."""
        until_s, reservation = self._ended.get(reservation_id, (0.0, None))
        if reservation is None:
            return None
        for index, counter in enumerate(reservation.counters):
            counter.spent += (amounts[index] if amounts is not None else 0) - reservation.amounts[index]
        if self._waiting:
            self._tell(reservation.keys, reservation.counters)
        self._ended[reservation_id] = (until_s, None)
        return "expired"

    def _close(self, reservation_id: str) -> None:
        """Nothing may come under this id any more."""
        self._ended[reservation_id] = (inf, None)

    async def sweep(self, now_s: float) -> int:
        for reservation_id, (until_s, reservation) in list(self._ended.items()):
            if until_s == inf:
                self._ended[reservation_id] = (now_s + REMEMBERED_S, reservation)
            elif until_s <= now_s and reservation_id not in self._unwritten:
                del self._ended[reservation_id]
        return self._sweep(now_s) if now_s >= self._earliest_s else 0

    def _sweep(self, now_s: float) -> int:
        due = [one for one, reservation in self._open.items() if reservation.deadline_s <= now_s]
        for reservation_id in due:
            reservation = self._open.pop(reservation_id)
            self._end(reservation, reservation.amounts)
            self._ended[reservation_id] = (inf, reservation)
            charged = tuple(
                (budget, group, start, measure, amount)
                for (budget, group, measure, start), amount in zip(reservation.keys, reservation.amounts, strict=True)
            )
            self._unwritten[reservation_id] = Expired(
                reservation_id, reservation.granted.nanousd, charged, reservation.record
            )
        self._earliest_s = min((reservation.deadline_s for reservation in self._open.values()), default=inf)
        return len(due)

    async def expired(self) -> Sequence[Expired]:
        return list(self._unwritten.values())

    async def written(self, reservation_ids: Sequence[str]) -> None:
        for reservation_id in reservation_ids:
            self._unwritten.pop(reservation_id, None)

    # Waiting, and what is told

    async def wait_for_room(self, reservation_id: str, claims: Sequence[Claim], timeout_s: float) -> bool:
        return await self._waiting.wait(reservation_id, claims, timeout_s)

    def limits_changed(self) -> None:
        """A budget was raised: whoever waits may look again."""
        self._waiting.wake_all()

    def standings(self) -> list[Standing]:
        return [
            Standing(name, group, start, c.window_end, measure, c.limit, c.spent, c.reserved)
            for (name, group, measure, start), c in self._counters.items()
        ]

    def fullest(self, most: int, now_s: float) -> tuple[list[Standing], dict[str, int]]:
        """Of each budget the `most` counters of the current window with most spent, and how many it has.

        For reports: made in one pass and without a value for each counter, because calls wait meanwhile.
        """
        heaps: dict[str, list[tuple[int, CounterKey]]] = {}
        counts: dict[str, int] = {}
        for key, counter in self._counters.items():
            if counter.window_end is not None and counter.window_end <= now_s:
                continue
            name = key[0]
            heap = heaps.get(name)
            if heap is None:
                heap, counts[name] = heaps.setdefault(name, []), 0
            counts[name] += 1
            if len(heap) < most:
                heappush(heap, (counter.spent, key))
            elif counter.spent > heap[0][0]:
                heapreplace(heap, (counter.spent, key))
        keys = [key for heap in heaps.values() for _, key in heap]
        return [self._standing(key) for key in keys], counts

    def _standing(self, key: CounterKey) -> Standing:
        counter, (name, group, measure, start) = self._counters[key], key
        return Standing(name, group, start, counter.window_end, measure, counter.limit, counter.spent, counter.reserved)

    def remaining(self, claim: Claim) -> int:
        """What is left to reserve on the counter that `claim` counts in."""
        counter = self._counters.get(counter_key(claim))
        return max(0, claim.limit - counter.spent - counter.reserved) if counter else claim.limit

    async def standings_of(self, claims: Sequence[Claim]) -> list[Standing]:
        found = [(claim, self._counters.get(counter_key(claim))) for claim in claims]
        return [standing_of(claim, c.spent, c.reserved) if c else standing_of(claim) for claim, c in found]

    def forget_ended_windows(self, now_s: float) -> None:
        """Drop counters whose window is over and on which nothing is reserved any more."""
        over = [
            key
            for key, counter in self._counters.items()
            if counter.window_end is not None and counter.window_end <= now_s and not counter.reserved
        ]
        for key in over:
            del self._counters[key]
