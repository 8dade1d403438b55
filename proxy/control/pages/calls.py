"""`/calls`, the log, and `/calls/{id}`: why a call cost what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import HTTPException

from pricing.load import checked_at
from proxy.control.pages import attributes, view
from proxy.control.pages.address import ALL, Address
from proxy.control.pages.api_address import api_address
from proxy.control.pages.page import Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Row, Table
from proxy.money import usd_text
from proxy.reports import call_lists
from proxy.reports import calls as reports
from proxy.reports.calendar import spend_by, total_of
from proxy.reports.known_cost import known_cost

_SHOWN = 50
_FACETS = ("model", "team", "key", "provider")
_FACET_ROWS = 6


def show(request: PageRequest) -> PageContent:
    """The log, the latest first. Raises `BadQuestion`."""
    address = request.address
    filters = dict(address.filters)
    reports.check_filters(filters)
    since, until = request.moments()
    listed = call_lists.call_page(
        request.state.engine, limit=_SHOWN + 1, before=address.get("next") or None, filters=filters, since=since, until=until
    )  # fmt: skip
    rows = listed.rows
    more = str(address.having(next=rows[_SHOWN - 1]["id"])) if len(rows) > _SHOWN else ""
    table = table_of(rows[:_SHOWN], address, more)
    further = ""
    if listed.back_to is not None and listed.next is not None:
        table = table._replace(empty="None among those that were looked through.")
        further = str(address.having(next=listed.next))
    values = {
        "facets": facets(request, since, until, _FACETS),
        "sum": _sum(request, since, until),
        "back_to": listed.back_to,
        "further": further,
        "at_once": call_lists.LOOKED_THROUGH,
    }
    return PageContent("calls_page", "Calls", values, (table,), api=api_address(request, "/api/requests"))


_SESSION = Column("session", "Session", "mono")


def table_of(rows: Sequence[Mapping[str, Any]], address: Address, more: str = "", *, whose: Column = _SESSION) -> Table:
    """Ledger entries as a table, for other pages too. whose: of one session its agents are told apart."""
    columns = [
        Column("started_at", "Time", "moment"),
        Column("model", "Model", "name"),
        Column("mark", "", "mark"),
        Column("key", "Key", "name"),
        Column("team", "Team", "name"),
        whose,
        Column("input", "In", "tokens"),
        Column("output", "Out", "tokens"),
        Column("duration", "Took", "took"),
        Column("cost", "Cost", "usd"),
    ]
    return Table("calls", "Calls", columns, [_row(row, address) for row in rows], more=more)


def _row(item: Mapping[str, Any], address: Address) -> Row:
    call = view.call(item, 9)
    cells = {
        "started_at": item["started_at"],
        "model": call["model"],
        "mark": call["mark"] or ("", ""),
        "key": item["key"],
        "team": item["team"],
        "agent": call["agent"],
        "session": None if item["session_source"] == "none" else item["root_session_id"],
        "input": call["tokens_in"],
        "output": call["tokens_out"],
        "duration": item["duration_ms"],
        "cost": item["cost_nanousd"],
    }
    here = f"/calls/{view.part(item['id'])}"
    links = {"started_at": here, "cost": here}
    links |= {name: str(address.filtered(name, item[name])) for name in ("key", "team") if item[name] is not None}
    if cells["session"] is not None:
        links["session"] = f"/sessions/{view.part(cells['session'])}"
    if item["model"] is not None:
        links["model"] = str(address.filtered("model", item["model"]))
    return Row(cells, links, to=here)


def facets(request: PageRequest, since: int | None, until: int | None, names: Sequence[str]) -> list[dict[str, Any]]:
    """For each attribute that no filter fixes: its values with most calls, each a filter. From the sums, so it is quick."""
    filters = dict(request.address.filters)
    if any(name not in attributes.GROUPS for name in filters):
        return []
    made = []
    for name in names:
        if name in filters:
            continue
        rows = spend_by(request.state.engine, [name], since, until, only=request.address.only)
        rows.sort(key=lambda row: -row.requests)
        values = [
            {
                "name": row.group[name] or attributes.NOBODY,
                "calls": row.requests,
                "link": str(request.address.filtered(name, row.group[name])),
            }
            for row in rows[:_FACET_ROWS]
            if row.requests
        ]
        if len(values) > 1:
            everyone = str(request.address.at("/spend", by=(name,)).having(metric="calls"))
            made.append({"name": name, "values": values, "more": max(0, len(rows) - _FACET_ROWS), "all": everyone})
    return made


def _sum(request: PageRequest, since: int | None, until: int | None) -> dict[str, str]:
    """What the calls of these filters come to, where sums are kept by them: in words, and where they are parted."""
    spend = request.address.unfiltered("priced").at("/spend", by=("model",))
    priced = dict(request.address.filters).get("priced", "")
    if priced not in ("", "yes", "no") or any(name not in attributes.GROUPS for name in spend.only):
        return {}
    total = total_of(spend_by(request.state.engine, [], since, until, only=spend.only))
    known = known_cost(total.cost_nanousd, total.requests, total.unpriced_requests)
    if priced == "no":
        there = spend if request.viewer.role == "key" else spend.at("/models")
        return {"words": f"{_calls(total.unpriced_requests)} without a price", "link": str(there)}
    calls = total.requests - (total.unpriced_requests if priced else 0)
    cost = "without a price" if known is None else view.usd(known, view.decimals_for([known]))
    return {"words": f"{_calls(calls)}, {cost}", "link": str(spend)}


def _calls(number: int) -> str:
    return f"{view.count(number)} call{'' if number == 1 else 's'}"


# One call


def show_detail(request: PageRequest) -> PageContent:
    """A call with all its attempts. Raises 404; of another key's call, to who sees his own only, as well."""
    rows = reports.request(request.state.engine, request.path_params["id"])
    viewer = request.viewer
    if not rows or (viewer.role == "key" and any(row["key"] != viewer.key for row in rows)):
        raise HTTPException(404, "There is no call with this id.")
    decimals = view.decimals_for((row["cost_nanousd"] for row in rows), least=4)
    attempts = [
        _attempt(row, decimals) | {"checked": _checked(request, row), "price_list": _price_list(request, row)}
        for row in rows
    ]
    first = rows[0]
    session = first["root_session_id"] if first["session_source"] != "none" else None
    crumbs = [("Calls", "/calls")]
    if session and viewer.role != "key":
        crumbs.append((f"session {view.clip(session)}", f"/sessions/{view.part(session)}"))
    values = {"attempts": attempts, "total": _total(rows)}
    return PageContent(
        "call", f"Call {first['request_id']}", values, crumbs=tuple(crumbs), api=f"/api/requests/{first['id']}"
    )


