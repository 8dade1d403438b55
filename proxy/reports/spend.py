"""What was spent, by whatever is asked for: from the roll-ups as far as they go, the rest from the entries.

A span of time is cut into whole weeks, days or hours, and the edges that are left, which are read entry by entry. Labels, and
sessions with something else, are only in the entries. However a question is answered, the answer is the same; but of times
whose entries are deleted only whole hours or days are known (with users or customers: days), and no labels.
Times are integer epoch microseconds, `since` inclusive and `until` exclusive, by `started_at`; money is integer nano-USD.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.corrections import NOW_PRICED
from proxy.ledger.database import reading
from proxy.ledger.rollups import DAY_US, HOUR_US, WEEK_US, Units, quantity, units_of
from proxy.ledger.schema import (
    SUMS,
    TOKEN_COLUMNS,
    counted,
    entries,
    horizon,
    spend_days,
    spend_hours,
    spend_people_days,
    spend_people_weeks,
    spend_sessions,
    spend_units,
)
from proxy.reports.calls import GROUPS
from proxy.times import BadQuestion, rfc3339

_LENGTHS_US = {"day": DAY_US, "hour": HOUR_US}
_LOOK_UP = 500
_MAX_NAMES = 16
_LABEL = re.compile(r"(label|claimed)\.([A-Za-z0-9_.-]{1,100})\Z")
_LABELS = {"label": entries.c.labels, "claimed": entries.c.untrusted_labels}

_ATTEMPT = entries.c.kind == "attempt"
ENTRY_SUMS = {
    "requests": sa.case((_ATTEMPT, 1), else_=0),
    "unpriced_requests": sa.case((sa.and_(_ATTEMPT, entries.c.cost_nanousd.is_(None)), 1), else_=0),
    "cost_nanousd": entries.c.cost_nanousd,
    **{column: entries.c[column] for column in TOKEN_COLUMNS.values()},
    "capacity_nanousd": entries.c.capacity_nanousd,
}


class Span(NamedTuple):
    """From `since` to before `until`; None is without end."""

    since: int | None
    until: int | None

    @property
    def is_empty(self) -> bool:
        return self.since is not None and self.until is not None and self.since >= self.until

    def holds(self, time: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
        after = [] if self.since is None else [time >= self.since]
        before = [] if self.until is None else [time < self.until]
        return sa.and_(sa.true(), *after, *before)


@dataclass(frozen=True, slots=True)
class SpendRow:
    """What one group came to. `group`: its value of each name that was asked for; hours and days as RFC 3339.
    capacity_nanousd: what it had of machines of one's own, beside its cost."""

    group: Mapping[str, str | None]
    requests: int
    usage: Mapping[str, int | str]
    cost_nanousd: int
    unpriced_requests: int
    capacity_nanousd: int = 0


class _Source(NamedTuple):
    """A table to read from, and how long a time each of its rows stands for (0: a moment)."""

    table: sa.Table
    length_us: int


_ENTRIES = _Source(entries, 0)
_HOURS = _Source(spend_hours, HOUR_US)
_DAYS = _Source(spend_days, DAY_US)
_PEOPLE_WEEKS = _Source(spend_people_weeks, WEEK_US)
_PEOPLE_DAYS = _Source(spend_people_days, DAY_US)


class _Kept(NamedTuple):
    """Of what is reported."""

    only: Mapping[str, str]
    among: Sequence[Mapping[str, str]]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys([*self.only, *(name for values in self.among[:1] for name in values)]))

    def holds(self, columns: Mapping[str, Any]) -> sa.ColumnElement[bool]:
        def all_of(values: Mapping[str, str]) -> sa.ColumnElement[bool]:
            return sa.and_(sa.true(), *[_is(columns[name], value) for name, value in values.items()])

        return sa.and_(all_of(self.only), *([sa.or_(*map(all_of, self.among))] if self.among else []))


def _is(column: Any, value: str) -> sa.ColumnElement[bool]:
    none: sa.ColumnElement[bool] = sa.func.coalesce(column, "") == ""
    return column == value if value else none


class _Total:
    __slots__ = ("numbers", "units")

    def __init__(self) -> None:
        self.numbers = [0] * len(SUMS)
        self.units: Units = defaultdict(int)


Totals = dict[tuple[Any, ...], _Total]


def spend(
    engine: Engine,
    by: Sequence[str],
    since: int | None,
    until: int | None,
    *,
    only: Mapping[str, str] | None = None,
    among: Sequence[Mapping[str, str]] = (),
    rolled: bool = True,
) -> list[SpendRow]:
    """What was spent, a row a group, the dearest first.

    Requests are attempts that may have reached an upstream: void ones do not count, corrections change only cost and usage.
    only: of what has these values; "" is none. among: of what has all values of one of these, which all name the same.
    rolled: use the roll-ups. Raises `BadQuestion`.
    """
    kept = _Kept(only or {}, among)
    _check(by)
    _check(kept.names)
    span = Span(since, until)
    totals: Totals = defaultdict(_Total)
    with reading(engine).connect() as connection:
        if rolled and list(by) == ["session"] and not kept.names:
            _add_sessions(connection, span, totals)
        else:
            sources = _sources([*by, *kept.names]) if rolled else []
            for source, spans in _parts(_widened(span, sources, horizon(connection)), sources):
                _add(connection, source, by, spans, kept, totals)
    if not by:
        totals[()]  # a total without groups is there in any case
    return [_row(by, values, total) for values, total in sorted(totals.items(), key=_dearest_first)]


