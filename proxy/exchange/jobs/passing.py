"""Ends of jobs that pass by on paths which are not jobs' own: a background response is asked for as any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxy.exchange.attempt import Attempt
from proxy.exchange.jobs.asking import find_jobs, job_digest, seen
from proxy.jobs.api import Answer
from proxy.jobs.apis.openai_background import API
from proxy.upstream.response import Response


async def seen_in_passing(attempt: Attempt, response: Response, values: Sequence[Any]) -> None:
    """A stored response was asked for: if it is a job that this process or the ledger knows, and has ended, it is settled."""
    plane, identity = attempt.exchange.plane, attempt.exchange.identity
    value = next((one for one in values if isinstance(one, dict)), None)
    if value is None or response.status >= 300 or value.get("background") is False:
        return
    key = job_digest(identity, API, attempt.call.held[0])
    job = (await find_jobs(plane, [key], patient=False)).get(key)
    if job is not None:
        await seen(plane, job, Answer(response.status, value))
