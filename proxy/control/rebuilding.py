"""The control process's part in a shared budget store: it rebuilds counters, and charges what no data plane can any more.

Rebuilding, whenever a new epoch begins: every data plane writes a marker into its spool, and its open reservations into the
new epoch. The recorder ships what stands before the marker and holds there; then this instance has reported, and ships nothing
more before the epoch opens. When all that live have, the counters are what the ledger says, and it does. So every settlement
counts once: before the marker in the sums, behind it by the data plane that made it, and without any marker in the sums
or by who ships it. Whoever ships before that says so in the epoch, which is not opened with sums that were begun earlier.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.budgets.budget import Budget, window_at
from proxy.budgets.redis.scripts import bucket, facts, nearly_full, problems
from proxy.budgets.redis.store import LeasedEnd, RedisStore
from proxy.budgets.store import Standing, StoreUnavailable
from proxy.config.model import Config
from proxy.control.dropping import MOST_GROUPS, drop_groups, recall_from
from proxy.control.heartbeat import Heartbeat
from proxy.control.seeding import add_up, began_in, began_mark, drop_other_epochs, exchange_bases, seeding_of
from proxy.jobs.job import of as job_of
from proxy.ledger.beside.jobs import running_jobs
from proxy.ledger.entries.entry import Shipped
from proxy.ledger.entries.row_checks import BudgetAmount
from proxy.ledger.planes.counters import ended_amounts, spent, sums
from proxy.ledger.planes.definitions import definitions
from proxy.ledger.recording.batch import CallEnd, Leased, call_ends
from proxy.ledger.recording.recorder import Recorder
from proxy.rate_limited_log import RateLimitedLog
from proxy.types import Claim

log = logging.getLogger("taximeter.store")

_EVERY_S = 0.1
_AT_REST_S = 1.0
_FORGET_S = 10.0
_GRACE_S = 20  # an instance that was silent for so much longer than a reservation lasts has none left
_MOST_STANDING = 10_000
_HAND_OVER_S = 10.0
_READ_SHARE = 10  # of the time, no more than one part in so many goes into reading all counters


class _Seen(NamedTuple):
    """What the store said of its epoch, and when it was asked."""

    asked_at: float
    epoch: str
    state: str


class _Ending(NamedTuple):
    """A run that is over: what it settled out of leases; whether what it had in flight is counted."""

    leased: Sequence[Leased]
    counted: bool = False


class SharedBudgets:
    """One for each control process. `run` until it is cancelled; the recorder calls the gate from its thread."""

    def __init__(
        self, config: Callable[[], Config], budgets: Callable[[], Sequence[Budget]], engine: Engine, instance: str
    ) -> None:
        self._config = config
        self._budgets = budgets
        self._engine = engine
        self._instance = instance
        self._loop = asyncio.get_running_loop()
        self.store = RedisStore(config().store, on_epoch=lambda _: self._look_now.set(), deadline_s=1.0)
        self._look_now = self.store.member.news()
        self.store.member.recall = recall_from(engine)
        self.recorder: Recorder | None = None
        self._seen: _Seen | None = None
        self._markers: dict[str, float] = {}  # epochs whose marker stands in a spool: when it was read
        self._passed: set[str] = set()
        self.heartbeat = Heartbeat(engine, instance)
        self._shipping_in = ""  # the epoch in which this instance has said that it ships
        self._still_in = ""  # the epoch in which it ships nothing before that is open
        self._seldom = RateLimitedLog(log, logging.WARNING)
        self._outdated = ""  # the epoch whose counters were made of a ledger that is gone
        self._leases: dict[str, _Ending] = {}  # of runs that are over
        self._reported: set[str] = set()
        self._reading = asyncio.Lock()
        self._standings: list[dict[str, Any]] = []
        self._read_again_at = 0.0

    def start(self) -> asyncio.Task[None]:
        running = asyncio.create_task(self.run())
        running.add_done_callback(_never_alone)
        return running

    async def run(self) -> None:
        await asyncio.gather(self.store.member.run(), self._watch(), self.heartbeat.run(), self._forget())

    # The gate between the spool and the ledger; called by the recorder's thread

    def may_ship(self) -> bool:
        """Whether the recorder may ship: not before the running epoch is known, in which what a crash left must be counted, nor
        while its counters are made of what the ledger has by now."""
        seen = self._seen
        is_known = self.heartbeat.has_begun and bool(self.store.epoch) and not self._outdated
        return is_known and seen is not None and (seen.state == "open" or seen.epoch != self._still_in)

    def may_pass(self, epoch: str) -> bool:
        """What stands behind this epoch's marker is shipped when the epoch is open, or over."""
        if epoch in self._passed:
            return True
        if epoch not in self._markers:
            self._loop.call_soon_threadsafe(self._look_now.set)
        read_at = self._markers.setdefault(epoch, time.monotonic())
        seen = self._seen
        if seen is None or seen.asked_at <= read_at or (seen.epoch == epoch and seen.state != "open"):
            return False
        self._passed.add(epoch)
        return True

    def count(self, entries: Shipped) -> None:
        """Count what is about to be in the ledger and was delivered to no budget, or to those of an epoch that is over."""
        seen = self._seen
        if seen is None or seen.state != "open":
            return  # the counters will be made of the ledger
        said = zip(entries.budgets, entries.ends, strict=True)
        owed = [entries[at] for at, (budgets, end) in enumerate(said) if budgets and end.get("epoch") != seen.epoch]
        if owed and self.recorder is not None:
            there = self.recorder.outage.insist(lambda: ended_amounts(self._engine, [entry.row.id for entry in owed]))
            # What the ledger has already, as it is, was counted then.
            owed = [e for e in owed if there.get(e.row.id) != [item[4] for item in e.budgets]]
            self._hand_over(self._charge(call_ends(owed), seen.epoch))

    def over(self, run: str, lately: Sequence[CallEnd], leased: Sequence[Leased]) -> None:
        """A data plane is gone. What it wrote last it may not have told the budgets."""
        self._leases[run] = _Ending(leased)
        self._hand_over(self._end_leases())
        epoch = self.store.epoch
        self._hand_over(self._end([end for end in lately if end.epoch == epoch], epoch))
        self._hand_over(self._end_what_is_in_the_ledger())

    def gone(self, run: str) -> None:
        """What it had in flight is charged: its lease is needed no more."""
        if run in self._leases:
            self._leases[run] = self._leases[run]._replace(counted=True)
            self._hand_over(self._end_leases())

    async def _end_leases(self) -> None:
        """Of runs that are over: charge what they did not report, then give back what they leased. Tried again until it is
        done; where nobody does it, Redis charges the whole lease when its deadline comes."""
        windows = {budget.name: budget for budget in self._budgets()}
        for run, ending in list(self._leases.items()):
            ends = [
                LeasedEnd(
                    end.id, end.epoch, end.report, [_claim(amount, windows.get(amount[0])) for amount in end.budgets]
                )
                for end in ending.leased
            ]
            with contextlib.suppress(StoreUnavailable):
                await self.store.end_lease(run, ends, counted=ending.counted)
                if ending.counted:
                    self._leases.pop(run, None)

    def ended(self, ends: Sequence[CallEnd]) -> None:
        """This is how they ended, if it is not known yet."""
        self._hand_over(self._end(ends, self.store.epoch))

    def moved(self) -> None:
        """The ledger got older. Nothing more is shipped before the counters' epoch, made of its sums, is over."""
        self._outdated = self.store.epoch
        self._seen = None
        self._loop.call_soon_threadsafe(self._look_now.set)

    def _hand_over(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_HAND_OVER_S)

    async def _end_what_is_in_the_ledger(self) -> None:
        """Reservations that stand though the ledger has their ends: where this process died with a data plane, nobody reads of
        those any more. One that ends just now may be told twice, which changes nothing."""
        member = self.store.member
        with contextlib.suppress(StoreUnavailable, SQLAlchemyError):  # their deadline is left
            standing = await member.command("ZRANGE", member.name("deadlines"), 0, _MOST_STANDING - 1)
            for name, amounts in (await asyncio.to_thread(ended_amounts, self._engine, standing)).items():
                await self.store.settle(name, amounts)

    async def _charge(self, ends: Sequence[CallEnd], epoch: str) -> None:
        """Should another epoch begin meanwhile, its sums have the rest: this instance has not reported there yet."""
        windows = {budget.name: budget for budget in self._budgets()}
        for end in ends:
            claims = [_claim(amount, windows.get(amount[0])) for amount in end.budgets]
            await self.store.charge_in(epoch, end.id, claims, [claim.amount for claim in claims])

    async def _end(self, ends: Sequence[CallEnd], epoch: str) -> None:
        for end in ends:
            if "budget_unverified" in (end.flags or ""):
                await self._charge([end], epoch)
            elif end.status == "void":
                await self.store.release(end.id)
            else:
                await self.store.settle(end.id, [amount for *_, amount in end.budgets])

    # Epochs

    async def _watch(self) -> None:
        while True:
            self._look_now.clear()
            at_rest = False
            try:
                await self._look()
                await self._end_leases()
                at_rest = self._seen is not None and self._seen.state == "open" and not self._leases
            except (StoreUnavailable, SQLAlchemyError) as error:
                log.debug("epoch: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AT_REST_S if at_rest else _EVERY_S):
                    await self._look_now.wait()

    async def _look(self) -> None:
        member, asked_at = self.store.member, time.monotonic()
        self._warn()
        if self._outdated:
            await member.renew(self._outdated)
            log.warning("budgets are rebuilt: the ledger is an older copy, and is given again what it lacks")
            self._outdated = ""
        epoch, state, store_now_s = await member.state()
        if state != "open" and epoch != self._shipping_in:
            await self._ship_in(epoch)
            self._look_now.set()  # it may have been opened without us
            return
        self._seen = _Seen(asked_at, epoch, state)
        if state == "open" or epoch != member.epoch or self.recorder is None:
            return
        reported = set(await member.command("SMEMBERS", member.name("reported", epoch)))
        if self._instance not in reported:
            if not await self._stands_still(self.recorder, epoch):
                return
            await member.note("reported", self._instance, epoch)
            reported.add(self._instance)
        shipping = await member.command("SMEMBERS", member.name("shipping", epoch))
        silent_s = self._config().server.max_call_s + _GRACE_S
        missing = await asyncio.to_thread(self.heartbeat.living, silent_s, reported)
        if missing:
            if epoch not in self._reported:
                log.warning("budgets are rebuilt once these instances have reported: %s", ", ".join(sorted(missing)))
                self._reported.add(epoch)
            return
        if not await asyncio.to_thread(self.heartbeat.are_gone, silent_s, reported):
            self._look_now.set()
            return
        await self._restore_jobs()  # before it is decided which groups are kept
        await self._seed(epoch, self._budgets(), store_now_s, "recovering")
        opened_at = time.monotonic()
        if not await member.open(epoch, [*shipping, self._instance]):
            await member.renew(epoch)  # somebody came meanwhile, and ships what may be in these sums or not
            return
        self._seen = _Seen(opened_at, epoch, "open")
        log.warning("budgets are rebuilt from the ledger, in epoch %s", epoch)
        await drop_other_epochs(member, epoch)

    async def _ship_in(self, epoch: str) -> None:
        """Say that this instance may ship before the epoch is open. Where an earlier life of it has reported, it does not."""
        member = self.store.member
        await member.command("SADD", member.name("shipping", epoch), self._instance)
        if await member.command("SISMEMBER", member.name("reported", epoch), self._instance):
            self._still_in = epoch
        self._shipping_in = epoch

    async def _stands_still(self, recorder: Recorder, epoch: str) -> bool:
        """Whether everything that stands before the epoch's markers is shipped, and nothing more is."""
        if self._still_in != epoch:
            runs = recorder.held_at(epoch)
            joined = set(await self.store.member.command("SMEMBERS", self.store.member.name("joined", epoch)))
            if runs is None or not joined.issuperset(runs):
                return False
            self._still_in = epoch
        return recorder.is_at_rest  # else it may have asked before, and is shipping still

    def _warn(self) -> None:
        """Once, what the operator should know of the server."""
        for doubt in problems(self.store.member.facts)[1] if self.store.member.facts else ():
            if doubt not in self._reported:
                log.warning("%s", doubt)
                self._reported.add(doubt)

    async def seed(self) -> None:
        """At the start and after a reload: budgets that are new, or count something else from now on, have what the ledger
        says, and what was counted here that it does not know yet. A store that is away, not reached yet, or being rebuilt, is
        waited for; it says so itself."""
        while True:
            try:
                epoch, state, now_s = await self.store.member.state()
                if state != "open":  # what is being added up stays
                    raise StoreUnavailable("the budget store is being rebuilt")
                await self._seed(epoch, self._budgets(), now_s, state)
            except (StoreUnavailable, SQLAlchemyError) as error:
                log.debug("redefined budgets are not counted anew yet: %s", error)
                await asyncio.sleep(_EVERY_S)
            else:
                return

    async def _seed(self, epoch: str, budgets: Sequence[Budget], now_s: float, state: str) -> None:
        """Each part is put in once and noted, and that all are last: whoever is stopped between two is followed by another."""
        member = self.store.member
        marks = set(await member.command("SMEMBERS", member.name("seeded", epoch)))
        if state != "open":
            marks.add(mark := began_mark(now_s))
            await member.seed(epoch, state, mark)
        began = began_in(marks)
        # Before the sums, which are of these or of later ones.
        defined = await asyncio.to_thread(definitions, self._engine)
        for budget in budgets:
            taken_at = defined[budget.name].since if budget.name in defined else 0
            seeding = seeding_of(budget, taken_at, now_s, marks, began)
            if seeding.is_done or (state == "open" and seeding.is_counted):
                continue
            start, _ = budget.window_now(now_s)
            groups = await asyncio.to_thread(sums, self._engine, budget.name, budget.measure, start)
            # Of very many, those that are not in use are loaded when they come back.
            if seeding.end is None and budget.per and len(groups) > MOST_GROUPS:
                here = set((await member.call("keep", epoch, seeding.counters))[1:])
                groups = {group: amounts for group, amounts in groups.items() if group in here}
            if state != "open":
                seeding = await add_up(member, epoch, state, seeding, groups)
            if seeding.is_unclear:
                await member.renew(epoch)
                raise StoreUnavailable("the budget store is rebuilt: an earlier version had another definition")
            await exchange_bases(self.store, epoch, state, seeding, groups)

    async def _restore_jobs(self) -> None:
        """The reservations of jobs that run stand in every epoch; nobody else may hold them any more."""
        budgets = {budget.name: budget for budget in self._budgets()}
        for job in map(job_of, await asyncio.to_thread(running_jobs, self._engine)):
            claims = [_claim(tuple(item), budgets.get(item[0])) for item in job.intent["budgets"]]
            record = orjson.dumps(job.intent, default=str)
            await self.store.restore(job.id, claims, [one.amount for one in claims], job.deadline_at / 1e6, record)

    # Chores

    async def leave(self) -> None:
        """Nobody need wait for this instance, if everything that it knew is in the ledger."""
        await self.store.member.close()
        if self.recorder is not None and not self.recorder.has_runs():
            await self.heartbeat.leave()

    async def _forget(self) -> None:
        while True:
            await asyncio.sleep(_FORGET_S)
            try:
                await self.store.forget()
                await drop_groups(self.store, self._engine, MOST_GROUPS)
                if warning := nearly_full(facts(await self.store.member.command("INFO", "memory"))):
                    self._seldom.note(warning)
                self._seldom.tell()
            except (StoreUnavailable, SQLAlchemyError) as error:
                log.debug("what Redis need not keep could not be dropped: %s", error)

    async def standings(self) -> list[dict[str, Any]]:
        """Every counter of the current windows; read less often where that takes long. Raises `StoreUnavailable`."""
        async with self._reading:
            began = time.monotonic()
            if began >= self._read_again_at:
                self._standings = await self._read_standings()
                self._read_again_at = began + (time.monotonic() - began) * _READ_SHARE
            return self._standings

    async def _read_standings(self) -> list[dict[str, Any]]:
        _, _, now_s = await self.store.member.state()
        standings = []
        gone = set(await self.store.member.command("HKEYS", self.store.member.name("gone")))
        for budget in self._budgets():
            start, end = budget.window_now(now_s)
            name = bucket(budget.name, budget.measure, start)
            used, reserved = await self.store.counters(name)
            if name in gone:  # of those that are not there the ledger has all
                used = await asyncio.to_thread(spent, self._engine, budget.name, budget.measure, start) | used
            for group in used | reserved:
                limit, amounts = budget.limit_for(group, now_s), (used.get(group, 0), reserved.get(group, 0))
                standings.append(Standing(budget.name, group, start, end, budget.measure, limit, *amounts)._asdict())
        return standings


def _claim(taken: BudgetAmount, budget: Budget | None) -> Claim:
    name, group, start, measure, amount = taken
    end = window_at(budget.window, start, budget.zone)[1] if budget is not None else None
    return Claim(name, group, start, end, 0, amount, measure)


def _never_alone(task: asyncio.Task[None]) -> None:
    """Without its part in the shared budgets the process must not go on: it ends, and is started again."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the shared budgets failed; the control process ends and is started again", exc_info=error)
        os._exit(1)
