"""`/health`: whether the numbers can be trusted now: what runs, what waits, what is estimated or has no price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from pricing.load import checked_at
from proxy.control.pages import view
from proxy.control.pages.page import Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Row, Table
from proxy.control.state import Unavailable, unrecorded_because
from proxy.exports.status import sinks_shown
from proxy.processes.code import running_code
from proxy.processes.orders import InFile
from proxy.reports import overview
from proxy.reports.known_cost import known_cost
from proxy.times import moment

_STALE_BOOK_S = 45 * 86_400
_LAG_S = 5
_EXPORT_LAG_S = 3600
_REFUSED_SHOWN = 50


def show(request: PageRequest) -> PageContent:
    """The parts of the server with how each is, how sure the last day's costs are, what was refused, and the latest alerts."""
    tables = (_parts(request), _sources(request), _refused(request), _alerts(request))
    return PageContent("list", "Health", {"order": ""}, tables, api="/readyz")


def _parts(request: PageRequest) -> Table:
    state, recorder = request.state, request.state.recorder
    rows = [
        _part("data planes", *_planes(request)),
        _part(
            "ledger database",
            recorder.database_down_since is None,
            "answers"
            if recorder.database_down_since is None
            else f"cannot be written: {recorder.database_down_because}; the spool keeps everything",
        ),
        _part("ledger", recorder.lag_s < _LAG_S, f"{recorder.lag_s:.1f} s behind the calls"),
        _part(
            "spool",
            recorder.spool_bytes < 256 * 1024 * 1024,
            f"{view.short(recorder.spool_bytes)} bytes wait for the ledger",
        ),
        _part(
            "records",
            not recorder.unreadable_records,
            f"{recorder.unreadable_records} could not be read" if recorder.unreadable_records else "all could be read",
        ),
        _part(
            "calls without an end",
            not recorder.intents_overdue,
            f"{recorder.intents_overdue} are older than the longest call may be"
            if recorder.intents_overdue
            else "none",
        ),
        *_asked(request),
        _part("configuration", *_in_file(state.in_file())),
        *_exports(request),
        _part("price book", request.now_us / 1e6 - checked_at(state.book) < _STALE_BOOK_S, _book(request)),
        _part(
            "version",
            True,
            f"Taximeter {version('taximeter')}, {view.plural(state.expected_workers, 'data plane')}, {running_code()}",
        ),
    ]
    columns = [Column("part", "Part", "text"), Column("state", "", "mark"), Column("detail", "How it is", "prose")]
    return Table("parts", "Parts", columns, rows)


def _in_file(in_file: InFile) -> tuple[bool, str]:
    if in_file.refused:
        return False, f"the file was refused at its last reload, the one before holds: {'; '.join(in_file.refused)}"
    if in_file.restart:
        return False, f"changed in the file, and read at the start only: {', '.join(in_file.restart)}"
    return True, "as in its file when it was last read"


def _part(name: str, is_well: bool, detail: str, link: str = "") -> Row:
    state = ("good", "well") if is_well else ("bad", "look here")
    return Row({"part": name, "state": state, "detail": detail}, {"detail": link})


def _planes(request: PageRequest) -> tuple[bool, str]:
    alive = len(request.state.link.workers)
    return alive >= request.state.expected_workers, f"{alive} of {request.state.expected_workers} answer"


def _asked(request: PageRequest) -> Iterator[Row]:
    """What data planes know."""
    try:
        answers = request.state.wait(request.state.link.ask("gauges"))
    except Unavailable as problem:
        yield _part("budget store", False, str(problem), "/in-flight")
        return
    if answers:
        refused = ", ".join(unrecorded_because(answers))
        well = "the spool takes records"
        yield _part(
            "recording", not refused, f"the spool cannot be written: {refused}; calls are refused" if refused else well
        )
    yield _part("budget store", *_store(answers), "/in-flight")


def _store(answers: Mapping[str, Any]) -> tuple[bool, str]:
    up = [bool((answer or {}).get("store_up", False)) for answer in answers.values()]
    flying = sum((answer or {}).get("inflight_requests", 0) for answer in answers.values())
    return bool(up) and all(up), f"answers, {flying} calls in flight" if up and all(up) else "does not answer"


