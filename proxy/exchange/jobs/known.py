"""The jobs that this process knows: those that it began, and those that it was told of by the ledger. Bounded; no I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from proxy.jobs import job as jobs
from proxy.jobs.job import Job
from proxy.latest import Latest

_MOST = 20_000
_MOST_UPLOADS, _MOST_WAITING_BYTES = 1000, 64 * 1024 * 1024

# Digests in, the fields of jobs out; None where nobody answers.
Recall = Callable[[Sequence[str]], Awaitable[Sequence[Mapping[str, Any]] | None]]


class Waiting(Protocol):
    """What is kept of an upload between two of its parts."""

    @property
    def waiting_bytes(self) -> int: ...


U = TypeVar("U", bound=Waiting)


class Uploads(Generic[U]):
    """What is known of uploads between two of their parts, by a name of theirs. Bounded, in number and in bytes; the oldest
    go."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[U, int]] = {}

    def take(self, name: str, start: int) -> U | None:
        """What is known up to the byte `start`; None where nothing is, or up to another. It is gone from here then."""
        known, end = self._known.pop(name, (None, 0))
        return known if end == start else None

    def keep(self, name: str, known: U, end: int) -> None:
        table = self._known
        table[name] = (known, end)
        while len(table) > _MOST_UPLOADS or sum(one.waiting_bytes for one, _ in table.values()) > _MOST_WAITING_BYTES:
            del table[next(iter(table))]


@dataclass(slots=True)
class KnownJobs:
    """by_digest: the latest of them. asked_at: when one was last asked for here, by its id (epoch seconds). withdrawn: ids
    of those that their owners deleted or cancelled here, and whose end was not seen by then; the ledger is told of them.
    ending: whose ends are being settled in this moment.
    uploads: files on their way in parts. recall: asks the ledger. tasks: work that goes on behind an answer."""

    recall: Recall | None = None
    by_digest: Latest[str, Job] = field(default_factory=lambda: Latest(_MOST))
    asked_at: Latest[str, float] = field(default_factory=lambda: Latest(_MOST))
    withdrawn: Latest[str, bool] = field(default_factory=lambda: Latest(_MOST))
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

    def told(self, row: Mapping[str, Any]) -> Job:
        """Keep a job as the ledger has it."""
        return self.note(jobs.of(row))
