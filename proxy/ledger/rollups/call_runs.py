"""Where the calls of a list are: by what is known of past three hours (`listed_calls.py`), the latest first."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.ids import first_id
from proxy.ledger.parts_schema import label_parts, person_calls, rare_calls
from proxy.ledger.rollup_schema import spend_days, spend_hours
from proxy.ledger.rollups.listed_calls import NAMES, PERSONS, value_of
from proxy.ledger.rollups.sums import PART_US
from proxy.ledger.schema import entries, horizon
from proxy.times import DAY_US

LATE_US = 600_000_000
"""By so much an id may be later than its call's beginning, which waited for its budget."""
_AT_ONCE_US = 8 * DAY_US  # the first time; then longer
_MOST_AT_ONCE_US = 64 * DAY_US
_LABEL = "label."

Filters = Mapping[str, str | None]


class Run(NamedTuple):
    """Of the entries whose ids are of a time from `since` to before `until` (None: without end) the ids of those that are
    looked for. None: the entries are to be asked."""

    since: int
    until: int | None
    ids: Sequence[str] | None

    @property
    def holds(self) -> sa.ColumnElement[bool]:
        """Whose ids are of that time: so that the key's index is gone through, whatever else a statement has."""
        after = entries.c.id >= first_id(self.since)
        return after if self.until is None else sa.and_(after, entries.c.id < _first_id_from(self.until))


def _first_id_from(at_us: int) -> str:
    return first_id(at_us + -at_us % 1000)


def is_listed(name: str, value: str | None) -> bool:
    """Whether it may be known where such calls are."""
    return (name in PERSONS and bool(value)) or name in NAMES or name.startswith(_LABEL)


def runs_of_calls(
    connection: Connection, filters: Filters, since: int | None, until: int | None, *, counted_alone: bool = False
) -> Iterator[Run]:
    """The times of ids from `since` to before `until` in pieces, the latest first, for calls with all these values that began
    at `since` or later. counted_alone: void entries are not looked for, so that times without any other need not be asked
    about. Of a time whose entries are deleted nothing is known."""
    days = sa.select(sa.func.min(spend_days.c.start_at), sa.func.max(spend_days.c.start_at))
    first, last = connection.execute(days).one()
    wanted = {name: value for name, value in filters.items() if is_listed(name, value)}
    low = max(since or 0, 0)
    if first is None or not wanted:
        yield Run(low, until, None)
        return
    high, at_once = last + DAY_US, _AT_ONCE_US
    if until is None or until > high:
        yield Run(max(low, high), until, None)
    high = high if until is None else min(until, high)
    least = max(low, first, horizon(connection) or 0)
    while high > least:
        begin = max(least, high - 1 - (high - 1) % DAY_US + DAY_US - at_once)
        # Ids of calls that began just before are later, but not those of calls before `since`.
        before = begin if begin <= low else begin - PART_US
        known = _known(connection, wanted, before - before % PART_US, high, counted_alone)
        yield from _runs(known, before - before % PART_US, begin, high)
        high, at_once = begin, min(2 * at_once, _MOST_AT_ONCE_US)
    rest = max(low, first) if counted_alone else low
    if rest < min(least, high):
        yield Run(rest, min(least, high), None)


def _runs(known: Mapping[int, Sequence[str]], start_at: int, low: int, high: int) -> list[Run]:
    """known: the ids of those three hours of which they are known."""
    asked: list[tuple[int, int]] = []
    ids: list[str] = []
    for at in range(start_at, high, PART_US):
        if at in known:
            ids += known[at]
            continue
        since, until = max(low, at), min(high, at + PART_US + LATE_US)
        if asked and since <= asked[-1][1]:
            since = asked.pop()[0]
        if since < until:
            asked.append((since, until))
    ids.sort()
    runs: list[Run] = []
    for since, until in [*reversed(asked), (low, low)]:
        some = ids[bisect_left(ids, _first_id_from(until)) : bisect_left(ids, _first_id_from(high))]
        if some:
            runs.append(Run(until, high, some))
        if since < until:
            runs.append(Run(since, until, None))
        high = since
    return runs


class _Part(NamedTuple):
    """is_now: as it was when it was added up, to so many requests and so much cost. labels: None: no rare calls are listed."""

    start_at: int
    is_now: bool
    has_persons: bool
    labels: frozenset[str] | None
    requests: int
    cost_nanousd: int


