"""The shared store with leases: a data plane takes slices of busy counters ahead of need, so most calls ask nobody.

A call is granted here, with no round trip, where every counter that it counts in has a slice with room for it; else Redis
decides, as for everybody. What was used is reported a few times a second. Where a budget runs out, slices get smaller, and at
last there are none: Redis decides exactly. `leases.py` keeps the accounts, `lua/lease.lua` the other half of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pricing.values import frozen
from proxy.budgets.redis.leases import Leases, Report
from proxy.budgets.redis.member import Held, Value
from proxy.budgets.redis.scripts import bucket_of, end_of
from proxy.budgets.redis.store import RedisStore
from proxy.budgets.store import MOST, Denied, Ending, Granted, Keep, Lease, Moved, StoreUnavailable, counter_key
from proxy.types import Claim

log = logging.getLogger("taximeter.store")

_REPORT_EVERY_S = 0.25
_HURRIED_EVERY_S = 0.02
_GRACE_S = 10.0


@frozen
class LeaseTerms:
    """run: of the spool, which says after a crash what was not reported. share: of each budget's limit, the most that all
    leases together may have free. longest_s: how long calls may last; a lease that is not heard of for as long is charged."""

    run: str
    share: float
    longest_s: float


class LeasedStore(RedisStore):
    """As `RedisStore`, whose verbs it uses for what no lease can answer.

    before_report: called before Redis is told of ends, so that the disk has them.
    """

    def __init__(
        self, url: str, terms: LeaseTerms, *, before_report: Callable[[], object] = lambda: None, **arguments: Any
    ) -> None:
        super().__init__(url, **arguments)
        self._before_report = before_report
        self._terms = terms
        self.leases = Leases(terms.longest_s)
        self._hurry = asyncio.Event()
        self._telling = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self.leased_calls = 0
        self.member.before_epoch = self._lose_leases

    # Verbs

    async def reserve(
        self,
        reservation_id: str,
        claims: Sequence[Claim],
        now_s: float,
        deadline_s: float,
        record: bytes = b"",
        keep: Keep | None = None,
    ) -> Granted | Denied | Moved:
        if self.member.ready.is_set():
            granted = self.leases.grant(reservation_id, claims, now_s, deadline_s, record)
            if self.leases.hurried:
                self._hurry.set()
            if granted is not None:
                self.leased_calls += 1
                return granted
        verdict = await super().reserve(reservation_id, claims, now_s, deadline_s, record, keep)
        if isinstance(verdict, Denied) and verdict.busy and await self._make_room(claims):
            return await super().reserve(reservation_id, claims, now_s, deadline_s, record, keep)
        return verdict

    def ends_here(self, reservation_id: str) -> bool:
        return reservation_id in self.leases

    async def settle(self, reservation_id: str, amounts: Sequence[int]) -> Ending | None:
        if self.leases.end(reservation_id, amounts):
            return "settled"
        return await super().settle(reservation_id, amounts)

    async def release(self, reservation_id: str) -> Ending | None:
        if self.leases.end(reservation_id, None):
            return "released"
        return await super().release(reservation_id)

    async def charge(self, reservation_id: str, claims: Sequence[Claim], amounts: Sequence[int]) -> Ending | None:
        if self.leases.end(reservation_id, amounts):
            return "settled"
        return await super().charge(reservation_id, claims, amounts)

    @property
    def answered(self) -> Mapping[str, int]:
        return {"redis": self.asked_calls, "lease": self.leased_calls}

    def lease(self, reservation_id: str) -> Lease:
        return Lease(self.leases.number_of(reservation_id), self.leases.reported)

    async def wait_for_room(self, reservation_id: str, claims: Sequence[Claim], timeout_s: float) -> bool:
        await self._make_room(claims)
        return await super().wait_for_room(reservation_id, claims, timeout_s)

    async def _make_room(self, claims: Sequence[Claim]) -> bool:
        """Give back what is free in these counters; whether there was anything."""
        if not self.leases.hand_back(claims):
            return False
        await self._tell()
        return True

    async def sweep(self, now_s: float) -> int:
        for reservation_id in self.leases.overdue(now_s):
            await self._reserve_for_itself(reservation_id)
        return await super().sweep(now_s)

    async def _reserve_for_itself(self, reservation_id: str) -> None:
        """Take a call out of its leases: it gets a reservation of its own. Redis reads of that before it reads a report without
        the call; where it did not, or nobody knows, the reservation is restored before anything more is reported.

        Raises `StoreUnavailable`; the call is out of its leases all the same."""
        call = self.leases.give_up(reservation_id)
        if call is not None:
            amounts = [claim.amount for claim in call.claims]
            await self.member.restore_anew(
                reservation_id, Held(call.claims, amounts, None, call.deadline_s, call.record)
            )
            self.leases.is_out(reservation_id)

    def outlives(self, reservation_id: str) -> None:
        if reservation_id not in self.leases:
            super().outlives(reservation_id)
            return
        leaving = asyncio.create_task(self._let_go(reservation_id))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _let_go(self, reservation_id: str) -> None:
        """A job's reservation is nobody's lease. Where that cannot be told now, its deadline brings it about."""
        with suppress(StoreUnavailable):
            await self._reserve_for_itself(reservation_id)
            super().outlives(reservation_id)

    async def _session_total(self, name: str) -> int:
        """What it has cost here and, as of a second ago at most, elsewhere."""
        total = self._session_costs.total(name, time.monotonic())
        return await super()._session_total(name) if total is None else total

    # Leases

    def _lose_leases(self) -> None:
        """Another epoch begins, which knows nothing of them: what is in flight is restored there one by one."""
        for reservation_id, call in self.leases.drop().items():
            amounts = [claim.amount for claim in call.claims]
            self.member.held[reservation_id] = Held(call.claims, amounts, None, call.deadline_s, call.record)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(super().run())
            tasks.create_task(self._keep_leases())

    async def _keep_leases(self) -> None:
        loop = asyncio.get_running_loop()
        measured_at = said_at = loop.time()
        while True:
            if not self.leases:  # nobody calls: there is nothing to measure
                await self._hurry.wait()
                measured_at = loop.time()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(measured_at + _REPORT_EVERY_S):
                    await self._hurry.wait()
            self._hurry.clear()
            now = loop.time()
            if now >= measured_at + _REPORT_EVERY_S:
                self.leases.measure()
                measured_at = now
            anyhow = now > said_at + self._terms.longest_s / 3
            if await self._tell(anyhow=anyhow) or anyhow:
                said_at = now
            await asyncio.sleep(_HURRIED_EVERY_S)

    async def _tell(self, *, anyhow: bool = False) -> bool:
        """Report, if there is anything to say; whether it was heard."""
        async with self._telling:
            if not self.member.ready.is_set():
                return False
            self._before_report()
            report = self.leases.report(anyhow=anyhow)
            if report is None:
                return False
            try:
                answer = await self.member.call("lease", self.member.epoch, *self._words(report))
            except StoreUnavailable:
                return False  # nobody knows whether it was heard: it is said again, word for word
            if answer[0] != "leased":
                log.error("the lease of run %s ended in the budget store while the run still works", self._terms.run)
                return False
            figures = [int(figure) for figure in answer[2:]]
            self.leases.note_reply(report, figures[::3])
            for row, spent, reserved in zip(report.rows, figures[1::3], figures[2::3], strict=True):
                self._note(counter_key(row.claim), spent, reserved)
            return True

    def _words(self, report: Report) -> list[Value]:
        terms = self._terms
        words: list[Value] = [terms.run, report.number, repr(terms.longest_s + _GRACE_S), repr(terms.share)]
        for claim, used, flying, kept, wanted in report.rows:
            words += (
                bucket_of(claim), claim.group, claim.window_start, end_of(claim), claim.limit,
                min(used, MOST), flying, kept, min(wanted, MOST),
            )  # fmt: skip
        return words

    async def close(self) -> None:
        """Give everything back, if that can be; else whoever reads the spool does it."""
        self.leases.hand_back([lease.claim for lease in self.leases.all()])
        with suppress(StoreUnavailable):
            await self._tell(anyhow=True)
            await self._tell(anyhow=True)
        await super().close()
