"""A month charged back: what each team, customer or cost centre is charged, in cents that add up to the total.

A closed month is what it was when it was closed. What comes later (a correction, a late settlement) is the difference of what
the ledger says of it now and what was charged for it, and belongs to the first month after it that is not closed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Engine

from proxy.ledger.database import reading
from proxy.ledger.notes.closings import Closing, closings
from proxy.money import NANO, is_short
from proxy.reports.apportion import in_parts
from proxy.reports.known_cost import known_cost
from proxy.reports.months import Month, after, before
from proxy.reports.spend import SpendRow, spend
from proxy.times import BadQuestion

CENT = NANO // 100
_MOST_MARK_UP = 100
_CENTRE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_TAKEN = frozenset({"month", "cost_usd", "charge_usd", "share", "change_usd"})

Values = tuple[str | None, ...]
Costs = dict[Values, int]


class Mapped(NamedTuple):
    """Whose cost goes to which cost centre: the value of `attribute` -> that of `name`."""

    attribute: str
    name: str
    centres: Mapping[str, str]


class MonthQuestion(NamedTuple):
    """mark_up: 0.10 charges a tenth more than it cost. mapped: in place of `by`. only: of what has these values; "" is none."""

    month: Month
    by: Sequence[str]
    mark_up: Decimal = Decimal(0)
    mapped: Mapped | None = None
    zone: ZoneInfo = ZoneInfo("UTC")
    only: Mapping[str, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return (self.mapped.name,) if self.mapped else tuple(self.by)


class Charge(NamedTuple):
    """What one group is charged: nano-USD, and whole cents. month: the closed month that an adjustment is for."""

    month: str
    values: Values
    cost: int
    cents: int


class Charged(NamedTuple):
    """A month: its charges, what is adjusted of closed ones, what each group cost in the month before, and how many of its
    calls have no price."""

    charges: Sequence[Charge]
    adjustments: Sequence[Charge]
    previous: Costs
    unpriced: int = 0


def mark_up_of(text: str) -> Decimal:
    """Raises `BadQuestion`."""
    try:
        mark_up = Decimal(text)
    except InvalidOperation:
        mark_up = Decimal("NaN")
    if not is_short(mark_up) or not 0 <= mark_up <= _MOST_MARK_UP:
        raise BadQuestion(f"{text!r} is not a mark-up: write a share such as 0.10, at most {_MOST_MARK_UP}")
    return mark_up


def mapping_of(lines: Iterable[str]) -> Mapped:
    """A CSV text with two columns: an attribute (team, customer, label.NAME), and where its cost goes. Raises `BadQuestion`."""
    rows = [row for row in csv.reader(lines) if any(cell.strip() for cell in row)]
    if not rows or any(len(row) != 2 for row in rows):
        raise BadQuestion("the mapping needs a header and rows of two columns, such as team,cost_centre")
    (attribute, name), *pairs = [[cell.strip().lstrip("\ufeff") for cell in row] for row in rows]
    if not attribute or not name:
        raise BadQuestion("the mapping's header names an attribute and what it is mapped to, such as team,cost_centre")
    if not _CENTRE.fullmatch(name) or name in _TAKEN:
        raise BadQuestion(f"{name!r} is not a name for what the mapping leads to: write one such as cost_centre")
    centres = dict(pairs)
    if len(centres) < len(pairs):
        twice = next(value for number, (value, _) in enumerate(pairs) if value in [v for v, _ in pairs[:number]])
        raise BadQuestion(f"the mapping has {attribute} {twice!r} twice")
    return Mapped(attribute, name, centres)


def charged(engine: Engine, question: MonthQuestion) -> Charged:
    """What the month comes to now, closed or not. Raises `BadQuestion`."""
    month, zone = question.month, question.zone
    with reading(engine).connect() as connection:
        closed = closings(connection, ",".join(question.names), zone.key)
    previous = before(month, zone)
    closed_before = closed.get(previous.name)
    earlier = _closed_costs(closed_before, question.names) if closed_before else costs(engine, question, previous)
    return Charged(
        charges=in_cents(month.name, costs(engine, question, month), question.mark_up),
        adjustments=[] if month.name in closed else _adjustments(engine, question, closed),
        previous=earlier,
        unpriced=unpriced_in(engine, question),
    )


def costs(engine: Engine, question: MonthQuestion, month: Month) -> Costs:
    """What each group cost in the month, by the ledger of now."""
    mapped = question.mapped
    by_group: Costs = {}
    for row in spend(engine, [mapped.attribute] if mapped else question.by, month.start, month.end):
        values = _mapped_to(mapped, row)
        by_group[values] = by_group.get(values, 0) + row.cost_nanousd
    return by_group


def unpriced_in(engine: Engine, question: MonthQuestion) -> int:
    """How many of the month's calls (that are asked for) have no price."""
    month = question.month
    return spend(engine, [], month.start, month.end, only=question.only, with_tokens=False)[0].unpriced_requests


