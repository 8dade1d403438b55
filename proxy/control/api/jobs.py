"""Jobs: calls that are billed when they end, running and ended."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from proxy.control.api.questions import Control, Filtered, Limit, Page
from proxy.reports.jobs import JobShown, State, list_jobs
from proxy.times import now_us

router = APIRouter()


class JobsQuestion(Filtered):
    """Which jobs; the latest first. `filter.NAME=VALUE`, of the attributes of their calls: only what has that value; "" is
    none."""

    limit: Limit = 50
    next: str | None = None
    state: State | None = None
    team: str | None = None


@router.get("/jobs")
def jobs(question: Annotated[JobsQuestion, Query()], state: Control) -> Page[JobShown]:
    """Jobs and what each came to."""
    only = question.only() | ({} if question.team is None else {"team": question.team})
    rows = list_jobs(
        state.engine,
        now_us=now_us(),
        limit=question.limit,
        before=question.next,
        state=question.state,
        only=only,
    )
    more = rows[-1]["id"] if len(rows) == question.limit else None
    return Page(items=[JobShown(**row) for row in rows], next=more)
