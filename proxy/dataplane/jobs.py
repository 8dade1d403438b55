"""Jobs that nobody asks for: this process asks their providers, a fair share of them, and holds what they have reserved.

Which are due only the ledger knows; it hands each to one process at a time. So a job whose client never comes back is settled
all the same, and so is one whose data plane died.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
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

# In: how many at most, which that had ended were answered for since, and which their owners have withdrawn. Jobs that are
# due out, or None where the ledger does not say.
Due = Callable[[Mapping[str, Any]], Awaitable[Sequence[Mapping[str, Any]] | None]]


class Poller:
    """`run` until it is cancelled."""

    def __init__(self, plane: Plane, due: Due) -> None:
        self._plane = plane
        self._due = due
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._answered: list[str] = []

    async def run(self) -> None:
        while True:
            rows = None
            if self._plane.ready:
                answered = list(self._answered)
                rows = await self._due(
                    {"most": _MOST, "answered": answered, "withdrawn": self._plane.jobs.withdrawn.first(_MOST)}
                )
                if rows is not None:
                    del self._answered[: len(answered)]
            for fault in await asyncio.gather(*[self._poll(row) for row in rows or ()], return_exceptions=True):
                if fault is not None:  # one job's trouble is not the others'; it is asked for again
                    log.error("the provider of a job could not be asked for it; it is asked again", exc_info=fault)
            if not rows or len(rows) < _MOST:
                least, most = _TICK_S
                await asyncio.sleep(min(max(self._plane.configured.config.jobs.poll_s / _TICKS, least), most))

    async def _poll(self, row: Mapping[str, Any]) -> None:
        async with self._at_once:
            job = self._plane.jobs.note_row(row)
            if not self._asked_lately(job) and await ask(self._plane, job) and row["ended"]:
                self._answered.append(job.id)

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
