"""What was spent, by whatever is asked for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from proxy.control.api.questions import MAX_LIMIT, Control, Filtered, Limit, Page, Span
from proxy.reports.calendar import page_of, spend_and_other, total_of, zone_named
from proxy.reports.shapes import SpendShown, SpendTotal, spend_shown, total_shown
from proxy.reports.spend import entries_since
from proxy.times import rfc3339

router = APIRouter()


class SpendQuestion(Span, Filtered):
    """`by`: names with commas between, of key, team, user, customer, model, provider, upstream, session, agent, label.NAME,
    claimed.NAME, hour, day, week, month (those of the time zone `tz`). `filter.NAME=VALUE`, of the
    same names: only what has that value; "" is none."""

    by: str = ""
    tz: Annotated[str, Field(max_length=100)] = "UTC"
    limit: Limit = MAX_LIMIT
    next: Annotated[str, Field(max_length=8000)] | None = None


class Spend(Page[SpendShown]):
    """Time goes forward, else the dearest comes first. `total`: of all pages. `entries_since`: where the entries that are
    kept begin; null where all are."""

    total: SpendTotal
    entries_since: str | None
    other: SpendTotal | None = Field(
        default=None,
        description="What no group has, of deleted entries; in the total. Absent where there is none.",
        exclude_if=lambda other: other is None,
    )


@router.get("/spend")
def spend(question: Annotated[SpendQuestion, Query()], state: Control) -> Spend:
    """The sums of each group, from the ledger."""
    by = [name for name in question.by.split(",") if name]
    since, until = question.moments()
    rows, other = spend_and_other(state.engine, by, since, until, only=question.only(), zone=zone_named(question.tz))
    page, following = page_of(rows, question.limit, question.next)
    return Spend(
        items=[spend_shown(row) for row in page],
        next=following,
        total=total_shown(total_of(rows if other is None else [*rows, other])),
        entries_since=rfc3339(entries_since(state.engine)),
        other=None if other is None else total_shown(other),
    )
