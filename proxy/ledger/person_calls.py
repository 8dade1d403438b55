"""In which past three hours a user or a customer has calls: for lists of them. Filled by `label_days.py`.

A row of all calls is as wide as forty numbers, and there may be as many persons as calls: without this a list of one of them
reads everybody's. It is kept by three hours and not as an index, which would cost each call that is recorded, and which an old
ledger could only get while nothing is recorded. What is found here is looked up: nothing depends on it but time.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.ids import first_id
from proxy.ledger.parts_schema import label_parts, person_calls
from proxy.ledger.rollup_schema import spend_days, spend_hours
from proxy.ledger.rollups import DAY_US, PART_US
from proxy.ledger.schema import entries, horizon

PERSONS = ("customer", "user")
_MOST_CALLS = 100_000
"""Of three hours; more are read from the entries."""
_AT_ONCE_US = 8 * DAY_US
_AT_ONCE = 5000


class Run(NamedTuple):
    """Of a time from `since` to before `until` (None: without end) the ids of those of somebody's entries that began then.
    None: the entries are to be asked."""

    since: int
    until: int | None
    ids: list[str] | None

    @property
    def holds(self) -> sa.ColumnElement[bool]:
        """Whose ids are of that time: so that the key's index is gone through, whatever else a statement has."""
        after = entries.c.id >= first_id(self.since)
        return after if self.until is None else sa.and_(after, entries.c.id < first_id(self.until + -self.until % 1000))


def calls_of_persons(connection: Connection, start_at: int, length_us: int) -> list[dict[str, Any]] | None:
    """Rows of `person_calls`; None where there are too many calls."""
    within = (entries.c.started_at >= start_at, entries.c.started_at < start_at + length_us)
    query = sa.select(entries.c.id, *[entries.c[name] for name in PERSONS]).where(*within).limit(_MOST_CALLS + 1)
    ids: dict[int, list[str]] = defaultdict(list)
    count = 0
    for entry_id, *values in connection.execute(query.execution_options(yield_per=_AT_ONCE)):
        count += 1
        for name, value in zip(PERSONS, values, strict=True):
            if value:
                ids[person_of(name, value)].append(entry_id)
    if count > _MOST_CALLS:
        return None
    return [
        {"start_at": start_at, "person": person, "ids": ",".join(sorted(some))} for person, some in sorted(ids.items())
    ]


def person_of(name: str, value: str) -> int:
    return int.from_bytes(hashlib.blake2b(orjson.dumps((name, value)), digest_size=8).digest(), "big") >> 1


def runs_of_calls(
    connection: Connection,
    person: tuple[str, str],
    since: int | None,
    until: int | None,
    *,
    counted_alone: bool = False,
) -> Iterator[Run]:
    """A time in pieces, the latest first, for one of `PERSONS` and its value. counted_alone: void entries are not looked for,
    so that times without any other need not be asked about. Of a time whose entries are deleted nothing is known."""
    days = sa.select(sa.func.min(spend_days.c.start_at), sa.func.max(spend_days.c.start_at))
    first, last = connection.execute(days).one()
    if first is None:
        yield Run(max(since or 0, 0), until, None)
        return
    low, high = max(since or 0, 0), last + DAY_US
    if until is None or until > high:
        yield Run(max(low, high), until, None)
    high = high if until is None else min(until, high)
    least = max(low, first, horizon(connection) or 0)
    while high > least:
        begin = max(least, high - 1 - (high - 1) % DAY_US + DAY_US - _AT_ONCE_US)
        starts = [at for at in _known(connection, begin, high, counted_alone) if at + PART_US > begin and at < high]
        of_his = (person_calls.c.start_at.in_(starts), person_calls.c.person == person_of(*person))
        ids_of_calls = sa.select(person_calls.c.start_at, person_calls.c.ids).where(*of_his)
        ids = {row.start_at: row.ids for row in connection.execute(ids_of_calls)} if starts else {}
        yield from _runs(starts, ids, begin, high)
        high = begin
    rest = max(low, first) if counted_alone else low
    if rest < min(least, high):
        yield Run(rest, min(least, high), None)


def _runs(starts: Sequence[int], ids: Mapping[int, str], low: int, high: int) -> Iterator[Run]:
    """Known stretches with calls, and what lies between those that are known."""
    for start_at in sorted(starts, reverse=True):
        if start_at + PART_US < high:
            yield Run(start_at + PART_US, high, None)
        if start_at in ids:
            yield Run(start_at, start_at + PART_US, ids[start_at].split(","))
        high = start_at
    if low < high:
        yield Run(low, high, None)


def _known(connection: Connection, since: int, until: int, counted_alone: bool) -> list[int]:
    """The stretches whose lists are as their entries are: nothing has changed since, and as an earlier version beside this one
    counts no changes, the days (or else the hours) come to what they did."""
    state, since, until = label_parts.c, since - since % DAY_US, until + -until % DAY_US
    parts: dict[int, list[_Part]] = defaultdict(list)
    within = (state.start_at >= since, state.start_at < until)
    for row in connection.execute(sa.select(label_parts).where(*within)):
        is_so = row.whole is not None and row.persons == row.whole and row.built == row.changes
        part = _Part(row.start_at, is_so, row.requests, row.cost_nanousd)
        parts[row.start_at - row.start_at % DAY_US].append(part)
    starts: list[int] = []
    days = _sums(connection, spend_days, since, until, DAY_US)
    for day in range(since, until, DAY_US):
        came_to = sum(part.requests for part in parts[day]), sum(part.cost_nanousd for part in parts[day])
        if all(part.is_so for part in parts[day]) and came_to == days.get(day, (0, 0)):
            starts += range(day, day + DAY_US, PART_US) if counted_alone else [part.start_at for part in parts[day]]
            continue
        hours = _sums(connection, spend_hours, day, day + DAY_US, PART_US)
        starts += [at for at, is_so, *came in parts[day] if is_so and hours.get(at, (0, 0)) == tuple(came)]
    return starts


class _Part(NamedTuple):
    start_at: int
    is_so: bool
    requests: int
    cost_nanousd: int


def _sums(
    connection: Connection, table: sa.Table, since: int, until: int, length_us: int
) -> dict[int, tuple[int, int]]:
    start = (table.c.start_at - table.c.start_at % length_us).label("start")
    query = sa.select(start, sa.func.sum(table.c.requests), sa.func.sum(table.c.cost_nanousd))
    query = query.where(table.c.start_at >= since, table.c.start_at < until).group_by(start)
    return {int(at): (int(requests), int(cost)) for at, requests, cost in connection.execute(query)}
