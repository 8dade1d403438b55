"""Which customers and plans earn money: what each pays, by plan and by revenue rows, beside what their calls cost.

Revenue goes by calendar months. Each month that the period touches counts whole: who made a call on a plan pays its price for
that month and for every month up to the last in which he made one; where revenue rows reach into a month, the customer's rows
count in place of the plan, in proportion to the time. Costs are those of the period itself. A period in the middle of a month
sets a month's revenue against a part of its costs, and the answer says so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Engine

from pricing.values import slotted
from proxy.config.plans import Plan
from proxy.ledger.database import reading
from proxy.ledger.notes.revenue import Paid, revenue_in
from proxy.reports.apportion import apportion
from proxy.reports.known_cost import known_cost
from proxy.reports.margin.economics import fee_of
from proxy.reports.margin.on_plans import NO_PLAN, PayerKey, Places, holds, payer_key, plans_said
from proxy.reports.months import Month, month_at, months
from proxy.reports.spans import Span
from proxy.reports.spend import Sums, dearest_first, sums_each
from proxy.reports.totals import Kept


class Question(NamedTuple):
    """None: from the beginning of the running month, to its end. only: of what has these values; "" is none."""

    by: Sequence[str] = ("customer",)
    since: int | None = None
    until: int | None = None
    zone: ZoneInfo = ZoneInfo("UTC")
    only: Mapping[str, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """All that is told apart: what is asked for, and what is filtered by."""
        return tuple(dict.fromkeys([*self.by, *self.only]))

    def holds(self, values: Sequence[str | None]) -> bool:
        """values: of `names`."""
        return all(
            (value or "") == self.only.get(name, value or "") for name, value in zip(self.names, values, strict=True)
        )


@slotted
class Economy:
    """What a customer (or another group) brings in on a plan, and costs. revenue None: nobody says what it pays.

    running: what of the cost belongs to the month that is not over.
    """

    group: Mapping[str, str | None]
    plan: str | None
    revenue: int | None = None
    fee: int = 0
    cost: int = 0
    capacity: int | None = None
    calls: int = 0
    unpriced: int = 0
    running: int = 0

    def add_capacity(self, nanousd: int) -> None:
        """What it had of machines of one's own; where it had nothing of any, that is not known to be 0."""
        if nanousd:
            self.capacity = (self.capacity or 0) + nanousd

    @property
    def spent(self) -> int:
        return self.cost + (self.capacity or 0)

    @property
    def known(self) -> int | None:
        """What is spent; None where none of the calls has a price."""
        return known_cost(self.spent, self.calls, self.unpriced)

    @property
    def margin(self) -> int | None:
        """None where nobody says what is paid, or nobody knows what it costs."""
        return None if self.revenue is None or self.known is None else self.revenue - self.fee - self.spent


@slotted
class _Payer:
    """A value of the attribute that pays (a customer) on a plan: its cells are what it costs by group."""

    plan: Plan | None
    value: str | None
    cells: dict[tuple[str | None, ...], Economy] = field(default_factory=dict)
    parts: list[tuple[str, Paid, int]] = field(default_factory=list)  # of revenue rows: the month, the row, what counts
    called: dict[str, int] = field(default_factory=dict)  # a month's name -> calls
    prices: dict[str, int] = field(default_factory=dict)  # a month's name -> the plan's price then
    paid_months: set[str] = field(default_factory=set)  # months that revenue rows reach into


class Margins(NamedTuple):
    """`payers`: one for each who pays, on each plan; `items`: by what was asked for, those that lose most first."""

    since: int
    until: int
    month: Month
    items: list[Economy]
    payers: list[Economy]
    months: int
    has_rows: bool


_Payers = dict[PayerKey, _Payer]


def margins(engine: Engine, plans: Sequence[Plan], question: Question, now_us: int) -> Margins:
    """Revenue is dealt out among all calls of who pays; then what is filtered for is kept. Raises `BadQuestion`."""
    since, until, running, covered = _period(question, now_us)
    payers, has_rows = _payers_of(engine, plans, question, now_us, _alone(plans, question.only))
    each = [(payer, _settled(payer, covered)) for payer in payers]
    items = _grouped(payers, question)
    kept = [economy for payer, economy in each if any(map(question.holds, payer.cells))]
    return Margins(since, until, running, sorted(items, key=_worst_first), kept, len(covered), has_rows)


class RevenueLine(NamedTuple):
    """What a customer's revenue is made of. paid: the imported row; without one it is the price of `plan` for the month, or
    where there is no month, his share of what somebody else pays for him (`payer`)."""

    month: str | None
    plan: str | None
    paid: Paid | None
    payer: str | None
    amount: int


