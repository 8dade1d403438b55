"""Seven days at a time of what is added up by labels and all names (`label_days.py`), added up from the days, for long times.

The recorder knows nothing of it. A week stands for its days as long as each of them is added up and they came to what they
came to then: a day counts the changes that it was added up after, which only grow. Of a week with too many groups, or with a
day that is not added up, the days are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.database import reading
from proxy.ledger.label_days import (
    DAYS,
    MOST_GROUPS,
    SETTLED_US,
    AddedUp,
    Cover,
    Group,
    Stretch,
    Values,
    added_up_by,
    cover_of,
    names_text,
    stretches,
    whole_text,
    write,
)
from proxy.ledger.parts_schema import label_weeks, spend_impersonal_weeks, spend_label_weeks
from proxy.ledger.rollup_schema import ALL_NAMES, SUMS, spend_days, spend_units
from proxy.ledger.rollups import WEEK_US

WEEKS = Stretch(WEEK_US, spend_label_weeks, spend_impersonal_weeks, label_weeks, spend_days)


def covered_weeks(connection: Connection, since: int | None, until: int | None, labels: Sequence[str]) -> Cover:
    """As `covered`, whole weeks."""
    weeks = ((start_at, added) for start_at, _, added in _weeks(connection, since, until))
    return cover_of(weeks, WEEKS, labels, whole=True)


def add_up_a_week(engine: Engine, now_us: int) -> bool:
    """Add up the latest week that is over, whose days are added up, and that is not; False where there is none.

    Several instances may do so at once.
    """
    until = (now_us - SETTLED_US) // WEEK_US * WEEK_US
    with reading(engine).connect() as connection:
        stale = [
            (start_at, days)
            for start_at, days, added in _weeks(connection, None, until)
            if days is not None and (added is None or not (added.is_left_out or set(days.labels) <= set(added.labels)))
        ]
        if not stale:
            return False
        start_at, days = stale[-1]
        groups = _groups(connection, start_at)
    text = "[]" if groups is None else names_text(days.labels)
    as_it_is = days._asdict() | {"names": text, "whole": None if groups is None else whole_text(days.built, text)}
    del as_it_is["labels"]
    write(engine, WEEKS, start_at, as_it_is, groups or {}, {})
    return True


def _weeks(
    connection: Connection, since: int | None, until: int | None
) -> Iterator[tuple[int, AddedUp | None, AddedUp | None]]:
    """Every week with entries: where it begins, what its days are added up by together (None: not all of them are, by all
    names), and what it is itself; None where it is not, or no more."""
    since = None if since is None else since - since % WEEK_US
    until = None if until is None else until + -until % WEEK_US
    state_of = {
        row.start_at: row for row in connection.execute(sa.select(label_weeks).where(label_weeks.c.names.is_not(None)))
    }
    days_of: dict[int, list[AddedUp | None]] = defaultdict(list)
    for start_at, added in stretches(connection, DAYS, since, until):
        days_of[start_at - start_at % WEEK_US].append(added)
    for start_at, days in sorted(days_of.items()):
        together, row = _together(days), state_of.get(start_at)
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


def _groups(connection: Connection, start_at: int) -> Mapping[Values, Group] | None:
    """What the week's days come to; None where there are too many groups."""
    table = DAYS.sums
    within = sa.and_(table.c.start_at >= start_at, table.c.start_at < start_at + WEEK_US)
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
        spend_units.c.start_at >= start_at,
        spend_units.c.start_at < start_at + WEEK_US,
    )
    for key, unit, scale, amount in connection.execute(units):
        by_digest[key].units[unit, scale] += int(amount)
    return groups
