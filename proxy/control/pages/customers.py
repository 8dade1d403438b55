"""`/customers`: what each pays and costs, who loses money, and where each plan breaks even."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from proxy.control.pages.page import Asked, Page, Shown
from proxy.control.pages.tables import Column, Rest, Row, Table, more_of, nano, top_of
from proxy.reports.margin import Question
from proxy.reports.margin_answer import MarginItem, MarginShown, margin_answer
from proxy.times import BadQuestion


def show(asked: Asked) -> Shown:
    """Customers on their plans, those that lose most first. `?by=` groups otherwise. Raises `BadQuestion`."""
    if asked.address.filters:
        raise BadQuestion("filter: customers are not filtered; group them otherwise by `by`")
    since, until = asked.moments()
    by = asked.address.by or ("customer",)
    question = Question(by=by, since=since, until=until, zone=asked.address.zone)
    answer = margin_answer(asked.state.engine, asked.state.config().plans, question, asked.now_us)
    margin: Any = answer.shown
    assert isinstance(margin, MarginShown)
    values = {
        "said": [f"Projection: {margin.projection.basis}.", *(f"Mind: {caveat}." for caveat in margin.about.caveats)],
        "sources": margin.about.sources,
        "by": ",".join(by),
        "choices": ("customer", "team", "key", "user", "plan", "model"),
    }
    return Shown(
        "customers", "Customers", values, (_customers(asked, margin, by), _plans(margin)), api="/api/reports/margin"
    )


def _customers(asked: Asked, margin: MarginShown, by: tuple[str, ...]) -> Table:
    names = [name for name in by if name != "plan"]
    columns = [
        *[Column(name, name.replace(".", " ").capitalize(), "name") for name in names],
        Column("plan", "Plan", "name"),
        Column("revenue", "Revenue", "usd"),
        Column("cost", "Cost", "usd"),
        Column("capacity", "Own GPUs", "usd"),
        Column("margin", "Margin", "usd"),
        Column("rate", "Margin", "percent"),
        Column("calls", "Calls", "count"),
        Column("each", "Each call", "rate"),
        Column("even", "Breaks even at", "count", note="calls, at what they cost on average"),
        Column("left", "Calls left", "count"),
        Column("projected", "Month's cost", "usd", note="projected to the end of the month"),
    ]
    top = top_of(asked.address)
    shown, others = margin.items[:top], margin.items[top:]
    rest = None
    if others:
        link = {(names or ["plan"])[0]: more} if (more := more_of(asked.address, top)) else {}
        named = {(names or ["plan"])[0]: f"other ({len(others):,})"}
        rest = Rest(Row(_sums(others) | named, link, muted=True), lambda: [_row(asked, item, names) for item in others])
    rows = [_row(asked, item, names) for item in shown]
    return Table("customers", "Customers", columns, rows, rest=rest)


def _row(asked: Asked, item: MarginItem, names: Sequence[str]) -> Row:
    group = item.__pydantic_extra__ or {}
    calls = asked.address.at("/calls")
    sessions = asked.address.at("/spend", by=("session",))
    for name in names:
        calls, sessions = calls.filtered(name, group.get(name)), sessions.filtered(name, group.get(name))
    margin = nano(item.margin_usd)
    cells = {
        **{name: group.get(name) for name in names},
        "plan": item.plan,
        "revenue": nano(item.revenue_usd),
        "cost": nano(item.cost_usd),
        "capacity": nano(item.capacity_usd),
        "margin": margin,
        "rate": None if item.margin_rate is None else 100 * float(item.margin_rate),
        "calls": item.calls,
        "each": nano(item.cost_per_call_usd),
        "even": item.break_even_calls,
        "left": item.calls_left,
        "projected": nano(item.projected_cost_usd),
    }
    links = {"calls": str(calls), "cost": str(sessions)} | ({names[0]: str(sessions)} if names else {})
    return Row(cells, links, bad=("margin", "rate") if (margin or 0) < 0 else ())


def _sums(items: Sequence[MarginItem]) -> dict[str, Any]:
    """Of what is known; None where that is nothing."""

    def known(amounts: Iterable[str | None]) -> int | None:
        parts = [nano(amount) or 0 for amount in amounts if amount is not None]
        return sum(parts) if parts else None

    return {
        "revenue": known(item.revenue_usd for item in items),
        "cost": known(item.cost_usd for item in items),
        "capacity": known(item.capacity_usd for item in items),
        "margin": known(item.margin_usd for item in items),
        "calls": sum(item.calls for item in items),
        "projected": known(item.projected_cost_usd for item in items),
    }


def _plans(margin: MarginShown) -> Table:
    columns = [
        Column("plan", "Plan", "name"),
        Column("price", "A month", "usd"),
        Column("customers", "Customers", "count"),
        Column("losing", "At a loss", "count"),
        Column("revenue", "Revenue", "usd"),
        Column("cost", "Cost", "usd"),
        Column("margin", "Margin", "usd"),
        Column("p50", "Half cost up to", "usd"),
        Column("p90", "90 % up to", "usd"),
        Column("p99", "99 % up to", "usd"),
        Column("even_price", "Breaks even at", "usd", note="a month, for the plan as a whole"),
        Column("even", "Cap that never loses", "count", note="calls a month at the average cost of a call"),
    ]
    rows = [
        Row(
            {
                "plan": plan.plan,
                "price": nano(plan.usd_per_month),
                "customers": plan.customers,
                "losing": plan.at_loss,
                "revenue": nano(plan.revenue_usd),
                "cost": nano(plan.cost_usd),
                "margin": nano(plan.margin_usd),
                "p50": nano(plan.p50_cost_usd),
                "p90": nano(plan.p90_cost_usd),
                "p99": nano(plan.p99_cost_usd),
                "even_price": nano(plan.break_even_usd_per_month),
                "even": plan.break_even_calls,
            }
        )
        for plan in margin.plans
    ]
    empty = "No plan is configured: `plans` in the configuration says what customers pay."
    return Table("plans", "Plans", columns, rows, empty=empty)


PAGE = Page("/customers", "Customers", show, jump="u")
