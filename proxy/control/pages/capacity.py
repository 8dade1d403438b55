"""`/capacity`: what one's own machines cost, how busy they are, and what the same tokens would have cost at a provider."""

from __future__ import annotations

from typing import Any

from proxy.control.pages import attributes, view
from proxy.control.pages.api_address import api_address
from proxy.control.pages.page import Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Row, Table, nano
from proxy.reports.capacity.costs import capacity_report
from proxy.reports.capacity.shapes import CapacityShown, capacity_shown
from proxy.times import BadQuestion


def show(request: PageRequest) -> PageContent:
    """Every capacity of the configuration; `?by=` says whose its cost was. Raises `BadQuestion`."""
    if request.address.filters:
        raise BadQuestion("filter: a capacity is shown as a whole; group it by `by`")
    by = request.address.by or ("team",)
    if wrong := [name for name in by if name not in attributes.GROUPS]:
        raise BadQuestion(f"by: {wrong[0][:60]!r} is not one of {', '.join(attributes.GROUPS)}")
    config = request.state.config()
    since, until = request.moments()
    book = request.state.book.with_operator(config.operator_prices())
    reports = [
        capacity_shown(
            capacity_report(request.state.engine, row, since, until, now=request.now_us, book=book, by=by),
            by,
            request.state.capacity_problem(row.name),
        )
        for row in config.capacity
    ]
    tables = [_overview(reports), _compared(reports), _groups(request, reports, by), _batching(reports)]
    values = {"by": ",".join(by), "choices": attributes.GROUPS, "levers": [levers_text(report) for report in reports]}
    return PageContent(
        "capacity",
        "Capacity",
        values,
        tables if reports else tables[:1],
        api=api_address(request, "/api/capacity", by=by),
    )


def _overview(reports: list[CapacityShown]) -> Table:
    columns = [
        Column("name", "Capacity", "name"),
        Column("cost", "Cost", "usd"),
        Column("busy", "Busy", "usd", note="the shares of calls"),
        Column("idle", "Idle", "usd"),
        Column("outside", "Outside", "usd", note="work that no call through Taximeter explains"),
        Column("busy_ratio", "In use", "percent", note="the share of its time in which something ran"),
        Column("at_once", "Calls at once", "figure"),
        Column("calls", "Calls", "count"),
        Column("use_in", "In $/M, use", "rate", note="USD per million uncached input tokens, idle time left out"),
        Column("use_out", "Out $/M, use", "rate"),
        Column("whole", "All $/M, whole", "rate", note="USD per million tokens, idle time included"),
        Column(
            "break_even",
            "Breaks even at",
            "percent",
            note="of its time in use, against the cheapest compared model; above 100 % it never does",
        ),
        Column("energy", "J / token", "figure"),
        Column("co2e", "CO2e", "figure"),
    ]
    rows = [
        Row(
            {
                "name": report.name,
                "cost": nano(report.cost_usd),
                "busy": nano(report.busy_usd),
                "idle": nano(report.idle_usd),
                "outside": nano(report.outside_usd),
                "busy_ratio": _percent(report.busy_ratio),
                "at_once": None if report.mean_concurrency is None else f"{report.mean_concurrency:.2f}",
                "calls": report.requests,
                "use_in": nano(report.usd_per_million.use.input),
                "use_out": nano(report.usd_per_million.use.output),
                "whole": nano(report.usd_per_million.whole.all),
                "break_even": _percent(report.break_even_ratio),
                "energy": None if report.joules_per_token is None else f"{report.joules_per_token:.3g}",
                "co2e": None if report.co2e_g is None else f"{report.co2e_g:,.1f} g",
            },
            bar=_percent(report.busy_ratio),
            to="#table-groups",
        )
        for report in reports
    ]
    empty = "No capacity is configured: `capacity` in the configuration says what a machine of yours costs."
    return Table("capacity", "Own machines", columns, rows, empty=empty)


def _percent(ratio: float | None) -> float | None:
    return None if ratio is None else 100 * ratio


