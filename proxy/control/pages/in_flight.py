"""`/in-flight`: the calls and jobs that run now, with what each has reserved: the rows of every reserved amount."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.budgets.budget import Budget, window_at
from proxy.control.pages import attributes, view
from proxy.control.pages.address import Address
from proxy.control.pages.page import Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Rest, Row, Table
from proxy.ledger.beside.jobs import running_jobs
from proxy.times import BadQuestion

_SHOWN = 200
_GROUPS = {name: name for name in attributes.GROUPS} | {"session": "root_session_id"}

_BLANK = dict.fromkeys(("began", "model", "key", "team", "session", "until"), "")

Intent = Mapping[str, Any]


def show(request: PageRequest) -> PageContent:
    """Those of this instance; `?budget=` and `?group=`: what is reserved there now. Raises `BadQuestion`."""
    for name, _ in request.address.filters:
        if name not in _GROUPS:
            raise BadQuestion(f"filter.{name[:60]}: there are {', '.join(_GROUPS)}")
    budget, group = _budget(request), request.address.get("group")
    name = budget.name if budget else ""
    start = window_at(budget.window, request.now_us / 1e6, budget.zone)[0] if budget else 0
    running = [*request.state.recorder.in_flight(), *map(_intent, running_jobs(request.state.engine))]
    running = [intent for intent in running if _fits(intent, request.address)]
    reserved = [(intent, _reserved(intent, name, group, start)) for intent in running]
    reserved = [pair for pair in reserved if not name or pair[1] is not None]
    reserved.sort(key=lambda pair: -(pair[1] or 0))
    columns = [
        Column("what", "What", "text"),
        Column("began", "Began", "moment"),
        Column("model", "Model", "name"),
        Column("key", "Key", "name"),
        Column("team", "Team", "name"),
        Column("session", "Session", "mono"),
        Column("until", "Ends by", "moment"),
        Column("reserved", "Reserved", "usd", note="what it may cost at most"),
    ]
    measure = budget.measure if budget else "usd"
    if measure != "usd":
        columns[-1] = Column("reserved", "Reserved", "count", note=f"{measure} at most")
    rows = [_row(request, *pair) for pair in reserved[:_SHOWN]]
    rest, total = None, Row({**_BLANK, "what": f"{len(reserved):,} in all", "reserved": _sum(reserved)}, muted=True)
    if others := reserved[_SHOWN:]:
        other = Row({**_BLANK, "what": f"other ({len(others):,})", "reserved": _sum(others)}, muted=True)
        rest = Rest(other, lambda: [_row(request, *pair) for pair in others])
    table = Table(
        "in-flight",
        "Calls and jobs",
        columns,
        rows,
        total if rows else None,
        rest,
        empty="Nothing is in flight here.",
        edge="reserved",
    )
    crumbs = [("Calls", "/calls")] + ([(f"budget {view.clip(name)}", f"/budgets/{view.part(name)}")] if name else [])
    title = "In flight" + (f": budget {name}" if name else "") + (f", group {group}" if group else "")
    return PageContent("list", title, {"order": ""}, (table,), tuple(crumbs))


def _intent(job: Mapping[str, Any]) -> Intent:
    """What a job was reserved by, until its own deadline."""
    return {**job["intent"], "deadline_at": job.get("deadline_at")}


def _sum(reserved: list[tuple[Intent, int | None]]) -> int:
    return sum(amount or 0 for _, amount in reserved)


def _budget(request: PageRequest) -> Budget | None:
    name = request.address.get("budget")
    budget = next((one for one in request.state.budgets() if one.name == name), None)
    if name and budget is None:
        raise BadQuestion(f"budget: there is no budget with the name {name[:60]!r}")
    return budget


def _fits(intent: Intent, address: Address) -> bool:
    return all((intent.get(_GROUPS[name]) or None) == value for name, value in address.filters)


def _reserved(intent: Intent, budget: str, group: str, start: int) -> int | None:
    """What it has reserved, in nano-USD; of a budget in its measure, and in the window that began at `start`: what began before
    counts where it began. None: nothing there."""
    if not budget:
        amount: int | None = intent.get("reserved_nanousd")
        return amount
    amounts = [
        amount
        for name, of_group, began, _, amount in intent.get("budgets") or ()
        if name == budget and began == start and (not group or of_group == group)
    ]
    return sum(amounts) if amounts else None


def _row(request: PageRequest, intent: Intent, reserved: int | None) -> Row:
    session = intent.get("root_session_id") if intent.get("session_source") != "none" else None
    cells = {
        "began": intent["started_at"],
        "what": intent.get("operation"),
        "model": intent.get("model"),
        "key": intent.get("key"),
        "team": intent.get("team"),
        "session": session,
        "until": intent.get("deadline_at"),
        "reserved": reserved,
    }
    links = {name: str(request.address.filtered(name, cells[name])) for name in ("model", "key", "team") if cells[name]}
    if session:
        links["session"] = f"/sessions/{view.part(session)}"
    return Row(cells, links)


PAGE = Page("/in-flight", "", show, ranged=False)
