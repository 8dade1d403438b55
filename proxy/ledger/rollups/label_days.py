"""Spend by all attributes of calls, labels included: added up from the entries when a time is over.

Labels are in no other roll-up: a client's may be different for every call; and users and customers, of whom there may be as
many as calls, are in none with an agent or a provider, nor by the hour. So days that are over are added up afterwards by all of
it (of labels, those that the configuration names: in plans, budgets and keys), and so are three hours at a time, for the day
that is not over and for the ends of a time that is asked for. A stretch with too many groups is left out. The recorder counts
how often the entries of each changed, in the transaction of the change; one whose number is another since it was added up (a
correction came, or a late call) is read from its entries again until it is added up anew. An earlier version beside this one
counts nothing, so what the stretch came to must be the same, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.database import insert_into, reading, writing
from proxy.ledger.parts_schema import (
    IMPERSONAL,
    label_parts,
    spend_impersonal_days,
    spend_impersonal_parts,
    spend_label_parts,
)
from proxy.ledger.rollup_schema import (
    ALL_NAMES,
    SUMS,
    label_days,
    spend_days,
    spend_hours,
    spend_label_days,
    spend_units,
)
from proxy.ledger.rollups.sums import PART_US, Units, digest, end_of, units_of
from proxy.ledger.rollups.writing import ENTRY_SUMS
from proxy.ledger.schema import counted, entries, horizon
from proxy.times import DAY_US

MOST_NAMES = 16
MOST_GROUPS = 50_000
"""Of one stretch: more than that are read from its entries."""
_MOST_SPANS = 100
_AT_ONCE = 5000
SETTLED_US = 600_000_000  # calls that ended at midnight are shipped by then

Values = tuple[str | None, ...]
Beside = Mapping[sa.Table, Sequence[Mapping[str, Any]]]
"""Rows of a stretch that are no sums."""
Look = Callable[[Connection, int, str | None, int], tuple[Mapping[str, str | None], Beside]]
"""What else is read where a stretch is added up: more of its state, and rows beside it. Of when it begins, whether it is
`whole`, and after how many changes."""


class Stretch(NamedTuple):
    """How long a time is added up at once; where its sums are, and those without persons (of what is added up `whole`); where
    its state is; and a roll-up that comes to the same."""

    length_us: int
    sums: sa.Table
    impersonal: sa.Table
    state: sa.Table
    same: sa.Table


DAYS = Stretch(DAY_US, spend_label_days, spend_impersonal_days, label_days, spend_days)
PARTS = Stretch(PART_US, spend_label_parts, spend_impersonal_parts, label_parts, spend_hours)


class AddedUp(NamedTuple):
    """By which labels, and whether by all of `ALL_NAMES`; after how many changes, and what it came to."""

    labels: Sequence[str]
    whole: bool
    built: int
    requests: int
    cost_nanousd: int

    @property
    def is_left_out(self) -> bool:
        """Added up by nothing: there are too many groups."""
        return not self.labels and not self.whole

    def answers(self, labels: Iterable[str], whole: bool) -> bool:
        return set(labels) <= set(self.labels) and (self.whole or not whole)


class Cover(NamedTuple):
    """Spans of time, each from its beginning to before its end: those that are added up (all of them `whole`), and those of
    whom entries say more."""

    known: list[tuple[int, int]]
    rest: list[tuple[int, int]]
    whole: bool


def label_value(connection: Connection, labels: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[Any]:
    """The value of one label, from a column of them."""
    if connection.dialect.name == "postgresql":
        value: sa.ColumnElement[Any] = sa.cast(labels, sa.JSON)[name].as_string()
        return value
    return sa.func.json_extract(labels, f'$."{name}"')


def covered(
    connection: Connection, stretch: Stretch, since: int | None, until: int | None, labels: Sequence[str], whole: bool
) -> Cover:
    """Which stretches between can be answered by these labels (`whole`: by all names). One without entries is in neither."""
    return cover_of(stretches(connection, stretch, since, until), stretch, labels, whole)


def cover_of(
    states: Iterable[tuple[int, AddedUp | None]], stretch: Stretch, labels: Sequence[str], whole: bool
) -> Cover:
    """states: where each stretch with entries begins, in their order, and what it is added up by."""
    cover = Cover([], [], whole=True)
    before: list[tuple[int, int]] | None = None
    for start_at, added in states:
        if added is not None and added.answers(labels, whole):
            spans, cover = cover.known, cover._replace(whole=cover.whole and added.whole)
        else:
            spans = cover.rest
        if spans is before:
            spans[-1] = (spans[-1][0], end_of(start_at, stretch.length_us))
        else:
            spans.append((start_at, end_of(start_at, stretch.length_us)))
        before = spans
    if len(cover.rest) > _MOST_SPANS:
        every = [*cover.known, *cover.rest]
        return Cover([], [(min(every)[0], max(every)[1])], whole=True)
    return cover


def stretches(
    connection: Connection, stretch: Stretch, since: int | None, until: int | None
) -> Iterator[tuple[int, AddedUp | None]]:
    """Every stretch with entries, and what it is added up by; None where it is not, or no more."""
    at, state = stretch.same.c.start_at, stretch.state
    start = at if stretch is DAYS else at - at % stretch.length_us
    sums = sa.func.sum(stretch.same.c.requests), sa.func.sum(stretch.same.c.cost_nanousd)
    query = sa.select(start, *sums).group_by(start).order_by(start)
    states = sa.select(state).where(state.c.names.is_not(None))
    if since is not None:
        query, states = query.where(at >= since), states.where(state.c.start_at >= since)
    if until is not None:
        until += -until % stretch.length_us  # of a stretch in which the time ends, all of it
        query, states = query.where(at < until), states.where(state.c.start_at < until)
    state_of = {row.start_at: row for row in connection.execute(states)}
    kept = horizon(connection) or 0
    for start_at, requests, cost in connection.execute(query):
        row = state_of.get(start_at)
        is_so = row is not None and (
            stretch is DAYS  # nothing else knows it any more
            if start_at < kept
            else row.built == row.changes and (row.requests, row.cost_nanousd) == (int(requests), int(cost))
        )
        yield int(start_at), added_up_by(row) if row is not None and is_so else None


def added_up_by(row: Any) -> AddedUp:
    is_whole = row.whole == whole_text(row.built, row.names)
    return AddedUp(orjson.loads(row.names), is_whole, row.built, row.requests, row.cost_nanousd)


def whole_text(built: int, names: str) -> str:
    """What an earlier version that adds the stretch up again does not write."""
    return f"{built} {names}"


def names_text(names: Sequence[str]) -> str:
    """As no earlier version writes them: of one that adds up the same at the same time, number and names are the same."""
    return f"{orjson.dumps(names).decode()} "


# Adding up


def add_up_a_day(engine: Engine, names: Iterable[str], now_us: int) -> bool:
    """Add up the latest day that is over and is not added up by these labels; False where there is none.

    Several instances may do so at once. names: at most `MOST_NAMES`, as reports may ask for them.
    """
    wanted = wanted_names(names)
    with reading(engine).connect() as connection:
        since = horizon(connection) or 0
        start_at = latest_stale(stretches(connection, DAYS, since, days_over(now_us)), wanted)
    return start_at is not None and add_up(engine, DAYS, start_at, wanted)


def days_over(now_us: int) -> int:
    """Where the days end that are over, and whose calls are shipped."""
    return (now_us - SETTLED_US) // DAY_US * DAY_US


def latest_stale(days: Iterable[tuple[int, AddedUp | None]], wanted: Sequence[str]) -> int | None:
    """Where the latest day begins that is to be added up; None where there is none."""
    return max((start_at for start_at, added in days if is_stale(added, wanted)), default=None)


def wanted_names(names: Iterable[str]) -> list[str]:
    return sorted(names)[:MOST_NAMES]


def is_stale(added: AddedUp | None, wanted: Sequence[str]) -> bool:
    """One that is left out is added up by nothing."""
    return added is None or (not added.is_left_out and not added.answers(wanted, True))


def add_up(engine: Engine, stretch: Stretch, start_at: int, names: Sequence[str], look: Look | None = None) -> bool:
    """True."""
    state, same = stretch.state.c, stretch.same.c
    within = sa.and_(same.start_at >= start_at, same.start_at < start_at + stretch.length_us)
    with reading(engine).connect() as connection:
        changes = connection.execute(sa.select(state.changes).where(state.start_at == start_at)).scalar() or 0
        sums = sa.select(sa.func.sum(same.requests), sa.func.sum(same.cost_nanousd))
        requests, cost = connection.execute(sums.where(within)).one()
        groups = _groups(connection, stretch, start_at, names)
        text = "[]" if groups is None else names_text(names)
        as_it_is: dict[str, Any] = {
            "built": changes,
            "names": text,
            "requests": int(requests or 0),
            "cost_nanousd": int(cost or 0),
        }
        as_it_is["whole"] = None if groups is None else whole_text(changes, text)
        more: Mapping[str, str | None] = {}
        beside: Beside = {}
        if look is not None:
            more, beside = look(connection, start_at, as_it_is["whole"], changes)
    write(engine, stretch, start_at, {**as_it_is, **more}, groups or {}, beside)
    return True


class Group:
    """What a stretch's entries of one group come to: `numbers` are in the order of `SUMS`."""

    __slots__ = ("numbers", "units")

    def __init__(self) -> None:
        self.numbers = [0] * len(SUMS)
        self.units: Units = defaultdict(int)


