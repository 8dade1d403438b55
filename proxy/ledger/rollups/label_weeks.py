"""Seven days, and calendar months of UTC, of what is added up by labels and all names (`label_days.py`), added up from the
days, for long times.

The recorder knows nothing of it. A week or month stands for its days as long as each of them is added up and they came to what
they came to then: a day counts the changes that it was added up after, which only grow. Of one with too many groups, or with a
day that is not added up, the days are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.database import reading
from proxy.ledger.parts_schema import (
    label_months,
    label_weeks,
    spend_impersonal_months,
    spend_impersonal_weeks,
    spend_label_months,
    spend_label_weeks,
)
from proxy.ledger.rollup_schema import ALL_NAMES, SUMS, spend_days, spend_units
from proxy.ledger.rollups.label_days import (
    DAYS,
    MOST_GROUPS,
    SETTLED_US,
    AddedUp,
    Group,
    Stretch,
    Values,
    add_up,
    added_up_by,
    days_over,
    latest_stale,
    names_text,
    stretches,
    wanted_names,
    whole_text,
    write,
)
from proxy.ledger.rollups.sums import MONTH_US, WEEK_US, end_of, start_of
from proxy.ledger.schema import horizon

WEEKS = Stretch(WEEK_US, spend_label_weeks, spend_impersonal_weeks, label_weeks, spend_days)
MONTHS = Stretch(MONTH_US, spend_label_months, spend_impersonal_months, label_months, spend_days)
OF_DAYS = (MONTHS, WEEKS)  # the longest first

State = tuple[int, AddedUp | None]
"""Where a stretch with entries begins, and what it is added up by; None where it is not, or no more."""


def add_up_a_week(engine: Engine, now_us: int) -> bool:
    """Add up the latest week that is over, whose days are added up, and that is not; False where there is none.

    Several instances may do so at once.
    """
    return _add_up(engine, WEEKS, now_us)


def add_up_a_month(engine: Engine, now_us: int) -> bool:
    """As `add_up_a_week`, a month."""
    return _add_up(engine, MONTHS, now_us)


def add_up_days(engine: Engine, names: Iterable[str], now_us: int) -> bool:
    """As `add_up_a_day`, and a week or a month if there is one: the days are looked through once for all of them."""
    wanted = wanted_names(names)
    with reading(engine).connect() as connection:
        days = list(stretches(connection, DAYS, None, days_over(now_us)))
        since = horizon(connection) or 0
        day = latest_stale([state for state in days if state[0] >= since], wanted)
        each = (_added_up(connection, stretch, days, now_us) for stretch in (WEEKS, MONTHS))
        longer = next((one for one in each if one is not None), None)
    if longer is not None:
        longer.write(engine)
    return (day is not None and add_up(engine, DAYS, day, wanted)) or longer is not None


def _add_up(engine: Engine, stretch: Stretch, now_us: int) -> bool:
    with reading(engine).connect() as connection:
        added = _added_up(connection, stretch, stretches(connection, DAYS, None, days_over(now_us)), now_us)
    if added is not None:
        added.write(engine)
    return added is not None


class _AddedUp(NamedTuple):
    """A week or month as its days come to; groups None: too many."""

    stretch: Stretch
    start_at: int
    days: AddedUp
    groups: Mapping[Values, Group] | None

    def write(self, engine: Engine) -> None:
        text = "[]" if self.groups is None else names_text(self.days.labels)
        whole = None if self.groups is None else whole_text(self.days.built, text)
        as_it_is = self.days._asdict() | {"names": text, "whole": whole}
        del as_it_is["labels"]
        write(engine, self.stretch, self.start_at, as_it_is, self.groups or {}, {})


def _added_up(connection: Connection, stretch: Stretch, days: Iterable[State], now_us: int) -> _AddedUp | None:
    """The latest that is over, whose days are added up, and that is not. days: all that are over."""
    until = start_of(now_us - SETTLED_US, stretch.length_us)
    stale = [
        (start_at, together)
        for start_at, together, added in _each(connection, stretch, (state for state in days if state[0] < until))
        if together is not None
        and (added is None or not (added.is_left_out or set(together.labels) <= set(added.labels)))
    ]
    if not stale:
        return None
    start_at, together = stale[-1]
    return _AddedUp(stretch, start_at, together, _groups(connection, start_at, end_of(start_at, stretch.length_us)))


def states_of_days(connection: Connection, stretch: Stretch, days: Iterable[State]) -> list[State]:
    """Every week or month of these days, which are all of its days."""
    return [(start_at, added) for start_at, _, added in _each(connection, stretch, days)]


def _each(
    connection: Connection, stretch: Stretch, days: Iterable[State]
) -> Iterator[tuple[int, AddedUp | None, AddedUp | None]]:
    """Where each begins, what its days are added up by together (None: not all of them are, by all names), and what it is
    itself; None where it is not, or no more."""
    query = sa.select(stretch.state).where(stretch.state.c.names.is_not(None))
    state_of = {row.start_at: row for row in connection.execute(query)}
    days_of: dict[int, list[AddedUp | None]] = defaultdict(list)
    for start_at, added in days:
        days_of[start_of(start_at, stretch.length_us)].append(added)
    for start_at, some in sorted(days_of.items()):
        together, row = _together(some), state_of.get(start_at)
        is_so = row is not None and together is not None and _came_to(row) == _came_to(together)
        yield start_at, together, added_up_by(row) if is_so else None


def _together(days: Sequence[AddedUp | None]) -> AddedUp | None:
    whole = [day for day in days if day is not None and day.whole]
    if len(whole) < len(days):
        return None
    labels = set.intersection(*(set(day.labels) for day in whole))
    built, requests, cost = (sum(numbers) for numbers in zip(*map(_came_to, whole), strict=True))
    return AddedUp(sorted(labels), True, built, requests, cost)


def _came_to(state: Any) -> tuple[int, int, int]:
    return state.built, state.requests, state.cost_nanousd


def _groups(connection: Connection, since: int, until: int) -> Mapping[Values, Group] | None:
    """What the days come to; None where there are too many groups."""
    table = DAYS.sums
    within = sa.and_(table.c.start_at >= since, table.c.start_at < until)
    names = [sa.func.max(table.c[name]) for name in (*ALL_NAMES, "labels")]  # of one group all are the same
    sums = [sa.func.sum(table.c[name]) for name in SUMS]
    query = sa.select(table.c.group, *names, *sums).where(within).group_by(table.c.group).limit(MOST_GROUPS + 1)
    groups: dict[Values, Group] = {}
    by_digest: dict[str, Group] = {}
    for key, *row in connection.execute(query):
        group = by_digest[key] = groups[tuple(row[: len(names)])] = Group()
        group.numbers = [int(number) for number in row[len(names) :]]
    if len(groups) > MOST_GROUPS:
        return None
    units = sa.select(spend_units.c.group, spend_units.c.unit, spend_units.c.scale, spend_units.c.amount).where(
        spend_units.c.rollup == table.name,
        spend_units.c.start_at >= since,
        spend_units.c.start_at < until,
    )
    for key, unit, scale, amount in connection.execute(units):
        by_digest[key].units[unit, scale] += int(amount)
    return groups
