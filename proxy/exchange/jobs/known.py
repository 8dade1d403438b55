"""The jobs that this process knows: those that it began, and those that it was told of by the ledger. Bounded; no I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.jobs import job as jobs
from proxy.jobs.job import Job
from proxy.latest import Latest

_MOST = 20_000

# Digests in, the fields of jobs out; None where nobody answers.
Recall = Callable[[Sequence[str]], Awaitable[Sequence[Mapping[str, Any]] | None]]


@dataclass(slots=True)
class KnownJobs:
    """by_digest: the latest of them. asked_at: when one was last asked for here, by its id (epoch seconds). withdrawn: ids
    of those that their owners deleted or cancelled here, and whose end was not seen by then; the ledger is told of them.
    ending: whose ends are being settled in this moment. recall: asks the ledger. tasks: work that goes on behind an answer."""

    recall: Recall | None = None
    by_digest: Latest[str, Job] = field(default_factory=lambda: Latest(_MOST))
    asked_at: Latest[str, float] = field(default_factory=lambda: Latest(_MOST))
    withdrawn: Latest[str, bool] = field(default_factory=lambda: Latest(_MOST))
    ending: set[str] = field(default_factory=set)
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
