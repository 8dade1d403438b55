"""Jobs that nobody asks for: this process asks their providers, a fair share of them, and holds what they have reserved.

Which are due only the ledger knows; it hands each to one process at a time. So a job whose client never comes back is settled
all the same, and so is one whose data plane died.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from proxy.exchange.jobs.asking import ask
from proxy.exchange.jobs.end import claims_of
from proxy.exchange.plane import Plane
from proxy.jobs import job as jobs
from proxy.jobs.job import Job
from proxy.jobs.machine import RUNNING
from proxy.times import now_s

log = logging.getLogger("taximeter.jobs")

_AT_ONCE = 16
_MOST = 64
_TICKS = 4  # so often in the time between two questions about one job
_TICK_S = (0.05, 5.0)
_PATIENCE_S = 2.0  # with providers, before the next jobs are asked for beside

# In: how many at most, which that had ended were answered for since, and which their owners have withdrawn. Jobs that are
# due out, or None where the ledger does not say.
Due = Callable[[Mapping[str, Any]], Awaitable[Sequence[Mapping[str, Any]] | None]]


class Poller:
    """`run` until it is cancelled."""

    def __init__(self, plane: Plane, due: Due) -> None:
        self._plane = plane
        self._due = due
        # By upstream, so that one that does not answer holds up its own jobs alone.
        self._asking: dict[str, dict[str, asyncio.Task[None]]] = defaultdict(dict)
        self._at_once: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_AT_ONCE))
        self._answered: list[str] = []

    async def run(self) -> None:
        try:
            while True:
                rows = await self._rows() if self._plane.ready else None
                begun = [task for row in rows or () if (task := self._begin(row)) is not None]
                if begun:
                    await asyncio.wait(begun, timeout=_PATIENCE_S)
                if not rows or len(rows) < _MOST:
                    least, most = _TICK_S
                    await asyncio.sleep(min(max(self._plane.configured.config.jobs.poll_s / _TICKS, least), most))
        finally:
            left = [task for asking in self._asking.values() for task in asking.values()]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)  # none writes a record behind the spool's end

    async def _rows(self) -> Sequence[Mapping[str, Any]] | None:
        answered = list(self._answered)
        rows = await self._due(
            {"most": _MOST, "answered": answered, "withdrawn": self._plane.jobs.withdrawn.first(_MOST)}
        )
        if rows is not None:
            del self._answered[: len(answered)]
        return rows

    def _begin(self, row: Mapping[str, Any]) -> asyncio.Task[None] | None:
        """None where its provider is being asked for it, was just now, or has enough to answer: it is due again."""
        job = self._plane.jobs.note_row(row)
        asking = self._asking[job.upstream]
        if job.id in asking or len(asking) >= _MOST or self._asked_lately(job):
            return None
        task = asking[job.id] = asyncio.create_task(self._ask(job, ended=row["ended"]))
        task.add_done_callback(partial(self._has_asked, job))
        return task

    async def _ask(self, job: Job, *, ended: bool) -> None:
        async with self._at_once[job.upstream]:
            if await ask(self._plane, job) and ended:
                self._answered.append(job.id)

    def _has_asked(self, job: Job, task: asyncio.Task[None]) -> None:
        del self._asking[job.upstream][job.id]
        fault = None if task.cancelled() else task.exception()
        if fault is not None:  # one job's trouble is not the others'; it is asked for again
            log.error("the provider of a job could not be asked for it; it is asked again", exc_info=fault)

    def _asked_lately(self, job: Job) -> bool:
        asked_at = self._plane.jobs.asked_at.get(job.id)
        return asked_at is not None and now_s() - asked_at < self._plane.configured.config.jobs.poll_s / 2


async def restore_reservations(plane: Plane, rows: Sequence[Mapping[str, Any]]) -> None:
    """Hold what jobs of an earlier life have reserved: those that run."""
    for job in map(jobs.of, rows):
        if job.state == RUNNING:
            claims = claims_of(plane, job)
            amounts = [claim.amount for claim in claims]
            record = orjson.dumps(job.intent, default=str)
            await plane.store.restore(job.id, claims, amounts, job.deadline_at / 1e6, record)