def without_price(engine: Engine, question: MonthQuestion) -> set[Values]:
    """The groups of whose calls in the month none has a price, so that nobody knows what they cost."""
    month, mapped = question.month, question.mapped
    by = [mapped.attribute] if mapped else question.by
    sums: dict[Values, tuple[int, int, int]] = {}
    for row in spend(engine, by, month.start, month.end, only=question.only, with_tokens=False):
        values = _mapped_to(mapped, row)
        cost, calls, unpriced = sums.get(values, (0, 0, 0))
        sums[values] = cost + row.cost_nanousd, calls + row.requests, unpriced + row.unpriced_requests
    return {values for values, sum_of in sums.items() if known_cost(*sum_of) is None}


def _mapped_to(mapped: Mapped | None, row: SpendRow) -> Values:
    """Whose a row is: by its own values, or where these lead to."""
    values = tuple(row.group.values())
    if mapped is None:
        return values
    return (mapped.centres.get(values[0] or ""),)


def in_cents(month: str, by_group: Costs, mark_up: Decimal) -> list[Charge]:
    """The dearest first. The total is rounded once, half to even; the parts add up to it by largest remainder."""
    groups = sorted(by_group, key=lambda values: (-by_group[values], str(values)))
    factor = (1 + Fraction(mark_up)) / CENT
    total = round(sum(by_group.values()) * factor)
    numerators = [by_group[values] * factor.numerator for values in groups]
    return [
        Charge(month, values, by_group[values], cents)
        for values, cents in zip(groups, in_parts(total, numerators, factor.denominator), strict=True)
    ]


def _adjustments(engine: Engine, question: MonthQuestion, closed: Mapping[str, Closing]) -> list[Charge]:
    """What changed of the closed months right before this one, less what later closed months adjusted of them already."""
    charges: list[Charge] = []
    month = before(question.month, question.zone)
    while (closing := closed.get(month.name)) is not None:
        left = costs(engine, question, month)
        for values, cost in _closed_costs(closing, question.names).items():
            left[values] = left.get(values, 0) - cost
        later = after(month, question.zone)
        while later.start < question.month.start:
            for item in closed[later.name].adjustments:
                if item["month"] == month.name:
                    values = _values(item, question.names)
                    left[values] = left.get(values, 0) - _nano(item["cost_usd"])
            later = after(later, question.zone)
        changed = {values: cost for values, cost in left.items() if cost}
        charges += in_cents(month.name, changed, Decimal(closing.mark_up))
        month = before(month, question.zone)
    return charges


def _closed_costs(closing: Closing, names: Sequence[str]) -> Costs:
    costs: Costs = {}
    for item in closing.items:
        values = _values(item, names)
        costs[values] = costs.get(values, 0) + _nano(item["cost_usd"])
    return costs


def _values(item: Mapping[str, Any], names: Sequence[str]) -> Values:
    """Of a closed month's item, which may have been closed when "" was a group beside null."""
    return tuple(item[name] or None for name in names)


def _nano(usd: str) -> int:
    return int((Decimal(usd) * NANO).to_integral_value(ROUND_HALF_EVEN))
