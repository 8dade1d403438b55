"""Ends of jobs seen on paths that are not jobs' own: a background response is fetched like any other response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxy.exchange.attempt import Attempt
from proxy.exchange.jobs.asking import ask, find_jobs, job_digest, seen, withdraw
from proxy.exchange.plane import Plane
from proxy.jobs.api import Answer
from proxy.jobs.apis.openai_background import API
from proxy.jobs.job import Job
from proxy.types import Identity
from proxy.upstream.response import Response


async def seen_in_passing(attempt: Attempt, response: Response, values: Sequence[Any]) -> None:
    """A stored response was asked for, cancelled or deleted: if it is a job that this process or the ledger knows, and has
    ended, it is settled."""
    plane, identity = attempt.exchange.plane, attempt.exchange.identity
    value = next((one for one in values if isinstance(one, dict)), None)
    if value is None or response.status >= 300 or value.get("background") is False:
        return
    job = await _job(plane, identity, attempt.call.held[0])
    if job is None:
        return
    if attempt.call.operation == "responses.delete":
        withdraw(plane, job)
    else:
        await seen(plane, job, Answer(response.status, value))


async def asked_first(plane: Plane, identity: Identity, response_id: str) -> None:
    """Before a stored response is deleted: behind that nobody says any more what it came to."""
    job = await _job(plane, identity, response_id)
    if job is not None and not job.ended:
        await ask(plane, job)


async def _job(plane: Plane, identity: Identity, response_id: str) -> Job | None:
    key = job_digest(identity, API, response_id)
    return (await find_jobs(plane, [key], patient=False)).get(key)
