"""The shared store at a start that has nothing to ship: whether data planes may count in it before the ledger is open; and,
where nothing was ever spent, the opening of its first epoch. All else is for `rebuilding.py`. Without SQLAlchemy.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from proxy.budgets.redis.store import RedisStore
from proxy.budgets.store import StoreUnavailable
from proxy.config.model import Config
from proxy.control.first_snapshot import Counted
from proxy.control.seeding import began_in, began_mark, drop_other_epochs, seeding_of
from proxy.spool.reader import runs

log = logging.getLogger("taximeter.store")

_ANSWERS_S = 0.5
_JOINED_S = 1.0
_PAUSE_S = 0.02


@contextlib.asynccontextmanager
async def first_epoch(config: Config, counted: Counted) -> AsyncIterator[FirstEpoch]:
    """The shared store, until the ledger is opened."""
    store = RedisStore(config.store, deadline_s=_ANSWERS_S)
    running = asyncio.create_task(store.member.run())
    try:
        yield FirstEpoch(store, counted)
    finally:
        running.cancel()
        await store.member.close()


class FirstEpoch:
    """Made by `first_epoch`. `open` comes after `is_of_this_ledger`, where it is."""

    def __init__(self, store: RedisStore, counted: Counted) -> None:
        self._store = store
        self._counted = counted
        self._news = store.member.news()
        self._epoch, self._now_s = "", 0.0

    async def is_of_this_ledger(self) -> bool:
        """Whether data planes may count in the epoch that runs: its counters are by the definitions of the ledger, or it has
        none, as the ledger."""
        member, (budgets, taken_at) = self._store.member, self._counted
        try:
            async with asyncio.timeout(_ANSWERS_S):
                await member.joined.wait()
                epoch, state, now_s = await member.state()
                marks = set(await member.command("SMEMBERS", member.name("seeded", epoch)))
        except (TimeoutError, StoreUnavailable):
            return False
        self._epoch, self._now_s = epoch, now_s
        if taken_at is None:
            return state == "recovering" and not marks
        began = began_in(marks)
        seedings = [seeding_of(one, taken_at.get(one.name, 0), now_s, marks, began) for one in budgets]
        return state == "open" and all(one.is_done or one.is_counted for one in seedings)

    async def open(self, spool: Path, workers: int) -> None:
        """Where it has nothing, as the ledger: open it once each data plane has joined it, and tells it whatever ends from then
        on. Where that takes long, or fails, it is rebuilt as any other."""
        if self._counted.taken_at is not None:
            return
        member, epoch, now_s = self._store.member, self._epoch, self._now_s
        marks = [began_mark(now_s)]
        for budget in self._counted.budgets:
            marks += seeding_of(budget, 0, now_s, frozenset(), None).all_counted
        with contextlib.suppress(TimeoutError, StoreUnavailable):
            async with asyncio.timeout(_JOINED_S):
                while not await self._have_joined(spool, workers):
                    self._news.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_PAUSE_S):
                            await self._news.wait()
                for mark in marks:
                    await member.seed(epoch, "recovering", mark)
                await member.open(epoch)
                log.warning("budgets begin at 0 in Redis, as in the ledger, which is new: in epoch %s", epoch)
                await drop_other_epochs(member, epoch)

    async def _have_joined(self, spool: Path, workers: int) -> bool:
        member, begun = self._store.member, runs(spool)
        joined = await member.command("SMEMBERS", member.name("joined", self._epoch))
        return len(begun) == workers and set(joined).issuperset(begun)