def _compared(reports: list[CapacityShown]) -> Table:
    columns = [
        Column("name", "Capacity", "name"),
        Column("model", "The same tokens at", "name"),
        Column("there", "There", "usd"),
        Column("here", "Here", "usd"),
        Column("rate", "$/M there", "rate"),
        Column("break_even", "Breaks even at", "percent", note="of its time in use; above 100 % it never does"),
        Column("today", "Today", "text"),
    ]
    words = {True: "cheaper here", False: "cheaper there", None: "–"}
    rows = [
        Row(
            {
                "name": report.name,
                "model": model.model,
                "there": nano(model.usd),
                "here": nano(report.cost_usd),
                "rate": nano(model.usd_per_million),
                "break_even": _percent(model.break_even_ratio),
                "today": words[model.cheaper],
            },
            to="#table-capacity",
        )
        for report in reports
        for model in report.compare
    ]
    return Table("compare", "Here or there", columns, rows, empty="Nothing is compared: name models under `compare`.")


def _groups(request: PageRequest, reports: list[CapacityShown], by: tuple[str, ...]) -> Table:
    columns = [
        Column("name", "Capacity", "name"),
        *[Column(name, name.capitalize(), "name") for name in by],
        Column("cost", "Cost", "usd"),
        Column("calls", "Calls", "count"),
        Column("rate", "$ / M tokens", "rate"),
        Column("joules", "Joules", "figure"),
    ]
    rows = []
    for report in reports:
        for group in report.groups[:200]:
            values = group.__pydantic_extra__ or {}
            calls = request.address.at("/calls")
            for name in by:
                calls = calls.filtered(name, values.get(name))
            cells: dict[str, Any] = {name: values.get(name) or attributes.NOBODY for name in by}
            cells |= {"name": report.name, "cost": nano(group.capacity_usd), "calls": group.requests}
            cells |= {
                "rate": nano(group.usd_per_million),
                "joules": None if group.joules is None else f"{group.joules:,.0f}",
            }
            rows.append(Row(cells, to=str(calls)))
    return Table("groups", "Whose it was", columns, rows)


def _batching(reports: list[CapacityShown]) -> Table:
    columns = [
        Column("name", "Capacity", "name"),
        Column("calls_at_once", "Calls at once", "count"),
        Column("seconds", "For", "took"),
        Column("cost", "Cost", "usd"),
        Column("speed", "Output tokens a second", "figure"),
        Column("rate_out", "$ / M output", "rate"),
        Column("rate", "$ / M tokens", "rate"),
    ]
    rows = [
        Row(
            {
                "name": report.name,
                "calls_at_once": level.calls_at_once,
                "seconds": 1000 * level.seconds,
                "cost": nano(level.usd),
                "speed": f"{level.output_tokens_per_s:,.1f}",
                "rate_out": nano(level.usd_per_million_output),
                "rate": nano(level.usd_per_million),
            },
            to="#table-groups",
        )
        for report in reports
        for level in report.levers.batching
    ]
    return Table("batching", "What batching does", columns, rows)


def levers_text(report: CapacityShown) -> dict[str, Any]:
    """What the techniques earn, in sentences."""
    levers, saved = report.levers, nano(report.levers.prefix_cache.saved_usd)
    shown = view.usd(saved, view.decimals_for([saved]))
    said = [f"the prefix cache saved {shown} ({view.count(levers.prefix_cache.tokens)} tokens)"]
    drafts = levers.speculative_decoding
    if drafts is not None and drafts.accepted_ratio is not None:
        share = f"{100 * drafts.accepted_ratio:.0f} %"
        of = "drafted tokens" if drafts.drafted is None else f"{view.count(drafts.drafted)} drafted tokens"
        said.append(f"of {of} {share} were taken")
    if drafts is not None and drafts.tokens_per_step is not None:
        said.append(f"a step with a draft made {drafts.tokens_per_step:.2f} tokens")
    if levers.preemptions is not None:
        said.append(f"{view.count(levers.preemptions)} preemptions")
    basis = "measured by the server's own times" if report.weights.measured else "assumed"
    said.append(
        f"a token of output counts {report.weights.output / (report.weights.input or 1):.1f} of input ({basis})"
    )
    if report.unobserved_s:
        said.append(f"{view.took(1000 * report.unobserved_s)} were not observed")
    if report.problem is not None:
        said.append(f"its server cannot be asked: {report.problem}")
    return {"name": report.name, "said": said}


PAGE = Page("/capacity", "Capacity", show, since="7d", shortcut="p")
