"""The jobs that this process knows: those that it began, and those that it was told of by the ledger. Bounded; no I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, Generic, Protocol, TypeVar

from pricing.values import slotted
from proxy.bounded_table import BoundedTable
from proxy.jobs import job as jobs
from proxy.jobs.job import Job

_MOST = 20_000
_MOST_UPLOADS, _MOST_WAITING_BYTES = 1000, 64 * 1024 * 1024
_TAKEN, _SPOILT = -1, -2  # in place of where the next part begins

# Digests in, the fields of jobs out; None where nobody answers.
Recall = Callable[[Sequence[str]], Awaitable[Sequence[Mapping[str, Any]] | None]]


class Waiting(Protocol):
    """What is kept of an upload between two of its parts."""

    @property
    def waiting_bytes(self) -> int: ...


U = TypeVar("U", bound=Waiting)


class Uploads(Generic[U]):
    """What is known of uploads between two of their parts, by a name of theirs. Bounded, in number and in bytes; the oldest
    go. Parts that do not follow one another are not one file: of an upload that had one nothing is known any more."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[U | None, int]] = {}

    def take(self, name: str, start: int, begin: Callable[[], U]) -> U | None:
        """What is known up to the byte `start`, until `keep` gives it back; None where that is not the next one."""
        if name not in self._known:
            known = begin() if start == 0 else None
        else:
            known, end = self._known[name]
            known = known if end == start else None
        self._known[name] = (None, _TAKEN if known is not None else _SPOILT)
        self._bound()
        return known

    def keep(self, name: str, known: U, end: int) -> None:
        table = self._known
        if table.get(name, (None, _TAKEN))[1] == _TAKEN:
            table[name] = (known, end)
        self._bound()

    def forget(self, name: str) -> None:
        """Nothing of the part that was taken has been sent."""
        self._known.pop(name, None)

    def _bound(self) -> None:
        table = self._known
        while len(table) > _MOST_UPLOADS or self._waiting_bytes() > _MOST_WAITING_BYTES:
            del table[next(iter(table))]

    def _waiting_bytes(self) -> int:
        return sum(known.waiting_bytes for known, _ in self._known.values() if known is not None)


@slotted
class KnownJobs:
    """by_digest: the latest of them. asked_at: when one was last asked for here, by its id (epoch seconds). withdrawn: ids
    of those that their owners deleted or cancelled here, and whose end was not seen by then; the ledger is told of them.
    ending: whose ends are being settled in this moment.
    uploads: files on their way in parts. recall: asks the ledger. tasks: work that goes on behind an answer."""

    recall: Recall | None = None
    by_digest: BoundedTable[str, Job] = field(default_factory=lambda: BoundedTable(_MOST))
    asked_at: BoundedTable[str, float] = field(default_factory=lambda: BoundedTable(_MOST))
    withdrawn: BoundedTable[str, bool] = field(default_factory=lambda: BoundedTable(_MOST))
    ending: set[str] = field(default_factory=set)
    uploads: Uploads[Any] = field(default_factory=Uploads)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def note(self, job: Job) -> Job:
        """Keep a job as it is now; what is known of it already may be newer, and is returned then."""
        known = self.by_digest.get(job.digest)
        if known is not None and known.id != job.id:
            if known.created_at > job.created_at:
                return job  # what goes on with it is what its id stands for now
        elif known is not None and (known.revision, known.ended) > (job.revision, job.ended):
            return known
        self.by_digest[job.digest] = job
        if job.ended:
            self.withdrawn.pop(job.id)
        return job

    def note_row(self, row: Mapping[str, Any]) -> Job:
        """Keep a job as the ledger has it."""
        return self.note(jobs.of(row))
