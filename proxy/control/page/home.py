"""The page at `/`: a shell without data, its files, and the stream of what it shows.

The shell and the files are open to everyone who reaches the port, because they say nothing; the stream needs the admin
key, asked again before every event.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse

from proxy.control.api.auth import Guard, admin
from proxy.control.api.standings import budgets_as_they_stand
from proxy.control.page import view
from proxy.control.page.live import Live, Look
from proxy.control.state import ControlState
from proxy.money import NANO
from proxy.reports import calls as queries
from proxy.reports import overview
from proxy.times import now_s, now_us

_CALLS_SHOWN = 25
_ROWS_SHOWN = 8
_RATE_MINUTES = 5
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def add_page(app: FastAPI, live: Live) -> None:
    """The routes `/`, `/page/live` and `/page/FILE` for the application that `create_app` made."""
    state: ControlState = app.state.control
    guard: Guard = app.state.guard
    router = APIRouter(include_in_schema=False)
    static = view.FOLDER / "static"
    files = {path.name: path.read_bytes() for path in static.iterdir() if path.suffix in _TYPES}

    @router.get("/")
    def shell() -> HTMLResponse:
        return HTMLResponse(view.render("index", {"locked": state.config().server.admin_key is not None}))

    @router.get("/page/live", dependencies=[Depends(admin)])
    async def stream(request: Request) -> StreamingResponse:
        return StreamingResponse(_events(request, guard, live), media_type="text/event-stream")

    @router.get("/page/{name}")
    async def file(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "There is no such file.")
        return Response(files[name], media_type=_TYPES[name[name.rindex(".") :]])

    app.include_router(router)


async def _events(request: Request, guard: Guard, live: Live) -> AsyncIterator[bytes]:
    async for parts in live.watch():
        try:
            guard.admin(request)
        except HTTPException:  # the key was changed by a reload
            return
        yield b"data: " + orjson.dumps(parts) + b"\n\n"


def looks(state: ControlState) -> list[list[Look]]:
    """What the page shows: a lane of what is soon found out, and one of what takes the longer the more calls a day has."""
    return [
        [
            Look("latest calls", lambda: _latest(state)),
            Look("last hour", lambda: _hour(state, now_us())),
            Look("budgets", lambda: _planes(state)),
        ],
        [
            Look("day", lambda: _day(state, now_us())),
            Look("models", lambda: {"models": _ranking(state, "model", "By model", "no model", now_us())}),
            Look("teams", lambda: {"teams": _ranking(state, "team", "By team", "no team", now_us())}),
            Look("sessions", lambda: {"sessions": _sessions(state, now_us())}),
        ],
    ]


def _latest(state: ControlState) -> dict[str, Any]:
    items = queries.requests(
        state.engine, limit=_CALLS_SHOWN, before=None, filters={}, since=None, until=None
    )  # by primary key, whatever the ledger's length
    decimals = view.decimals_for((item["cost_nanousd"] for item in items), least=4)
    return {"calls": view.render("calls", {"calls": [view.call(item, decimals) for item in items]})}


def _hour(state: ControlState, now_us: int) -> dict[str, Any]:
    minutes = overview.spent_by_time(state.engine, now_us, overview.MINUTE_US, 60)
    costs = [spent.cost_nanousd for spent in minutes.values()]
    calls, cost = sum(spent.calls for spent in minutes.values()), sum(costs)
    rate = sum(costs[-_RATE_MINUTES:]) * 60 // _RATE_MINUTES
    values = {"rate": _big(rate), "cost": _big(cost), "calls": calls, "each": _big(cost // calls) if calls else ""}
    about = f"{_big(cost)} in the last 60 minutes, by minute"
    return {"hour": view.render("hour", values), "minutes": _series(minutes, overview.MINUTE_US, about)}


def _day(state: ControlState, now_us: int) -> dict[str, Any]:
    hours = overview.spent_by_time(state.engine, now_us, overview.HOUR_US, 24)
    today = [spent for at, spent in hours.items() if at >= _midnight(now_us)]
    values = {
        "cost": _big(sum(spent.cost_nanousd for spent in today)),
        "calls": sum(spent.calls for spent in today),
        "unpriced": sum(spent.unpriced for spent in today),
    }
    about = f"{_big(sum(spent.cost_nanousd for spent in hours.values()))} in the last 24 hours, by hour"
    return {"day": view.render("day", values), "hours": _series(hours, overview.HOUR_US, about)}


def _midnight(now_us: int) -> int:
    return now_us - now_us % overview.DAY_US


def _ranking(state: ControlState, by: str, title: str, nobody: str, now_us: int) -> str:
    rows = [(name, *spent) for name, spent in overview.dearest(state.engine, by, _midnight(now_us), _ROWS_SHOWN)]
    return view.render("ranking", view.ranking(title, rows, nobody))


def _sessions(state: ControlState, now_us: int) -> str:
    sessions = overview.dearest_sessions(state.engine, _midnight(now_us), _ROWS_SHOWN)
    decimals = view.decimals_for(session.cost_nanousd for session in sessions)
    rows = [session._asdict() | {"cost": view.usd(session.cost_nanousd, decimals)} for session in sessions]
    return view.render("sessions", {"sessions": rows})


def _planes(state: ControlState) -> dict[str, Any]:
    answers = state.wait(state.link.ask("gauges"))
    values = {
        "calls": sum((answer or {}).get("inflight_requests", 0) for answer in answers.values()),
        "lag_s": state.recorder.lag_s,
        "down": state.recorder.database_down_since is not None,
    }
    rows, counts = state.fullest(view.GROUPS_SHOWN)
    items = budgets_as_they_stand(state.budgets(), rows, now_s())
    return {"flight": view.render("flight", values), "budgets": view.render("budgets", view.budgets(items, counts))}


def _series(spent: Mapping[int, overview.Spent], step_us: int, about: str) -> dict[str, Any]:
    """For the chart: floats will do where nobody adds up."""
    return {
        "step_s": step_us // 1_000_000,
        "at": [at // 1_000_000 for at in spent],
        "usd": [one.cost_nanousd / NANO for one in spent.values()],
        "about": about,
    }


def _big(nanousd: int) -> str:
    return view.usd(nanousd, view.decimals_for([nanousd]))