def _part_of(row: sa.Row[tuple[object, ...]]) -> _Part:
    is_now = row.names is not None and row.built == row.changes
    number, _, labels = (row.listed or "").partition(" ")
    has_lists = is_now and number == str(row.changes)
    return _Part(
        row.start_at,
        is_now,
        is_now and row.whole is not None and row.persons == row.whole,
        frozenset(orjson.loads(labels)) if has_lists else None,
        row.requests,
        row.cost_nanousd,
    )


def _known(
    connection: Connection, wanted: Filters, since: int, until: int, counted_alone: bool
) -> dict[int, Sequence[str]]:
    """The ids of such calls by three hours; not of those in which they are not known, or many."""
    parts = _as_they_are(connection, since, until, counted_alone)
    persons = {value_of(name, value) for name, value in wanted.items() if name in PERSONS}
    others = {  # "" is none, as null is
        name: [value_of(name, value)] if value else [value_of(name, None), value_of(name, "")]
        for name, value in wanted.items()
        if name not in PERSONS
    }
    ids_of_persons = _ids(connection, person_calls, person_calls.c.person, persons, parts)
    ids_of_others = _ids(
        connection, rare_calls, rare_calls.c.value, {one for values in others.values() for one in values}, parts
    )
    known: dict[int, Sequence[str]] = {}
    for at, part in parts.items():
        if part is None:
            known[at] = ()
            continue
        texts = [ids_of_persons.get((at, person)) for person in persons if part.has_persons]
        texts += [
            _joined([ids_of_others.get((at, value)) for value in values])
            for name, values in others.items()
            if part.labels is not None and (name in NAMES or name.removeprefix(_LABEL) in part.labels)
        ]
        lists = [text.split(",") if text else [] for text in texts if text != ""]
        if lists:
            known[at] = min(lists, key=len)
    return known


def _joined(texts: Sequence[str | None]) -> str | None:
    """The ids of each; "" where any are many. None: there are none."""
    return "" if "" in texts else ",".join(text for text in texts if text) or None


def _ids(
    connection: Connection,
    table: sa.Table,
    column: sa.Column[int],
    values: set[int],
    parts: Mapping[int, _Part | None],
) -> dict[tuple[int, int], str]:
    starts = [at for at, part in parts.items() if part is not None]
    if not values or not starts:
        return {}
    query = sa.select(table.c.start_at, column, table.c.ids).where(table.c.start_at.in_(starts), column.in_(values))
    return {(at, value): ids for at, value, ids in connection.execute(query)}


def _as_they_are(connection: Connection, since: int, until: int, counted_alone: bool) -> dict[int, _Part | None]:
    """The three hours that are as they were when they were added up: nothing has changed since, and as an earlier version
    beside this one counts no changes, the days (or else the hours) come to what they did. None: there was no call."""
    state, first, end = label_parts.c, since - since % DAY_US, until + -until % DAY_US
    parts: dict[int, list[_Part]] = defaultdict(list)
    within = (state.start_at >= first, state.start_at < end)
    for row in connection.execute(sa.select(label_parts).where(*within)):
        parts[row.start_at - row.start_at % DAY_US].append(_part_of(row))
    unchanged: dict[int, _Part | None] = {}
    days = _sums(connection, spend_days, first, end, DAY_US)
    for day in range(first, end, DAY_US):
        came_to = sum(part.requests for part in parts[day]), sum(part.cost_nanousd for part in parts[day])
        if all(part.is_now for part in parts[day]) and came_to == days.get(day, (0, 0)):
            if counted_alone:
                unchanged |= dict.fromkeys(range(day, day + DAY_US, PART_US))
            unchanged |= {part.start_at: part for part in parts[day]}
            continue
        hours = _sums(connection, spend_hours, day, day + DAY_US, PART_US)
        for part in parts[day]:
            if part.is_now and hours.get(part.start_at, (0, 0)) == (part.requests, part.cost_nanousd):
                unchanged[part.start_at] = part
    return {at: part for at, part in unchanged.items() if since <= at < until}


def _sums(
    connection: Connection, table: sa.Table, since: int, until: int, length_us: int
) -> dict[int, tuple[int, int]]:
    start = (table.c.start_at - table.c.start_at % length_us).label("start")
    query = sa.select(start, sa.func.sum(table.c.requests), sa.func.sum(table.c.cost_nanousd))
    query = query.where(table.c.start_at >= since, table.c.start_at < until).group_by(start)
    return {int(at): (int(requests), int(cost)) for at, requests, cost in connection.execute(query)}