def _exports(request: PageRequest) -> Iterator[Row]:
    """A line a sink."""
    configured = {row.key: row.type for row in request.state.config().exports}
    for row in sinks_shown(request.state.engine, configured, request.now_us) if configured else ():
        if row["state"] != "removed":
            is_well = row["error"] is None and not row["set_aside"] and row["lag_seconds"] < _EXPORT_LAG_S
            said = [f"{row['sent']} events sent", f"{row['lag_entries']} entries wait" if row["lag_entries"] else ""]
            said += [f"{row['set_aside']} set aside" if row["set_aside"] else "", row["error"] or ""]
            yield _part(f"export {row['name']}", is_well, ", ".join(part for part in said if part))


def _book(request: PageRequest) -> str:
    days = int((request.now_us / 1e6 - checked_at(request.state.book)) // 86_400)
    return f"version {request.state.book.version}, prices checked {view.plural(days, 'day')} ago"


def _sources(request: PageRequest) -> Table:
    """How the last day's attempts came to their costs."""
    rows_of = overview.cost_certainty(request.state.engine, moment("24h", request.now_us / 1e6))
    whole = sum(row.calls for row in rows_of)
    rows = [
        Row(
            {
                "status": row.status,
                "source": row.source,
                "calls": row.calls,
                "share": 100 * row.calls / whole,
                "cost": known_cost(row.cost_nanousd, row.calls, row.unpriced),
                "unpriced": row.unpriced,
            },
            {"unpriced": f"{link}&filter.priced=no"},
            to=link,
        )
        for row in rows_of
        for link in [
            f"/calls?since=24h&filter.status={view.part(row.status)}&filter.usage_source={view.part(row.source or '')}"
        ]
    ]
    columns = [
        Column("status", "Settled as", "text"),
        Column(
            "source", "Usage from", "text", note="provider: it said so; estimated, partial: counted here; none: unknown"
        ),
        Column("calls", "Calls", "count"),
        Column("share", "Share", "percent"),
        Column("cost", "Cost", "usd"),
        Column("unpriced", "Unpriced", "count"),
    ]
    return Table("sources", "How sure the last 24 hours are", columns, rows, empty="No call in the last 24 hours.")


def _refused(request: PageRequest) -> Table:
    """Refused calls are in no ledger: metrics count them."""
    metrics = request.state.metrics
    with metrics.lock:
        counters = [(labels, count) for (name, labels), count in metrics.counters.items() if name == "refusals_total"]
    rows = [
        Row(
            {"reason": reason, "budget": budget or None, "calls": count},
            {"budget": f"/budgets/{view.part(budget)}"} if budget else {},
            to=f"/budgets/{view.part(budget)}#table-journal" if budget else "",
        )
        for (reason, budget), count in sorted(counters, key=lambda counter: -counter[1])[:_REFUSED_SHOWN]
    ]
    columns = [
        Column("reason", "Refused for", "text", note="the `code` that the caller was told"),
        Column("budget", "By budget", "name"),
        Column(
            "calls",
            "Calls",
            "count",
            note="they are in no ledger; the log has a line a second for each reason and budget, of each data plane",
        ),
    ]
    return Table("refused", "Calls refused, since the metrics began", columns, rows, empty="No call was refused yet.")


def _alerts(request: PageRequest) -> Table:
    rows = [
        Row(
            {"at": row["created_at"], "kind": row["kind"], "text": row["text"], "delivered": _delivered_at(row)},
            {"kind": view.alert_link(row)},
        )
        for row in overview.latest_alerts(request.state.engine, 0, 30)
    ]
    columns = [
        Column("at", "Time", "moment"),
        Column("kind", "What", "text"),
        Column("text", "", "prose"),
        Column("delivered", "Sent to the webhook", "moment"),
    ]
    return Table("alerts", "Latest alerts", columns, rows, empty="No alert yet.")


def _delivered_at(alert: Mapping[str, Any]) -> int | None:
    """Earlier versions noted the moment of an alert itself where there was no webhook."""
    at: int | None = alert["delivered_at"]
    return at if at is not None and at > alert["created_at"] else None


PAGE = Page("/health", "Health", show, ranged=False, shortcut="h")
