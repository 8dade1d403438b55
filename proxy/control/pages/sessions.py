"""`/sessions`, the list, and `/sessions/{id}`: what an agent's run cost, step by step, and what its budgets have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from fastapi import HTTPException

from proxy.control.api.standings import budgets_as_they_stand
from proxy.control.pages import view
from proxy.control.pages.api_address import api_address
from proxy.control.pages.calls import facets, table_of
from proxy.control.pages.page import Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Row, Table
from proxy.control.state import Unavailable
from proxy.reports import journal, one_session
from proxy.reports import sessions as reports
from proxy.reports.answers import no_price
from proxy.reports.known_cost import known_cost
from proxy.reports.session_tree import Node
from proxy.times import BadQuestion

_SHOWN = 50
_NODES = 300
_BARS = 400
_FACETS = ("agent", "model", "team", "key")


def show(request: PageRequest) -> PageContent:
    """The session trees with a call in this time, the latest or the dearest first. Raises `BadQuestion`."""
    address = request.address
    having = address.only
    sort = address.get("sort", "latest")
    if sort not in ("latest", "cost"):
        raise BadQuestion(f"sort: {sort[:40]!r} is not one of latest, cost")
    order: reports.Order = "cost" if sort == "cost" else "latest"
    since, until = request.moments()
    rows = reports.sessions(
        request.state.engine, limit=_SHOWN + 1, order=order, after=address.get("next") or None, since=since, until=until,
        having=having,
    )  # fmt: skip
    more = str(address.having(next=reports.place_of(rows[_SHOWN - 1], order))) if len(rows) > _SHOWN else ""
    columns = [
        Column("session", "Session", "mono"),
        Column("team", "Team", "name"),
        Column("latest", "Last call", "moment", sort=True),
        Column("duration", "Lasted", "took"),
        Column("calls", "Calls", "count"),
        Column("input", "Fresh input", "tokens", note="tokens that no cache had"),
        Column("cached", "Cached", "percent", note="share of the input that a cache had"),
        Column("output", "Output", "tokens"),
        Column("unpriced", "Unpriced", "count"),
        Column("cost", "Cost", "usd", sort=True),
    ]
    table = Table("sessions", "Sessions", columns, [_row(row, request) for row in rows[:_SHOWN]], more=more)
    values = {"order": order, "facets": facets(request, since, until, _FACETS)}
    return PageContent(
        "session_list", "Sessions", values, (table,), api=api_address(request, "/api/sessions", order=order)
    )


def _row(row: reports.SessionRow, request: PageRequest) -> Row:
    cached, read, written = _tokens(row.usage)
    link = "" if row.session is None else f"/sessions/{view.part(row.session)}"
    cells = {
        "session": row.session,
        "team": row.team,
        "latest": row.ended_at,
        "duration": (row.ended_at - row.started_at) / 1000,
        "calls": row.requests,
        "input": read,
        "cached": 100 * cached / (cached + read) if cached + read else None,
        "output": written,
        "cost": known_cost(row.cost_nanousd, row.requests, row.unpriced_requests),
        "unpriced": row.unpriced_requests,
    }
    calls = request.address.at("/calls")._replace(filters=(("session", row.session),))
    links = {
        "session": link,
        "cost": link,
        "calls": str(calls),
        "unpriced": str(calls.filtered("priced", "no")),
    }
    if row.team is not None:
        links["team"] = str(request.address.filtered("team", row.team))
    return Row(cells, links, to=links["calls"])


def _tokens(usage: Mapping[str, Any]) -> tuple[int, int, int]:
    """(cached, other input, output)"""
    cached = int(usage.get("cache_read", 0))
    read = sum(int(usage.get(unit, 0)) for unit in view.INPUT) - cached
    return cached, read, sum(int(usage.get(unit, 0)) for unit in view.OUTPUT)


# One session


def show_detail(request: PageRequest) -> PageContent:
    """A session's tree, its calls over time, and its budgets. Raises 404."""
    name = request.path_params["id"]
    session = one_session.session(request.state.engine, name)
    if session is None:
        raise HTTPException(404, "There is no session with this id.")
    about, tree = session
    nodes = list(tree.walk())
    calls = sorted((call for _, node in nodes for call in node.calls), key=lambda call: call["id"])
    tables = (
        _tree_table(nodes[:_NODES], tree),
        table_of(calls, request.address.at("/calls"), whose=Column("agent", "Agent", "name")),
    )
    crumbs = [("Sessions", "/sessions")]
    if about.root_session != name:
        crumbs.append((f"started by {view.clip(about.root_session)}", f"/sessions/{view.part(about.root_session)}"))
    values = {
        "about": about,
        "tree": tree,
        "tiles": _tiles(tree, about.root_session),
        "lanes": _waterfall(nodes, tree),
        "left_out": max(0, len(nodes) - _NODES),
        "calls_shown": len(calls),
        "budgets": _budgets(request, about.root_session),
        "stops": _stops(request, nodes[:_NODES]),
        "all_calls": f"/calls?since=all&filter.session={view.part(about.root_session)}",
    }
    api = f"/api/sessions/{view.part(name)}"
    return PageContent("session", f"Session {view.clip(name)}", values, tables, crumbs=tuple(crumbs), api=api)