def revenue_lines(
    engine: Engine, plans: Sequence[Plan], question: Question, customer: str | None, now_us: int
) -> list[RevenueLine]:
    """They add up to the customer's revenue in `margins`. Raises `BadQuestion`."""
    asked = question._replace(by=("customer",), only={})
    *_, covered = _period(asked, now_us)
    lines: list[RevenueLine] = []
    for payer in _payers_of(engine, plans, asked, now_us, _alone(plans, {"customer": customer or ""}))[0]:
        name = payer.plan.name if payer.plan else None
        _settled(payer, covered)
        cell = payer.cells.get((customer,))
        if cell is None or cell.revenue is None:
            continue
        if payer.plan is not None and payer.plan.per != "customer":
            lines.append(RevenueLine(None, name, None, payer.value, cell.revenue))
            continue
        lines += [RevenueLine(month, name, paid, None, amount) for month, paid, amount in payer.parts]
        if payer.plan is not None and payer.value is not None:
            lines += [RevenueLine(month, name, None, None, price) for month, price in _due(payer, covered)]
    return sorted(lines, key=lambda line: line.month or "")


def _period(question: Question, now_us: int) -> tuple[int, int, Month, list[Month]]:
    """Since when and until when, the running month, and the months that the period touches."""
    running = month_at(now_us, question.zone)
    until = running.end if question.until is None else question.until
    since = min(running.start, month_at(until - 1, question.zone).start) if question.since is None else question.since
    return since, until, running, list(months(since, until, question.zone))


def _alone(plans: Sequence[Plan], only: Mapping[str, str]) -> str | None:
    """The customer who is asked for and who shares what he pays with nobody, so that nobody else need be read."""
    return (only.get("customer") or None) if all(plan.per == "customer" for plan in plans) else None


def _payers_of(
    engine: Engine, plans: Sequence[Plan], question: Question, now_us: int, alone: str | None
) -> tuple[list[_Payer], bool]:
    """Everybody who pays (or he alone), with what is paid by revenue rows; and whether there are any, of anybody."""
    since, until, running, covered = _period(question, now_us)
    if not covered:
        return [], False
    payers: _Payers = {}
    spans = [Span(max(since, month.start), min(until, month.end)) for month in covered]
    kept = Kept({} if alone is None else {"customer": alone}, ())
    names = _attributes(plans, question.names)
    rows_of = sums_each(engine, names, spans, kept)
    with reading(engine).connect() as connection:
        every = revenue_in(connection, covered[0].start, covered[-1].end)
    paid = [one for one in every if alone in (None, one.customer)]
    places = None
    for month, rows in zip(covered, rows_of, strict=True):
        here = [one for one in paid if one.from_at < month.end and one.to_at > month.start]
        holding, said = [plan for plan in plans if holds(plan, month)], plans_said(here)
        if places is None or (holding, said) != (places.plans, places.said):
            places = Places(names, question.names, holding, said)
        _add_month(payers, month, places, question.names, rows, here, month.name == running.name)
    return list(payers.values()), bool(every)


def _attributes(plans: Sequence[Plan], by: Sequence[str]) -> list[str]:
    """All that the calls must be told apart by; the customer always, for the revenue rows."""
    of_plans = [name for plan in plans for name in (plan.per, *plan.match)]
    asked = [name for name in by if name != "plan"]
    return list(dict.fromkeys([*asked, "customer", *of_plans]))


def _add_month(
    payers: _Payers,
    month: Month,
    places: Places,
    by: Sequence[str],
    rows: Sequence[Sums],
    paid: Sequence[Paid],
    running: bool,
) -> None:
    for values, requests, cost, unpriced, capacity in _in_order(rows, places):
        plan, key, group, price = places.of(values)
        payer = payers.get(key)
        if payer is None or payer.plan is not plan:
            payer = _payer(payers, plan, key)
        cell = payer.cells.get(group)
        if cell is None:
            cell = payer.cells[group] = Economy({}, None)
        cell.cost += cost
        if capacity:
            cell.add_capacity(capacity)
        cell.calls += requests
        cell.unpriced += unpriced
        if running:
            cell.running += cost + capacity
        payer.called[month.name] = payer.called.get(month.name, 0) + requests
        if plan is not None:
            payer.prices[month.name] = price
    for payment in paid:
        _pay(payers, payment, month, places.plan_named, by)


def _in_order(rows: Sequence[Sums], places: Places) -> Sequence[Sums]:
    """The dearest first: in that order payers and cells are met, and served where something is dealt out; and where several
    plans have one name, the last one's price counts. The order of those that were met before is nothing to anybody else."""
    if len(places.plan_named) < len(places.plans):
        return sorted(rows, key=dearest_first)
    new = [row for row in rows if not places.knows(row.values)]
    if not new:
        return rows
    return [*sorted(new, key=dearest_first), *(row for row in rows if places.knows(row.values))]


def _payer(payers: _Payers, plan: Plan | None, key: PayerKey) -> _Payer:
    payer = payers.get(key)
    if payer is None:
        payer = payers[key] = _Payer(plan, key[2])
    payer.plan = plan  # the latest month's price is the one to speak of
    return payer