def within(start_at: int, length_us: int) -> sa.ColumnElement[bool]:
    return sa.and_(entries.c.started_at >= start_at, entries.c.started_at < start_at + length_us)


def _groups(
    connection: Connection, stretch: Stretch, start_at: int, names: Sequence[str]
) -> dict[Values, Group] | None:
    """By all names, and the labels as JSON; None where there are too many."""
    columns: list[sa.ColumnElement[Any]] = [entries.c[name] for name in ALL_NAMES]
    columns += [label_value(connection, entries.c.labels, name).label(f"l_{name}") for name in names]
    where = sa.and_(within(start_at, stretch.length_us), counted())
    sums = [sa.func.sum(ENTRY_SUMS[name]).label(name) for name in SUMS]
    query = sa.select(*columns, *sums).where(where).group_by(*columns).limit(MOST_GROUPS + 1)
    groups: dict[Values, Group] = defaultdict(Group)
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
    size = len(ALL_NAMES)
    labels = {name: str(value) for name, value in zip(names, row[size:], strict=False) if value is not None}
    return (*row[:size], orjson.dumps(labels).decode() if labels else None)


def write(
    engine: Engine,
    stretch: Stretch,
    start_at: int,
    as_it_is: Mapping[str, Any],
    groups: Mapping[Values, Group],
    beside: Beside,
) -> None:
    """In place of what was added up before; not where somebody else has added up something later meanwhile."""
    state = stretch.state
    written = [
        (stretch.sums, *_rows_of(stretch.sums, ALL_NAMES, start_at, groups)),
        (stretch.impersonal, *_rows_of(stretch.impersonal, IMPERSONAL, start_at, _without_persons(groups))),
    ]
    this_stretch = state.c.start_at == start_at
    with writing(engine).begin() as connection:
        added = insert_into(connection, state).values(start_at=start_at, changes=0, built=0, requests=0, cost_nanousd=0)
        connection.execute(added.on_conflict_do_nothing())
        there = connection.execute(sa.select(state).where(this_stretch).with_for_update()).one()
        entries_are_gone = stretch in (DAYS, PARTS) and start_at < (horizon(connection) or 0)
        if (there.names is not None and there.built > as_it_is["built"]) or entries_are_gone:
            return
        for table, rows, units in written:
            connection.execute(sa.delete(table).where(table.c.start_at == start_at))
            old = (spend_units.c.rollup == table.name, spend_units.c.start_at == start_at)
            connection.execute(sa.delete(spend_units).where(*old))
            if rows:
                connection.execute(sa.insert(table), rows)
            if units:
                connection.execute(sa.insert(spend_units), units)
        for table, more in beside.items():
            connection.execute(sa.delete(table).where(table.c.start_at == start_at))
            if more:
                connection.execute(sa.insert(table), list(more))
        connection.execute(sa.update(state).where(this_stretch).values(**as_it_is))


_Rows = list[dict[str, Any]]


def _rows_of(
    table: sa.Table, names: Sequence[str], start_at: int, groups: Mapping[Values, Group]
) -> tuple[_Rows, _Rows]:
    """The rows of the table, and those of its units."""
    rows, units = [], []
    columns = ("start_at", "group", *names, "labels", *SUMS)
    for values, group in groups.items():
        key = digest(values)
        rows.append(dict(zip(columns, (start_at, key, *values, *group.numbers), strict=True)))
        units += [
            {"rollup": table.name, "start_at": start_at, "group": key, "unit": unit, "scale": scale, "amount": amount}
            for (unit, scale), amount in group.units.items()
        ]
    return rows, units


_KEPT = [place for place, name in enumerate((*ALL_NAMES, "labels")) if name in (*IMPERSONAL, "labels")]


def _without_persons(groups: Mapping[Values, Group]) -> dict[Values, Group]:
    folded: dict[Values, Group] = defaultdict(Group)
    for values, group in groups.items():
        into = folded[tuple(values[place] for place in _KEPT)]
        into.numbers = [mine + more for mine, more in zip(into.numbers, group.numbers, strict=True)]
        for key, amount in group.units.items():
            into.units[key] += amount
    return folded
