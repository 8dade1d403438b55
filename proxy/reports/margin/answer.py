"""The margin report as it leaves: JSON, rows, and what to know of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy.engine import Engine

from proxy.config.plans import Plan
from proxy.money import NANO, usd_text
from proxy.reports.answers import About, Answer, Grouped, about, unpriced_caveats
from proxy.reports.known_cost import known_cost
from proxy.reports.margin.economics import break_even_calls, break_even_price, percentile, projected
from proxy.reports.margin.margin import Economy, Margins, Question, at_loss, margins, plans_by_name
from proxy.times import rfc3339

_COLUMNS = (
    "plan", "revenue_usd", "fee_usd", "cost_usd", "capacity_usd", "margin_usd", "margin_rate", "calls", "cost_per_call_usd",
    "break_even_calls", "break_even_calls_at_target", "calls_left", "projected_cost_usd", "unpriced_requests",
)  # fmt: skip


class MarginItem(Grouped):
    """Of one customer, or another group, on one plan. null: not known (no plan and no revenue row, no priced call). cost_usd:
    of the calls that have a price.

    break_even_calls: after how many calls the revenue less its fee is used up at what they cost on average;
    break_even_calls_at_target: and the target margin is left over. calls_left: until break_even_calls, at least 0.
    """

    plan: str | None
    revenue_usd: str | None
    fee_usd: str | None
    cost_usd: str
    capacity_usd: str | None
    margin_usd: str | None
    margin_rate: str | None
    calls: int
    cost_per_call_usd: str | None
    break_even_calls: int | None
    break_even_calls_at_target: int | None
    calls_left: int | None
    projected_cost_usd: str | None
    unpriced_requests: int


class MarginPlan(BaseModel):
    """One plan: of `customers` that made a call, `at_loss` cost more than they pay. break_even_usd_per_month: the price at
    which the plan as a whole earns its cost; break_even_calls: the cap of calls a month at which no customer of the average
    cost per call makes a loss."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: str
    usd_per_month: str | None
    customers: int
    at_loss: int
    at_loss_share: str | None
    revenue_usd: str
    cost_usd: str
    margin_usd: str
    p50_cost_usd: str | None
    p90_cost_usd: str | None
    p99_cost_usd: str | None
    break_even_usd_per_month: str | None
    break_even_calls: int | None
    break_even_calls_at_target: int | None


class Projection(BaseModel):
    """How `projected_cost_usd` was found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    basis: str
    until: str | None


class MarginShown(BaseModel):
    """Those that lose most first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: list[MarginItem]
    plans: list[MarginPlan]
    projection: Projection
    about: About


def margin_answer(engine: Engine, plans: Sequence[Plan], question: Question, now_us: int) -> Answer:
    """Raises `BadQuestion`."""
    shown = shown_of(margins(engine, plans, question, now_us), plans, question, now_us)
    rows = [item.model_dump() | {"cost_usd": cost_of(item)} for item in shown.items]
    return Answer(shown, rows, (*[name for name in question.by if name != "plan"], *_COLUMNS), _said(shown))


def shown_of(
    result: Margins, plans: Sequence[Plan], question: Question, now_us: int, most: int | None = None
) -> MarginShown:
    """most: no more items than so many; all else is of all of them."""
    plan_named = plans_by_name(plans)
    return MarginShown(
        items=[item_of(item, plan_named, result, now_us) for item in result.items[:most]],
        plans=_plans(result, plan_named),
        projection=_projection(result, now_us),
        about=about(result.since, result.until, question.zone.key, _sources(result, plans), _caveats(result, plans)),
    )


def item_of(item: Economy, plans: Mapping[str, Plan], result: Margins, now_us: int) -> MarginItem:
    """plans: the latest of each name."""
    plan = plans.get(item.plan or "")
    fee, target = (plan.fee, plan.target_margin) if plan else (Decimal(0), Decimal(0))
    calls = item.calls - item.unpriced  # an average of what is known
    revenue, margin = item.revenue, item.margin
    even = at_target = None
    if revenue is not None:
        even = break_even_calls(revenue, 1 - fee, item.spent, calls)
        at_target = break_even_calls(revenue, 1 - fee - target, item.spent, calls)
    return MarginItem(
        **item.group,
        plan=item.plan,
        revenue_usd=_usd(revenue),
        fee_usd=None if revenue is None else usd_text(item.fee),
        cost_usd=usd_text(item.cost),
        capacity_usd=_usd(item.capacity),
        margin_usd=_usd(margin),
        margin_rate=None if margin is None or not revenue or revenue < 0 else rate(margin, revenue),
        calls=item.calls,
        cost_per_call_usd=usd_text(round(Fraction(item.spent, calls))) if calls else None,
        break_even_calls=even,
        break_even_calls_at_target=at_target,
        calls_left=None if even is None else max(0, even - item.calls),
        projected_cost_usd=_usd(ahead_of(item, result, now_us)),
        unpriced_requests=item.unpriced,
    )