def _pay(payers: _Payers, paid: Paid, month: Month, plans: Mapping[str, Plan], by: Sequence[str]) -> None:
    """A customer's revenue row: its part that lies in the month, to the customer on the plan that it names, or on the one that
    he made most calls on."""
    overlap = min(paid.to_at, month.end) - max(paid.from_at, month.start)
    # Parts of a row add up to it: each is the difference of two sums that are rounded alike.
    length = paid.to_at - paid.from_at
    until = min(paid.to_at, month.end) - paid.from_at
    amount = _rounded(paid.amount_nanousd, until, length) - _rounded(paid.amount_nanousd, until - overlap, length)
    candidates = [
        payer
        for (_, per, value), payer in payers.items()
        if per == "customer" and value == paid.customer and month.name in payer.called
    ]
    name = paid.plan or None
    if name is not None:
        candidates = [payer for payer in candidates if payer.plan is not None and payer.plan.name == name]
    if candidates:
        payer = max(candidates, key=lambda payer: payer.called.get(month.name, 0))
    else:
        plan = None if name is None else plans.get(name) or replace(NO_PLAN, name=name)
        whose = {"customer": paid.customer, **({plan.per: paid.customer} if plan else {})}
        payer = _payer(payers, plan, payer_key(plan, whose))
        group = tuple(paid.customer if one == "customer" else name if one == "plan" else None for one in by)
        payer.cells.setdefault(group, Economy({}, None))
    payer.parts.append((month.name, paid, amount))
    payer.paid_months.add(month.name)


def _rounded(amount: int, part_us: int, length_us: int) -> int:
    return round(Fraction(amount * part_us, length_us))


def _settled(payer: _Payer, covered: Sequence[Month]) -> Economy:
    """A payer's revenue, dealt out to its cells by what they cost; and the payer as a whole."""
    paid = sum(amount for _, _, amount in payer.parts)
    revenue = paid if payer.parts else None
    if payer.plan is not None and payer.value is not None:
        revenue = paid + sum(price for _, price in _due(payer, covered))
    cells = list(payer.cells.values())
    rate = payer.plan.fee if payer.plan else Decimal(0)
    fee = 0 if revenue is None else fee_of(revenue, rate)
    if revenue is not None:
        weights = [cell.spent for cell in cells] if any(cell.spent > 0 for cell in cells) else [c.calls for c in cells]
        for cell, part, fees in zip(cells, apportion(revenue, weights), apportion(fee, weights), strict=True):
            cell.revenue, cell.fee = part, fees
    whole = Economy({"customer": payer.value}, payer.plan.name if payer.plan else None, revenue, fee)
    for cell in cells:
        whole.cost += cell.cost
        whole.add_capacity(cell.capacity or 0)
        whole.calls += cell.calls
        whole.unpriced += cell.unpriced
    return whole


def _due(payer: _Payer, covered: Sequence[Month]) -> list[tuple[str, int]]:
    """The plan's price of each month, from the first with a call to the last, but for months that revenue rows reach into."""
    called = [number for number, month in enumerate(covered) if payer.called.get(month.name)]
    due, price = [], 0
    for month in covered[called[0] : called[-1] + 1] if called else ():
        price = payer.prices.get(month.name, price)
        if month.name not in payer.paid_months:
            due.append((month.name, price))
    return due


def _grouped(payers: Iterable[_Payer], question: Question) -> list[Economy]:
    grouped: dict[tuple[Any, ...], Economy] = {}
    for payer in payers:
        plan = payer.plan.name if payer.plan else None
        for all_values, cell in payer.cells.items():
            if not question.holds(all_values):
                continue
            values = all_values[: len(question.by)]
            key = (*values, plan)
            names = zip(question.by, values, strict=True)
            item = grouped.setdefault(key, Economy({name: value for name, value in names if name != "plan"}, plan))
            if cell.revenue is not None:
                item.revenue = (item.revenue or 0) + cell.revenue
            item.fee += cell.fee
            item.cost += cell.cost
            item.add_capacity(cell.capacity or 0)
            item.calls += cell.calls
            item.unpriced += cell.unpriced
            item.running += cell.running
    return list(grouped.values())


def _worst_first(item: Economy) -> tuple[Any, ...]:
    """Those that lose most first; those of whom no revenue is known last, the dearest first."""
    unknown = item.margin is None
    return unknown, item.margin or 0, -item.spent, *[(value is not None, value or "") for value in item.group.values()]


def plans_by_name(plans: Sequence[Plan]) -> dict[str, Plan]:
    """The latest of each name."""
    return {plan.name: plan for plan in plans}


def at_loss(margins: Margins) -> dict[str, list[Economy]]:
    """Plan -> who costs more than he pays on it."""
    losers: dict[str, list[Economy]] = defaultdict(list)
    for payer in margins.payers:
        if payer.plan is not None and payer.margin is not None and payer.margin < 0:
            losers[payer.plan].append(payer)
    return losers