def _stops(request: PageRequest, nodes: Sequence[tuple[int, Node]]) -> list[dict[str, Any]]:
    """Where it looped, or came to its limit, as the guards found it."""
    names: dict[str, str] = {}
    for _, node in nodes:
        names.setdefault(node.session, view.clip(node.agent or node.session))
    words = {"loop": "A guard stopped a loop in", "session_limit": "A guard's limit stopped"}
    return [
        {
            "words": words[stop.kind],
            "name": names[stop.group or ""],
            "link": f"/sessions/{view.part(stop.group or '')}",
            "at": stop.at,
        }
        for stop in journal.of_guards(request.state.engine, list(names))
    ]


def _tiles(tree: Node, root: str) -> list[dict[str, str]]:
    cached, read, written = _tokens(tree.usage)
    lasted = (tree.ended_at - tree.started_at) / 1000 if tree.started_at is not None and tree.ended_at else None
    cost = _known(tree)
    return [
        {
            "link": "#table-calls",
            "title": "Cost",
            "big": view.usd(cost, view.decimals_for([cost])),
            "small": no_price(tree.unpriced_requests) if tree.unpriced_requests else "",
            "small_link": f"/calls?since=all&filter.session={view.part(root)}&filter.priced=no",
        },
        {
            "link": "#table-calls",
            "title": "Calls",
            "big": view.count(tree.requests),
            "small": f"of {view.count(agents)} agents or sessions" if (agents := _agents(tree)) > 1 else "of one agent",
            "small_link": "#table-tree",
        },
        {
            "link": "#table-calls",
            "title": "Input",
            "big": view.short(cached + read),
            "small": f"{100 * cached / (cached + read):.1f} % from a cache" if cached + read else "",
            "small_link": "#table-calls",
        },
        {
            "link": "#table-calls",
            "title": "Output",
            "big": view.short(written),
            "small": f"in {view.took(lasted)}",
            "small_link": "#table-calls",
        },
    ]


def _known(node: Node) -> int | None:
    return known_cost(node.cost_nanousd, node.requests, node.unpriced_requests)


def _own_unpriced(node: Node) -> int:
    return node.unpriced_requests - sum(child.unpriced_requests for child in node.children)


def _agents(tree: Node) -> int:
    return sum(1 for _ in tree.walk())


