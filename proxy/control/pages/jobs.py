"""`/jobs`: calls that are billed when they end (videos, batches, predictions), running, settled, or never heard of again."""

from __future__ import annotations

from datetime import datetime
from typing import Any, get_args

from proxy.control.pages import view
from proxy.control.pages.address import Address
from proxy.control.pages.api_address import api_address
from proxy.control.pages.page import Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Row, Table, nano
from proxy.reports.jobs import State, list_jobs
from proxy.times import BadQuestion

_SHOWN = 50


def show(request: PageRequest) -> PageContent:
    """The latest first; `?state=`, `?filter.NAME=`. Raises `BadQuestion`."""
    address = request.address
    chosen = address.get("state")
    state: State | None = next((name for name in get_args(State) if name == chosen), None)
    if chosen and state is None:
        raise BadQuestion(f"state: {chosen[:40]!r} is not one of {', '.join(get_args(State))}")
    rows = list_jobs(
        request.state.engine,
        now_us=request.now_us,
        limit=_SHOWN + 1,
        before=address.get("next") or None,
        state=state,
        only=address.only,
    )
    more = str(address.having(next=rows[_SHOWN - 1]["id"])) if len(rows) > _SHOWN else ""
    columns = [
        Column("created", "Created", "moment"),
        Column("operation", "What", "text"),
        Column("state", "", "mark"),
        Column("model", "Model", "name"),
        Column("key", "Key", "name"),
        Column("team", "Team", "name"),
        Column("reserved", "Reserved", "usd"),
        Column("cost", "Cost", "usd"),
        Column("ended", "Ended", "moment"),
        Column("deadline", "Deadline", "moment"),
    ]
    table = Table(
        "jobs",
        "Jobs",
        columns,
        [_row(row, address) for row in rows[:_SHOWN]],
        more=more,
        empty="No such job: videos, batches and what else runs on at a provider stand here.",
    )
    states = [("all", str(address.without("state", "next")), not chosen)]
    states += [(name, str(address.without("next").having(state=name)), name == chosen) for name in get_args(State)]
    title = f"Jobs: {chosen}" if chosen else "Jobs"
    return PageContent("jobs", title, {"states": states}, (table,), api=api_address(request, "/api/jobs", state=chosen))


_MARKS = {"running": "plain", "settled": "good", "unconfirmed": "warn"}


def _row(job: dict[str, Any], address: Address) -> Row:
    call = f"/calls/{view.part(job['id'])}"
    cells = {
        "created": _us(job["created_at"]),
        "operation": job["operation"],
        "state": ("bad", "overdue") if job["overdue"] else (_MARKS[job["state"]], job["state"]),
        "model": job["model"],
        "key": job["key"],
        "team": job["team"],
        "ended": _us(job["ended_at"]),
        "deadline": _us(job["deadline_at"]),
        "reserved": nano(job["reserved_usd"]),
        "cost": nano(job["cost_usd"]),
    }
    links = {name: str(address.filtered(name, job[name])) for name in ("model", "key", "team") if job[name]}
    return Row(cells, links | {"created": call}, to=call)


def _us(text: str | None) -> int | None:
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1e6)


PAGE = Page("/jobs", "Jobs", show, ranged=False, shortcut="w")