def _dearest_first(item: tuple[tuple[Any, ...], _Total]) -> tuple[Any, ...]:
    values, total = item
    return -total.numbers[SUMS.index("cost_nanousd")], *[(value is not None, str(value)) for value in values]


def _row(by: Sequence[str], values: tuple[Any, ...], total: _Total) -> SpendRow:
    sums = dict(zip(SUMS, total.numbers, strict=True))
    scaled = {unit: [(0, sums[column])] for unit, column in TOKEN_COLUMNS.items()}
    for (unit, scale), amount in sorted(total.units.items()):
        scaled.setdefault(unit, []).append((scale, amount))
    usage = {unit: quantity(parts) for unit, parts in scaled.items()}
    now_priced = int(usage.pop(NOW_PRICED, 0))
    return SpendRow(
        group={name: _shown(name, value) for name, value in zip(by, values, strict=True)},
        requests=sums["requests"],
        usage={unit: amount for unit, amount in usage.items() if amount},
        cost_nanousd=sums["cost_nanousd"],
        unpriced_requests=sums["unpriced_requests"] - now_priced,
        capacity_nanousd=sums["capacity_nanousd"],
    )


def _shown(name: str, value: Any) -> Any:
    return rfc3339(int(value)) if name in _LENGTHS_US else value


# Which tables answer


def _check(by: Sequence[str]) -> None:
    if len(by) > _MAX_NAMES or len(set(by)) < len(by):
        raise BadQuestion(f"group by at most {_MAX_NAMES} names, each once")
    for name in by:
        if name not in GROUPS and name not in _LENGTHS_US and not _LABEL.match(name):
            known = ", ".join([*GROUPS, *_LENGTHS_US, "label.NAME", "claimed.NAME"])
            raise BadQuestion(f"{name!r} cannot be grouped by; there are {known}")


def _sources(by: Sequence[str]) -> list[_Source]:
    """The roll-ups that know all these names and times, those of the longest time first."""
    longest = min([_LENGTHS_US[name] for name in by if name in _LENGTHS_US], default=WEEK_US)
    return [
        source
        for source in ((_PEOPLE_WEEKS, _PEOPLE_DAYS) if {"user", "customer"} & set(by) else (_DAYS, _HOURS))
        if source.length_us <= longest and all(name in source.table.c or name in _LENGTHS_US for name in by)
    ]


def _widened(span: Span, sources: Sequence[_Source], entries_since_at: int | None) -> Span:
    """Where entries are deleted there are no edges: there the span grows to whole hours, or days, at either end."""
    if not sources or entries_since_at is None or span.is_empty:
        return span
    length, (since, until) = sources[-1].length_us, span
    if since is not None and since < entries_since_at:
        since -= since % length
    if until is not None and until < entries_since_at:
        until += -until % length
    return Span(since, until)


def _parts(span: Span, sources: Sequence[_Source]) -> list[tuple[_Source, list[Span]]]:
    """The span cut into what each source answers; the entries answer what is left."""
    by_source: dict[_Source, list[Span]] = {}
    for source, part in _cut(span, [*sources, _ENTRIES]):
        by_source.setdefault(source, []).append(part)
    return list(by_source.items())