def _checked(request: PageRequest, item: Mapping[str, Any]) -> dict[str, str]:
    """Source of a cost line -> the day on which its prices were last compared with the provider's own, where the book says."""
    catalog, provider = request.state.book.catalog, item["provider"] or ""
    canonical, at_s = catalog.canonical(provider), item["started_at"] // 1_000_000
    known = catalog.find(canonical, (item["model"] or "").lower(), at_s)
    rows = (*(known.rows if known else ()), *catalog.common_rows(canonical))
    return {row.source: row.checked for row in rows if row.checked}


def _price_list(request: PageRequest, item: Mapping[str, Any]) -> str:
    """Which prices held, for a reader: of the list in use its date; of another one no more than its version is known."""
    book, version = request.state.book, item["price_version"]
    if version is None:
        return "no price list"
    if version != book.version:
        return f"price list of version {view.clip(version)}, not the one in use now"
    checked = datetime.fromtimestamp(checked_at(book), UTC)
    return f"price list of {checked:%Y-%m-%d}, in use now (version {version})"


def _total(rows: Sequence[Mapping[str, Any]]) -> str:
    costs = [row["cost_nanousd"] for row in rows]
    if any(cost is None for cost in costs):
        return "–"
    return view.usd(sum(costs), view.decimals_for([sum(costs)], least=4))


def _attempt(item: Mapping[str, Any], decimals: int) -> dict[str, Any]:
    call = view.call(item, decimals)
    reserved, cost = item["reserved_nanousd"], item["cost_nanousd"]
    prices = Address("/models", ALL).filtered("provider", item["provider"]).filtered("model", item["model"])
    return call | {
        "prices": str(prices),
        "kind": item["kind"],
        "corrects": item["corrects_id"],
        "status": item["status"],
        "outcome": item["outcome"],
        "provider": item["provider"],
        "dialect": item["dialect"],
        "stream": item["stream"],
        "user": item["user"],
        "customer": item["customer"],
        "labels": [f"{name}={value}" for name, value in item["labels"].items()]
        if isinstance(item["labels"], dict)
        else [],
        "claimed": (
            [f"{name}={value}" for name, value in item["untrusted_labels"].items()]
            if isinstance(item["untrusted_labels"], dict)
            else []
        ),
        "overhead_ms": item["overhead_ms"],
        "service_tier": item["service_tier"],
        "instance": item["instance"],
        "upstream_request_id": item["upstream_request_id"],
        "provider_cost": None if item["provider_cost_nanousd"] is None else usd_text(item["provider_cost_nanousd"]),
        "reserved": view.usd(reserved, decimals),
        "reserved_share": view.share(cost, reserved) if reserved and cost is not None else None,
        "usage": [
            (unit.replace("_", " "), f"{quantity:,}" if isinstance(quantity, int) else str(quantity))
            for unit, quantity in item["usage"].items()
        ],
        "counted": _counted(item["budgets"]),
    }


def _counted(budgets: Any) -> list[tuple[str, str, str]]:
    """(budget, group, amount) of each budget that counted it."""
    rows = []
    for budget in budgets if isinstance(budgets, list) else ():
        name, group, _, measure, amount = (*budget, *[None] * 5)[:5] if isinstance(budget, list) else (None,) * 5
        if isinstance(name, str):
            shown = view.usd(amount, 6) if measure == "usd" and isinstance(amount, int | None) else str(amount)
            rows.append((name, str(group or ""), shown))
    return rows


PAGE = Page("/calls", "Calls", show, since="24h", for_keys=True, shortcut="c")
DETAIL_PAGE = Page("/calls/{id:path}", "", show_detail, ranged=False, for_keys=True)
