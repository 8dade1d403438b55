"""What was spent by label: a day at a time, added up from the entries when the day is over.

Labels are in no other roll-up: a client's may be different for every call. So those that the configuration names (in plans,
budgets and keys) are added up afterwards, with who called which model, and a day with too many groups is left out. The
recorder counts how often each day's entries changed, in the transaction of the change; a day whose number is another since it
was added up (a correction came, or a late call) is read from its entries again until it is added up anew. An earlier version
beside this one counts nothing, so what the day came to must be the same, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.database import insert_into, reading, writing
from proxy.ledger.rolling import ENTRY_SUMS
from proxy.ledger.rollups import DAY_US, Units, digest, units_of
from proxy.ledger.schema import (
    PEOPLE,
    SUMS,
    counted,
    entries,
    horizon,
    label_days,
    spend_days,
    spend_label_days,
    spend_units,
)

MOST_NAMES = 16
MOST_GROUPS = 50_000
"""Of one day: more than that are read from its entries."""
_MOST_SPANS = 100
_AT_ONCE = 5000
_SETTLED_US = 600_000_000  # calls that ended at midnight are shipped by then

Values = tuple[str | None, ...]


class Cover(NamedTuple):
    """Spans of time, each from its beginning to before its end: those that are added up, and those of whom entries say more."""

    days: list[tuple[int, int]]
    rest: list[tuple[int, int]]


def label_value(connection: Connection, labels: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[Any]:
    """The value of one label, from a column of them."""
    if connection.dialect.name == "postgresql":
        value: sa.ColumnElement[Any] = sa.cast(labels, sa.JSON)[name].as_string()
        return value
    return sa.func.json_extract(labels, f'$."{name}"')


def covered(connection: Connection, since: int | None, until: int | None, names: Iterable[str]) -> Cover:
    """How the days between (whole ones) can be answered by these labels. Days without entries are in neither."""
    asked, cover = set(names), Cover([], [])
    before: list[tuple[int, int]] | None = None
    for start_at, built in _days(connection, since, until):
        spans = cover.days if built is not None and asked <= set(built) else cover.rest
        if spans is before:
            spans[-1] = (spans[-1][0], start_at + DAY_US)
        else:
            spans.append((start_at, start_at + DAY_US))
        before = spans
    if len(cover.rest) > _MOST_SPANS:
        whole = [*cover.days, *cover.rest]
        return Cover([], [(min(whole)[0], max(whole)[1])])
    return cover


def _days(connection: Connection, since: int | None, until: int | None) -> Iterator[tuple[int, list[str] | None]]:
    """Every day with entries, and the labels that it is added up by; None where it is not, or no more."""
    day, built = spend_days.c, label_days.c
    sums = sa.func.sum(day.requests), sa.func.sum(day.cost_nanousd)
    query = sa.select(day.start_at, *sums).group_by(day.start_at).order_by(day.start_at)
    if since is not None:
        query = query.where(day.start_at >= since)
    if until is not None:
        query = query.where(day.start_at < until)
    known = {row.start_at: row for row in connection.execute(sa.select(label_days).where(built.names.is_not(None)))}
    kept = horizon(connection) or 0
    for start_at, requests, cost in connection.execute(query):
        row = known.get(start_at)
        is_so = row is not None and (
            start_at < kept  # nothing else knows it any more
            or (row.built == row.changes and (row.requests, row.cost_nanousd) == (int(requests), int(cost)))
        )
        yield int(start_at), orjson.loads(row.names) if row is not None and is_so else None


# Adding up


def add_up_a_day(engine: Engine, names: Sequence[str], now_us: int) -> bool:
    """Add up the latest day that is over and is not added up by these labels; False where there is none.

    Several instances may do so at once. names: at most `MOST_NAMES`, as reports may ask for them.
    """
    until = (now_us - _SETTLED_US) // DAY_US * DAY_US
    wanted = sorted(names)[:MOST_NAMES]
    if not wanted:
        return False
    with reading(engine).connect() as connection:
        kept = horizon(connection) or 0
        stale = [
            start_at
            for start_at, built in _days(connection, kept, until)
            if built is None or (built != [] and not set(wanted) <= set(built))
        ]
        if not stale:
            return False
        start_at = stale[-1]
        changes = connection.execute(sa.select(label_days.c.changes).where(label_days.c.start_at == start_at)).scalar()
        sums = (sa.func.sum(spend_days.c.requests), sa.func.sum(spend_days.c.cost_nanousd))
        requests, cost = connection.execute(sa.select(*sums).where(spend_days.c.start_at == start_at)).one()
        groups = _groups(connection, start_at, wanted)
    as_it_is = {"changes": changes or 0, "requests": int(requests), "cost_nanousd": int(cost)}
    if groups is None:
        wanted, groups = [], {}
    _write(engine, start_at, as_it_is, wanted, groups)
    return True


class _Group:
    __slots__ = ("numbers", "units")

    def __init__(self) -> None:
        self.numbers = [0] * len(SUMS)
        self.units: Units = defaultdict(int)


def _groups(connection: Connection, start_at: int, names: Sequence[str]) -> dict[Values, _Group] | None:
    """By people, and their labels as JSON; None where there are too many."""
    people = [entries.c[name] for name in PEOPLE]
    columns = [*people, *(label_value(connection, entries.c.labels, name).label(f"l_{name}") for name in names)]
    where = sa.and_(entries.c.started_at >= start_at, entries.c.started_at < start_at + DAY_US, counted())
    sums = [sa.func.sum(ENTRY_SUMS[name]).label(name) for name in SUMS]
    query = sa.select(*columns, *sums).where(where).group_by(*columns).limit(MOST_GROUPS + 1)
    groups: dict[Values, _Group] = defaultdict(_Group)
    for row in connection.execute(query):
        numbers = groups[_values(row, names)].numbers
        for position, number in enumerate(row[len(columns) :]):
            numbers[position] += int(number or 0)
    if len(groups) > MOST_GROUPS:
        return None
    others = sa.select(*columns, entries.c.usage).where(where, entries.c.usage.is_not(None))
    for row in connection.execute(others.execution_options(yield_per=_AT_ONCE)):  # as many as the day has calls
        units = groups[_values(row, names)].units
        for key, amount in units_of(row[-1]).items():
            units[key] += amount
    return groups


def _values(row: Sequence[Any], names: Sequence[str]) -> Values:
    labels = {name: str(value) for name, value in zip(names, row[len(PEOPLE) :], strict=False) if value is not None}
    return (*row[: len(PEOPLE)], orjson.dumps(labels).decode() if labels else None)


def _write(
    engine: Engine, start_at: int, as_it_is: Mapping[str, int], names: Sequence[str], groups: dict[Values, _Group]
) -> None:
    """In place of what was added up of the day before; not where somebody else has added up something later meanwhile."""
    rows, units = [], []
    columns = ("start_at", "group", *PEOPLE, "labels", *SUMS)
    for values, group in groups.items():
        key = digest(values)
        rows.append(dict(zip(columns, (start_at, key, *values, *group.numbers), strict=True)))
        units += [
            {"rollup": spend_label_days.name, "start_at": start_at, "group": key, "unit": unit, "scale": scale,
             "amount": amount}
            for (unit, scale), amount in group.units.items()
        ]  # fmt: skip
    day = label_days.c.start_at == start_at
    with writing(engine).begin() as connection:
        added = insert_into(connection, label_days).values(
            start_at=start_at, changes=0, built=0, requests=0, cost_nanousd=0
        )
        connection.execute(added.on_conflict_do_nothing())
        there = connection.execute(sa.select(label_days).where(day).with_for_update()).one()
        if (there.names is not None and there.built > as_it_is["changes"]) or start_at < (horizon(connection) or 0):
            return
        connection.execute(sa.delete(spend_label_days).where(spend_label_days.c.start_at == start_at))
        mine = (spend_units.c.rollup == spend_label_days.name, spend_units.c.start_at == start_at)
        connection.execute(sa.delete(spend_units).where(*mine))
        if rows:
            connection.execute(sa.insert(spend_label_days), rows)
        if units:
            connection.execute(sa.insert(spend_units), units)
        built = {"built": as_it_is["changes"], "names": orjson.dumps(names).decode()}
        sums = {name: as_it_is[name] for name in ("requests", "cost_nanousd")}
        connection.execute(sa.update(label_days).where(day).values(**built, **sums))