def _cut(span: Span, sources: Sequence[_Source]) -> Iterator[tuple[_Source, Span]]:
    if span.is_empty:
        return
    source, finer = sources[0], sources[1:]
    if not source.length_us:
        yield source, span
        return
    since = None if span.since is None else -(-span.since // source.length_us) * source.length_us
    until = None if span.until is None else span.until // source.length_us * source.length_us
    whole = Span(since, until)
    if whole.is_empty:
        yield from _cut(span, finer)
        return
    yield source, whole
    if since is not None:
        yield from _cut(Span(span.since, since), finer)
    if until is not None:
        yield from _cut(Span(until, span.until), finer)


# Reading


def _add(
    connection: Connection,
    source: _Source,
    by: Sequence[str],
    spans: Sequence[Span],
    kept: _Kept,
    totals: Totals,
) -> None:
    table = source.table
    time = entries.c.started_at if source is _ENTRIES else table.c.start_at
    where = sa.or_(*[span.holds(time) for span in spans])
    if kept.names:
        columns = {name: _group(connection, table, time, name) for name in kept.names}
        where = sa.and_(where, kept.holds(columns))
    groups = [_group(connection, table, time, name).label(f"g{number}") for number, name in enumerate(by)]
    if source is _ENTRIES:
        where = sa.and_(where, counted())
        _add_entries(connection, groups, where, totals)
    else:
        _add_rolled(connection, table, groups, where, totals)


def _group(connection: Connection, table: sa.Table, time: Any, name: str) -> Any:
    label = _LABEL.match(name)
    if label and connection.dialect.name == "postgresql":
        return sa.cast(_LABELS[label[1]], sa.JSON)[label[2]].as_string()
    if label:
        return sa.func.json_extract(_LABELS[label[1]], f'$."{label[2]}"')
    if name in _LENGTHS_US:
        return time - time % _LENGTHS_US[name]
    return GROUPS[name] if table is entries else table.c[name]


def _add_entries(
    connection: Connection, groups: Sequence[sa.Label[Any]], where: sa.ColumnElement[bool], totals: Totals
) -> None:
    sums = [sa.func.sum(ENTRY_SUMS[name]).label(name) for name in SUMS]
    with_others = 0
    rest = sa.func.count(entries.c.usage)
    for row in connection.execute(sa.select(*groups, *sums, rest).where(where).group_by(*groups)):
        with_others += row[-1]
        _count(totals, tuple(row[: len(groups)]), row[len(groups) : -1])
    if not with_others:
        return  # to read the entries a second time is half of the work
    others = sa.select(*groups, entries.c.usage).where(where, entries.c.usage.is_not(None))
    for row in connection.execute(others):
        units = totals[tuple(row[:-1])].units
        for key, amount in units_of(row[-1]).items():
            units[key] += amount


def _add_rolled(
    connection: Connection,
    table: sa.Table,
    groups: Sequence[sa.Label[Any]],
    where: sa.ColumnElement[bool],
    totals: Totals,
) -> None:
    sums = [sa.func.sum(table.c[name]).label(name) for name in SUMS]
    for row in connection.execute(sa.select(*groups, *sums).where(where).group_by(*groups)):
        _count(totals, tuple(row[: len(groups)]), row[len(groups) :])
    same = [spend_units.c.rollup == table.name, spend_units.c.group == table.c.group]
    same += [spend_units.c.start_at == (table.c.start_at if "start_at" in table.c else 0)]
    amount = sa.func.sum(spend_units.c.amount)
    kinds = (spend_units.c.unit, spend_units.c.scale)
    query = sa.select(*groups, *kinds, amount).join_from(table, spend_units, sa.and_(*same)).where(where)
    for row in connection.execute(query.group_by(*groups, *kinds)):
        *values, unit, scale, total = row
        totals[tuple(values)].units[unit, scale] += int(total)


def _count(totals: Totals, values: tuple[Any, ...], sums: Sequence[Any]) -> None:
    if all(number is None for number in sums):
        return  # the sum of nothing
    numbers = totals[values].numbers
    for position, number in enumerate(sums):
        numbers[position] += int(number or 0)


# Sessions


def _add_sessions(connection: Connection, span: Span, totals: Totals) -> None:
    """Sessions that lie within the span are read whole; of those that reach beyond it, the entries within."""
    if span.is_empty:
        return
    inside, across = within(span)
    session = spend_sessions.c.session.label("g0")
    _add_rolled(connection, spend_sessions, [session], inside, totals)
    for some in _sessions(connection, across):
        where = sa.and_(some, span.holds(entries.c.started_at), counted())
        _add_entries(connection, [entries.c.root_session_id.label("g0")], where, totals)


def within(span: Span) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool] | None]:
    """Which sessions lie within the span, and which reach beyond it."""
    first, last = spend_sessions.c.first_at, spend_sessions.c.last_at
    inside = sa.and_(span.holds(first), span.holds(last))
    if span.since is None and span.until is None:
        return inside, None
    touching = sa.and_(sa.true(), *([] if span.since is None else [last >= span.since]))
    touching = sa.and_(touching, *([] if span.until is None else [first < span.until]))
    return inside, sa.and_(touching, sa.not_(inside))


def of_sessions(which: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Entries of these sessions. Those that name none are one session, as good as any."""
    named = sa.select(spend_sessions.c.session).where(which)
    nameless = sa.exists().where(which, spend_sessions.c.session.is_(None))
    return sa.or_(entries.c.root_session_id.in_(named), sa.and_(entries.c.root_session_id.is_(None), nameless))


def _sessions(connection: Connection, which: sa.ColumnElement[bool] | None) -> Iterator[sa.ColumnElement[bool]]:
    """Conditions for the entries of these sessions, some sessions each. Those that name none are one session."""
    if which is None:
        return
    sessions = list(connection.execute(sa.select(spend_sessions.c.session).where(which)).scalars())
    if None in sessions:
        yield entries.c.root_session_id.is_(None)
    names = [name for name in sessions if name is not None]
    for first in range(0, len(names), _LOOK_UP):
        yield entries.c.root_session_id.in_(names[first : first + _LOOK_UP])


def entries_since(engine: Engine) -> int | None:
    """Where the entries that are kept begin; None where all are."""
    with engine.connect() as connection:
        return horizon(connection)
