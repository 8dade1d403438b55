"""Sessions: the list of trees, and one as a tree of agents and calls."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from proxy.control.api.errors import NOT_FOUND
from proxy.control.api.questions import Control, Filtered, Limit, Page, Span
from proxy.reports import one_session
from proxy.reports import sessions as reports
from proxy.reports.shapes import SessionShown, TreeShown, session_shown, tree_shown

router = APIRouter()


class SessionsQuestion(Span, Filtered):
    """Sessions with a call in the span; `order`: the latest or the dearest first. `filter.NAME=VALUE`: with such a call in it,
    of those whose entries are kept. `team=VALUE`: of that team, of several the last by name; also where entries are deleted."""

    limit: Limit = 50
    next: str | None = None
    order: reports.Order = "latest"
    team: str | None = None


@router.get("/sessions")
def sessions(question: Annotated[SessionsQuestion, Query()], state: Control) -> Page[SessionShown]:
    """Session trees and what each came to."""
    since, until = question.moments()
    rows = reports.sessions(
        state.engine,
        limit=question.limit,
        order=question.order,
        after=question.next,
        since=since,
        until=until,
        team=question.team,
        having=question.only(),
    )
    more = reports.place_of(rows[-1], question.order) if len(rows) == question.limit else None
    return Page(items=[session_shown(row) for row in rows], next=more)


@router.get("/sessions/{session_id:path}", responses=NOT_FOUND)
def session(session_id: str, state: Control) -> TreeShown:
    """A session with all below it."""
    tree = one_session.session(state.engine, session_id)
    if tree is None:
        raise HTTPException(404, "There is no session with this id.")
    return tree_shown(*tree)