def _tree_table(nodes: list[tuple[int, Node]], tree: Node) -> Table:
    columns = [
        Column("agent", "Agent or session", "name"),
        Column("calls", "Own calls", "count"),
        Column("own_cost", "Own cost", "usd"),
        Column("cost", "With all below", "usd"),
        Column("share", "Share", "percent"),
        Column("cached", "Cached", "percent", note="share of the input that a cache had, of all below"),
        Column("output", "Output", "tokens"),
        Column("duration", "Lasted", "took"),
    ]
    rows = []
    for depth, node in nodes:
        cached, read, written = _tokens(node.usage)
        lasted = None if node.started_at is None or node.ended_at is None else (node.ended_at - node.started_at) / 1000
        cells = {
            "agent": node.agent or node.session,
            "calls": node.own_requests,
            "own_cost": known_cost(node.own_cost_nanousd, node.own_requests, _own_unpriced(node)),
            "cost": _known(node),
            "share": 100 * node.cost_nanousd / tree.cost_nanousd if tree.cost_nanousd else None,
            "cached": 100 * cached / (cached + read) if cached + read else None,
            "output": written,
            "duration": lasted,
        }
        link = {} if node.session == tree.session else {"agent": f"/sessions/{view.part(node.session)}"}
        bar = view.share(node.cost_nanousd, tree.cost_nanousd)
        rows.append(Row(cells, link, depth=min(depth, 12), bar=bar, to=link.get("agent", "#table-calls")))
    return Table("tree", "Agents", columns, rows)


def _waterfall(nodes: Sequence[tuple[int, Node]], tree: Node) -> list[dict[str, Any]]:
    """A lane an agent, its calls as bars from their begin to their end, in percent of the session; a loop is a row of equal
    ones."""
    if tree.started_at is None or tree.ended_at is None:
        return []
    whole = max(1, tree.ended_at - tree.started_at)
    dearest = max((call["cost_nanousd"] or 0 for _, node in nodes for call in node.calls), default=0)
    lanes, left = [], _BARS
    for _, node in nodes:
        calls = sorted(node.calls, key=lambda call: call["id"])[:left]
        left -= len(calls)
        if calls:
            bars = [_bar(call, tree.started_at, whole, dearest) for call in calls]
            lanes.append({"name": view.clip(node.agent or node.session), "bars": bars})
    return lanes


def _bar(call: Mapping[str, Any], began: int, whole: int, dearest: int) -> dict[str, Any]:
    cost = call["cost_nanousd"]
    begins = min(100 * (call["started_at"] - began) / whole, 99.75)
    length = max(0.25, 100 * (call["ended_at"] - call["started_at"]) / whole)
    return {
        "x": round(begins, 3),
        "width": round(min(length, 100 - begins), 3),
        "state": "over" if call["outcome"] != "ok" else "high" if cost and 2 * cost >= dearest else "calm",
        "link": f"/calls/{view.part(call['id'])}",
        "title": f"{view.clip(call['model'])} {view.usd(cost, 6)}, {view.took(call['duration_ms'])}",
    }


def _budgets(request: PageRequest, root: str) -> list[dict[str, Any]]:
    """Where budgets for each session stand for this one, with what is left."""
    per_session = [budget for budget in request.state.budgets() if tuple(budget.per) == ("session",)]
    if not per_session:
        return []
    try:
        items = budgets_as_they_stand(per_session, request.state.standings(group=root), request.now_us / 1e6)
    except Unavailable:
        return []
    rows = []
    for item in items:
        unit = next(unit for unit in ("usd", "tokens", "requests") if f"limit_{unit}" in item)
        group = next((group for group in item["groups"] if group["group"] == root), None)
        limit = Decimal((group or item)[f"limit_{unit}"])
        spent = Decimal(group[f"spent_{unit}"]) if group else Decimal(0)
        reserved = Decimal(group[f"reserved_{unit}"]) if group else Decimal(0)
        rows.append(
            {
                "name": item["name"],
                "link": f"/budgets/{view.part(item['name'])}?group={view.part(root)}",
                "action": item["action"],
                "bar": view.bar(
                    {f"limit_{unit}": limit, f"spent_{unit}": spent, f"reserved_{unit}": reserved}, unit, None
                ),
                "left": view.amount(max(Decimal(0), limit - spent - reserved), unit, limit),
                "unit": unit,
            }
        )
    return rows


PAGE = Page("/sessions", "Sessions", show, since="7d", shortcut="e")
DETAIL_PAGE = Page("/sessions/{id:path}", "", show_detail, ranged=False)
