"""What was spent, by whatever is asked for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from proxy.control.api.questions import Control, Page, Span
from proxy.reports import spend as reports
from proxy.reports.shapes import SpendShown, spend_shown
from proxy.times import rfc3339

router = APIRouter()


class SpendQuestion(Span):
    """`by`: names with commas between, of key, team, user, customer, model, provider, upstream, session, agent, label.NAME,
    day, hour."""

    by: str = ""


class Spend(Page[SpendShown]):
    """The dearest first. `entries_since`: where the entries that are kept begin; null where all are."""

    entries_since: str | None


@router.get("/spend")
def spend(question: Annotated[SpendQuestion, Query()], state: Control) -> Spend:
    """The sums of each group, from the ledger."""
    by = [name for name in question.by.split(",") if name]
    rows = reports.spend(state.engine, by, *question.moments())
    since = rfc3339(reports.entries_since(state.engine))
    return Spend(items=[spend_shown(row) for row in rows], entries_since=since)