def cost_of(item: MarginItem) -> str | None:
    """As people are shown it: None where none of the calls has a price."""
    return known_cost(item.cost_usd, item.calls, item.unpriced_requests)


def ahead_of(item: Economy, result: Margins, now_us: int) -> int | None:
    """What it will have cost by the end of the period; None where that is not known, or not yet."""
    if item.known is None:
        return None
    elapsed = max(0, now_us - result.month.start)
    ends = result.until >= result.month.end and result.since < result.month.end
    return projected(item.spent, item.running, elapsed, result.month.length_us) if ends else item.spent


def rate(part: int, whole: int) -> str:
    """A share to six decimals, without needless zeros."""
    text = f"{Decimal(part) / Decimal(whole):.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _usd(nanousd: int | None) -> str | None:
    return None if nanousd is None else usd_text(nanousd)


def _plans(result: Margins, plan_named: dict[str, Plan]) -> list[MarginPlan]:
    """In the order of the configuration; plans that only revenue rows name behind them."""
    payers: dict[str, list[Economy]] = defaultdict(list)
    for payer in result.payers:
        if payer.plan is not None and payer.group["customer"] is not None:
            payers[payer.plan].append(payer)
    losers = at_loss(result)
    names = [*plan_named, *sorted(set(payers) - set(plan_named))]
    return [_plan(name, plan_named.get(name), payers[name], len(losers.get(name, ())), result.months) for name in names]


def _plan(name: str, plan: Plan | None, payers: Sequence[Economy], losing: int, months: int) -> MarginPlan:
    fee, target = (plan.fee, plan.target_margin) if plan else (Decimal(0), Decimal(0))
    costs = [payer.spent for payer in payers]
    cost, revenue = sum(costs), sum(payer.revenue or 0 for payer in payers)
    calls = sum(payer.calls - payer.unpriced for payer in payers)
    price = int(plan.usd_per_month * NANO) if plan else None
    even = break_even_price(cost, len(payers) * months, fee)
    shares = [percentile(costs, percent) for percent in (50, 90, 99)]
    return MarginPlan(
        plan=name,
        usd_per_month=_usd(price),
        customers=len(payers),
        at_loss=losing,
        at_loss_share=rate(losing, len(payers)) if payers else None,
        revenue_usd=usd_text(revenue),
        cost_usd=usd_text(cost),
        margin_usd=usd_text(sum(payer.margin or 0 for payer in payers)),
        p50_cost_usd=_usd(shares[0]),
        p90_cost_usd=_usd(shares[1]),
        p99_cost_usd=_usd(shares[2]),
        break_even_usd_per_month=_usd(even),
        break_even_calls=None if price is None else break_even_calls(price, 1 - fee, cost, calls),
        break_even_calls_at_target=None if price is None else break_even_calls(price, 1 - fee - target, cost, calls),
    )


def _projection(result: Margins, now_us: int) -> Projection:
    month = result.month
    if result.until < month.end or result.since >= month.end:
        return Projection(basis="the period is over: its cost", until=rfc3339(result.until))
    share = rate(min(month.length_us, max(0, now_us - month.start)), month.length_us)
    basis = f"what all of {month.name} costs if it goes on as in the {share} of it so far; not known in its first hour"
    return Projection(basis=basis, until=rfc3339(month.end))


def _sources(result: Margins, plans: Sequence[Plan]) -> list[str]:
    sources = ["cost (price, and own capacity) and calls: the ledger's roll-ups, the edges and labels from its entries"]
    if plans:
        sources.append("revenue: `plans` of the configuration, a price for each month in which a customer called")
    if result.has_rows:
        sources.append("revenue: imported rows, in place of the plan's price in the months that they reach into")
    return sources


def _caveats(result: Margins, plans: Sequence[Plan]) -> list[str]:
    caveats = []
    if not plans and not result.has_rows:
        caveats.append("no revenue is known: write `plans` into the configuration, or use `taximeter revenue import`")
    month_start = result.month.start
    if result.since != month_start or result.until != result.month.end:
        caveats.append(
            "revenue is that of whole months: of a month that the period holds in part, the costs are a part and the "
            "revenue is not"
        )
    return caveats + unpriced_caveats(sum(item.unpriced for item in result.items))


def _said(shown: MarginShown) -> list[str]:
    lines: list[Any] = []
    for plan in shown.plans:
        even = f", it breaks even at ${plan.break_even_usd_per_month} a month" if plan.break_even_usd_per_month else ""
        spread = f", half cost up to ${plan.p50_cost_usd}, 99 % up to ${plan.p99_cost_usd}" if plan.p99_cost_usd else ""
        lines.append(f"Plan {plan.plan}: {plan.customers} customers, {plan.at_loss} at a loss{spread}{even}.")
    lines += [f"Projection: {shown.projection.basis}."]
    lines += [f"From: {source}." for source in shown.about.sources]
    lines += [f"Note: {caveat}." for caveat in shown.about.caveats]
    return lines
