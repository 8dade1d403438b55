"""`/customers/{customer}`: what one customer's margin is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import HTTPException

from proxy.control.pages import view
from proxy.control.pages.address import Address
from proxy.control.pages.api_address import api_address
from proxy.control.pages.customers import calls_of, margin_of
from proxy.control.pages.page import Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Row, Table, nano
from proxy.money import usd_text
from proxy.reports.calendar import spend_by, total_of
from proxy.reports.known_cost import known_cost
from proxy.reports.margin.answer import MarginItem, MarginShown
from proxy.reports.margin.margin import Question, RevenueLine, revenue_lines
from proxy.reports.spend import SpendRow
from proxy.times import moment, rfc3339


def show(request: PageRequest) -> PageContent:
    """What a customer's margin is made of, in this time: each payment, and the models that their calls went to. Raises 404 of
    one who is known from no time."""
    name, since, until = request.path_params["customer"], *request.moments()
    plans = request.state.config().plans
    only = request.address.only | {"customer": name}
    question = Question(("customer",), since, until, request.address.zone, only)
    margin = margin_of(request, plans, question)
    nothing = "Nobody called for this customer in this time, and no revenue row names them."
    ever = margin.items or total_of(spend_by(request.state.engine, [], None, None, only={"customer": name})).requests
    if not ever:
        raise HTTPException(404, nothing)
    lines = revenue_lines(request.state.engine, plans, question, name, request.now_us)
    if "plan" in only:
        lines = [line for line in lines if (line.plan or "") == only["plan"]]
    plans_page = request.address.at("/customers").filtered("customer", name)
    payments = _payments(lines, plans_page)
    if only.keys() - {"customer", "plan"}:
        payments = payments._replace(title="What they pay, for all of their calls")
    tables = (payments, _costs(request, margin, name))
    values = {
        "said": [_sentence(item) for item in margin.items] or [nothing],
        "caveats": margin.about.caveats,
        "unpriced": str(calls_of(request, margin, "/calls").filtered("customer", name).filtered("priced", "no")),
    }
    narrowed = request._replace(address=request.address.filtered("customer", name))
    api = api_address(narrowed, "/api/reports/margin", by=("customer",))
    crumbs = (("Customers", str(request.address.at("/customers"))),)
    return PageContent("customer", f"Customer {name}", values, tables, crumbs, api)


def _sentence(item: MarginItem) -> str:
    """How the numbers of a customer on a plan hang together."""
    spent = (nano(item.cost_usd) or 0) + (nano(item.capacity_usd) or 0)
    decimals = view.decimals_for([nano(item.revenue_usd), spent, nano(item.margin_usd)])
    plan = f"On the plan {view.clip(item.plan)}" if item.plan else "On no plan"
    unpriced = item.unpriced_requests
    unknown = known_cost(spent, item.calls, unpriced) is None
    calls = view.plural(item.calls, "call")
    cost = view.usd(spent, decimals) + (f" ({unpriced:,} without a price)" if unpriced else "")
    if item.revenue_usd is None:
        said = "have no price" if unknown else f"cost {cost}"
        return f"{plan}, nobody says what they pay; {calls} {said}."
    fee = nano(item.fee_usd)
    less = f" less a fee of {view.usd(fee, decimals)}" if fee else ""
    said = f"{plan}: revenue of {view.usd(nano(item.revenue_usd), decimals)}{less} and {calls} "
    if unknown:
        return f"{said}without a price: what is left is not known."
    said += f"that cost {cost} leave "
    said += view.usd(nano(item.margin_usd), decimals)
    said += f", {view.percent(100 * float(item.margin_rate))} of the revenue." if item.margin_rate else "."
    each = nano(item.cost_per_call_usd)
    if each and item.break_even_calls is not None:
        said += f" At {view.usd(each, view.decimals_for([each]))} a call on average, what they pay is used up by call "
        said += f"{item.break_even_calls:,}; {item.calls_left or 0:,} are left."
    return said


def _payments(lines: Sequence[RevenueLine], plans: Address) -> Table:
    columns = [
        Column("month", "Month", "text"),
        Column("from", "From", "text"),
        Column("plan", "Plan", "name"),
        Column("amount", "Revenue", "usd"),
    ]
    rows = [
        Row(
            {"month": line.month or "all", "from": _said_by(line), "plan": line.plan, "amount": line.amount},
            {"plan": link} if line.plan else {},
            to=link,
        )
        for line in lines
        for link in [str(plans.filtered("plan", line.plan))]
    ]
    total = Row({"month": "total", "from": "", "plan": "", "amount": sum(line.amount for line in lines)}, to=str(plans))
    empty = "No plan fits, and no revenue row names them."
    return Table("revenue", "What they pay", columns, rows, total if len(rows) > 1 else None, empty=empty)


def _said_by(line: RevenueLine) -> str:
    if line.paid is not None:
        first, last = (rfc3339(at) or "" for at in (line.paid.from_at, line.paid.to_at))
        return f"an imported row of ${usd_text(line.paid.amount_nanousd)} for {first[:10]} to {last[:10]}"
    if line.month is None:
        return f"their share of what {line.payer or 'nobody'} pays"
    return "the plan's price of a month"


def _costs(request: PageRequest, margin: MarginShown, name: str) -> Table:
    since, until = (
        moment(text, request.now_us / 1e6) if text else None for text in (margin.about.since, margin.about.until)
    )
    columns = [
        Column("model", "Model", "name"),
        Column("cost", "Cost", "usd"),
        Column("capacity", "Own GPUs", "usd"),
        Column("calls", "Calls", "count"),
        Column("unpriced", "Unpriced", "count"),
    ]
    calls = request.address.at("/calls").unfiltered("plan").filtered("customer", name)
    calls = calls._replace(since=margin.about.since or "", until=(request.address.until and margin.about.until) or "")
    only = request.address.unfiltered("plan").only | {"customer": name}  # a plan is no attribute of a call
    sums = spend_by(request.state.engine, ["model"], since, until, only=only)
    rows = [
        Row(
            _model_cells(row, row.group["model"] or "(none)"),
            {"model": str(link), "unpriced": str(link.filtered("priced", "no"))},
            to=str(link),
        )
        for row in sums
        for link in [calls.filtered("model", row.group["model"])]
    ]
    unpriced = {"unpriced": str(calls.filtered("priced", "no"))}
    total = Row(_model_cells(total_of(sums), "total"), unpriced, to=str(calls))
    return Table("costs", "What their calls cost", columns, rows, total if rows else None)


def _model_cells(row: SpendRow, name: str) -> dict[str, Any]:
    return {
        "model": name,
        "cost": known_cost(row.cost_nanousd, row.requests, row.unpriced_requests),
        "capacity": row.capacity_nanousd or None,
        "calls": row.requests,
        "unpriced": row.unpriced_requests,
    }


PAGE = Page("/customers/{customer:path}", "", show, whole="this month")
