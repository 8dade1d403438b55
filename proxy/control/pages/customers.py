"""`/customers`: what each pays and costs, who loses money, and where each plan breaks even."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from proxy.config.plans import Plan
from proxy.control.pages import attributes, view
from proxy.control.pages.address import Address
from proxy.control.pages.api_address import api_address
from proxy.control.pages.page import Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Rest, Row, Table, more_of, nano, top_of
from proxy.control.pages.trial_plans import lines_of, trial_plans
from proxy.reports.known_cost import known_cost
from proxy.reports.margin.answer import MarginItem, MarginPlan, MarginShown, ahead_of, cost_of, item_of, shown_of
from proxy.reports.margin.margin import Economy, Margins, Question, margins, plans_by_name

_BY = ("customer",)


def show(request: PageRequest) -> PageContent:
    """Customers on their plans, those that lose most first. `?by=` groups otherwise. Raises `BadQuestion`."""
    since, until = request.moments()
    by = request.address.by or _BY
    question = Question(by, since, until, request.address.zone, request.address.only)
    configured = request.state.config().plans
    plans, changed = trial_plans(configured, request.address)
    every = margins(request.state.engine, plans, question, request.now_us)
    margin = shown_of(every, plans, question, request.now_us, top_of(request.address))
    before = margin_of(request, configured, question) if changed else None
    values = {
        "said": [f"Projection: {margin.projection.basis}."],
        "caveats": margin.about.caveats,
        "unpriced": str(calls_of(request, margin, "/calls").filtered("priced", "no")),
        "sources": margin.about.sources,
        "by": ",".join(by),
        "choices": ("customer", "team", "key", "user", "plan", "model"),
        "plans": _editable(request, plans, margin, before),
        "changed": changed,
        "lines": lines_of(plans) if changed else "",
        "as_configured": str(
            request.address._replace(rest=tuple(pair for pair in request.address.rest if pair[0] == "top"))
        ),
    }
    return PageContent(
        "customers",
        "Customers",
        values,
        (_customers(request, margin, every, plans), _plans(request, margin)),
        api=api_address(request, "/api/reports/margin", by=by),
    )


def margin_of(request: PageRequest, plans: Sequence[Plan], question: Question) -> MarginShown:
    return shown_of(margins(request.state.engine, plans, question, request.now_us), plans, question, request.now_us)


def _editable(
    request: PageRequest, plans: Sequence[Plan], margin: MarginShown, before: MarginShown | None
) -> list[dict[str, Any]]:
    """A row of the form for each plan: what is in its fields, and what the change does."""
    after, earlier = ({plan.plan: plan for plan in one.plans} if one else {} for one in (margin, before))
    rows = []
    for name, plan in {plan.name: plan for plan in plans}.items():
        is_new = name == request.address.get("plan")
        rows.append({
            "name": name,
            "is_new": is_new,
            "usd": f"{plan.usd_per_month.normalize():f}",
            "fee": f"{plan.fee.normalize():f}" if plan.fee else "",
            "target": f"{plan.target_margin.normalize():f}" if plan.target_margin else "",
            "difference": _difference(after.get(name), None if is_new else earlier.get(name)) if before else "",
        })  # fmt: skip
    return rows


def _difference(after: MarginPlan | None, before: MarginPlan | None) -> str:
    """What a plan comes to, beside what it does as configured."""
    if after is None:
        return ""
    amounts = [nano(after.margin_usd), nano(before.margin_usd) if before else None]
    margin, earlier = (view.usd(amount, view.decimals_for(amounts)) for amount in amounts)
    if before is None:
        return f"margin {margin}, {after.at_loss} of {after.customers} at a loss"
    losing = f"{after.at_loss} of {after.customers} at a loss instead of {before.at_loss}"
    return f"margin {margin} instead of {earlier}, {losing}"


def _customers(request: PageRequest, margin: MarginShown, every: Margins, plans: Sequence[Plan]) -> Table:
    """margin: with the items that are shown; every: with all of them."""
    by = request.address.by or _BY
    names = [name for name in by if name != "plan"]
    columns = [
        *[Column(name, name.replace(".", " ").capitalize(), "name") for name in names],
        Column("plan", "Plan", "name"),
        Column("revenue", "Revenue", "usd"),
        Column("cost", "Cost", "usd"),
        Column("capacity", "Own GPUs", "usd"),
        Column("margin", "Margin", "usd"),
        Column("rate", "Of revenue", "percent"),
        Column("calls", "Calls", "count"),
        Column("each", "Each call", "rate"),
        Column("even", "Breaks even at", "count", note="calls, at what they cost on average"),
        Column("left", "Calls left", "count"),
        Column("projected", "Month's cost", "usd", note="projected to the end of the month"),
        Column("unpriced", "Unpriced", "count"),
    ]
    top = len(margin.items)
    others = every.items[top:]
    rest = None
    if others:
        link = {(names or ["plan"])[0]: more} if (more := more_of(request.address, top)) else {}
        named = {(names or ["plan"])[0]: f"other ({len(others):,})"}
        known = plans_by_name(plans)
        rest = Rest(
            Row(_sums(others, every, request.now_us) | named, link, muted=True, to="".join(link.values())),
            lambda: [_row(request, margin, item_of(item, known, every, request.now_us), names) for item in others],
        )
    rows = [_row(request, margin, item, names) for item in margin.items]
    calls = calls_of(request, margin, "/calls")
    total = Row(
        _sums(every.items, every, request.now_us) | {"plan": "", (names or ["plan"])[0]: "total"},
        {"unpriced": str(calls.filtered("priced", "no"))},
        to=str(calls),
    )
    return Table("customers", "Customers", columns, rows, total if rows else None, rest=rest)


def _row(request: PageRequest, margin: MarginShown, item: MarginItem, names: Sequence[str]) -> Row:
    group = item.__pydantic_extra__ or {}
    here, sessions = request.address, calls_of(request, margin, "/spend")._replace(by=("session",))
    values = {name: group.get(name) for name in names}
    narrowed, sessions = (attributes.narrowed(one, values, request.now_us) for one in (here, sessions))
    calls, customer = sessions.at("/calls"), group.get("customer")
    # What makes a customer's numbers has a page of its own; of another group's it is the customers in it.
    deeper = narrowed._replace(by=("customer",))
    if customer:
        deeper = narrowed.unfiltered("customer").at(f"/customers/{view.part(customer)}")
    left = nano(item.margin_usd)
    cells = {
        **{name: group.get(name) or attributes.NOBODY for name in names},
        "plan": item.plan,
        "revenue": nano(item.revenue_usd),
        "cost": nano(cost_of(item)),
        "capacity": nano(item.capacity_usd),
        "margin": left,
        "rate": None if item.margin_rate is None else 100 * float(item.margin_rate),
        "calls": item.calls,
        "each": nano(item.cost_per_call_usd),
        "even": item.break_even_calls,
        "left": item.calls_left,
        "projected": nano(item.projected_cost_usd),
        "unpriced": item.unpriced_requests,
    }
    links = {"calls": str(calls), "each": str(calls), "cost": str(sessions)}
    links |= {"unpriced": str(calls.filtered("priced", "no"))}
    links |= {"capacity": str(here.at("/capacity")._replace(filters=()))} | ({names[0]: str(sessions)} if names else {})
    if item.plan:
        links["plan"] = str(here.filtered("plan", item.plan))
    return Row(cells, links, bad=("margin", "rate") if (left or 0) < 0 else (), to=str(deeper))


def calls_of(request: PageRequest, margin: MarginShown, path: str) -> Address:
    """Where the calls of these customers are. A plan is no attribute of a call."""
    here = request.address.at(path).unfiltered("plan")
    return here._replace(since=here.since or margin.about.since or "")


def _sums(items: Sequence[Economy], every: Margins, now_us: int) -> dict[str, Any]:
    """Of what is known; None where that is nothing."""

    def known(amounts: Iterable[int | None]) -> int | None:
        parts = [amount for amount in amounts if amount is not None]
        return sum(parts) if parts else None

    return {
        "revenue": known(item.revenue for item in items),
        "cost": known_cost(
            sum(item.cost for item in items), sum(item.calls for item in items), sum(item.unpriced for item in items)
        ),
        "capacity": known(item.capacity for item in items),
        "margin": known(item.margin for item in items),
        "calls": sum(item.calls for item in items),
        "projected": known(ahead_of(item, every, now_us) for item in items),
        "unpriced": sum(item.unpriced for item in items),
    }


def _plans(request: PageRequest, margin: MarginShown) -> Table:
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
            },
            bad=("margin",) if (nano(plan.margin_usd) or 0) < 0 else (),
            to=str(request.address.filtered("plan", plan.plan)),
        )
        for plan in margin.plans
    ]
    empty = "No plan is configured: `plans` in the configuration says what customers pay."
    return Table("plans", "Plans", columns, rows, empty=empty)


PAGE = Page("/customers", "Customers", show, shortcut="u", whole="this month")
