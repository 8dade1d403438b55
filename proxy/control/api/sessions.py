"""The API's sessions: the list of trees, and one as a tree of agents and calls."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query
from fastapi.params import Depends
from sqlalchemy.engine import Engine

from proxy.control.api.questions import MAX_LIMIT, Span
from proxy.reports import sessions as session_queries
from proxy.reports.shapes import node_shown, session_shown

_Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]


class SessionsQuestion(Span):
    """Sessions with a call in the span; `order`: the latest or the dearest first."""

    limit: _Limit = 50
    next: str | None = None
    order: session_queries.Order = "latest"
    team: str | None = None


def add_sessions(app: FastAPI, engine: Engine, admin: list[Depends]) -> None:
    @app.get("/api/sessions", dependencies=admin)
    def sessions(question: Annotated[SessionsQuestion, Query()]) -> dict[str, Any]:
        since, until = question.moments()
        items = session_queries.sessions(
            engine,
            limit=question.limit,
            order=question.order,
            after=question.next,
            since=since,
            until=until,
            team=question.team,
        )
        more = session_queries.place_of(items[-1], question.order) if len(items) == question.limit else None
        return {"items": [session_shown(item) for item in items], "next": more}

    @app.get("/api/sessions/{session_id:path}", dependencies=admin)
    def session(session_id: str) -> dict[str, Any]:
        found = session_queries.session(engine, session_id)
        if found is None:
            raise HTTPException(404, "There is no session with this id.")
        about, tree = found
        return about | node_shown(tree)
