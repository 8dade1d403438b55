"""Ledger entries: a list, and one with its cost lines and the prices that they came from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from proxy.control.api.errors import NOT_FOUND
from proxy.control.api.questions import Control, Filtered, Limit, Page, Span
from proxy.reports import call_lists, calls
from proxy.reports.shapes import EntryShown, RequestShown, entry_shown, request_shown

router = APIRouter()


class ListQuestion(Span, Filtered):
    """Entries with exactly these values, the latest first. `filter.NAME=VALUE`, of the same names, label.NAME and claimed.NAME:
    the same; "" is none. Where it is not known in which hours such calls are (of the last three, by claimed.NAME or priced=yes)
    an answer may have fewer items than `limit`, or none, and a `next`: it has looked through 100,000 entries, and goes on
    there."""

    limit: Limit = 50
    next: str | None = None
    key: str | None = None
    team: str | None = None
    user: str | None = None
    customer: str | None = None
    model: str | None = None
    provider: str | None = None
    upstream: str | None = None
    session: str | None = None
    agent: str | None = None
    status: str | None = None
    outcome: str | None = None
    request_id: str | None = None
    operation: str | None = None
    client: str | None = None


@router.get("/requests")
def requests(question: Annotated[ListQuestion, Query()], state: Control) -> Page[EntryShown]:
    """The latest entries."""
    since, until = question.moments()
    filters: dict[str, str | None] = question.model_dump(exclude_none=True, include=set(calls.FILTERS))
    filters |= {name: value or None for name, value in question.only().items()}
    calls.check_filters(filters)
    listed = call_lists.call_page(
        state.engine, limit=question.limit, before=question.next, filters=filters, since=since, until=until
    )
    return Page(items=[entry_shown(row) for row in listed.rows], next=listed.next)


@router.get("/requests/{entry_id}", responses=NOT_FOUND)
def request(entry_id: str, state: Control) -> RequestShown:
    """One entry by its id, or all attempts (and corrections) of a request by its request id."""
    rows = calls.request(state.engine, entry_id)
    if not rows:
        raise HTTPException(404, "There is no entry and no request with this id.")
    return request_shown(rows)
