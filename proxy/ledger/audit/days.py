"""Roll-ups beside each other: a day comes to the same, however it is told apart."""

from __future__ import annotations

from operator import add

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.ledger.rollup_schema import SUMS, spend_days, spend_hours, spend_people_days, spend_people_weeks
from proxy.ledger.rollups.label_days import DAYS, PARTS, Stretch, stretches
from proxy.ledger.rollups.label_weeks import OF_DAYS, states_of_days
from proxy.ledger.rollups.sums import WEEK_US, start_of
from proxy.ledger.schema import horizon
from proxy.times import DAY_US, rfc3339


def days_problem(connection: Connection) -> tuple[str, str] | None:
    """Where roll-ups do not agree with each other, also where the entries are deleted, and what differs."""
    pairs = ((spend_hours, spend_days, DAY_US), (spend_people_days, spend_days, DAY_US))
    for table, other, length_us in (*pairs, (spend_people_weeks, spend_people_days, WEEK_US)):
        sums, others = _by_time(connection, table, length_us), _by_time(connection, other, length_us)
        for at in sorted(sums.keys() | others.keys()):
            for position, column in enumerate(SUMS):
                pair = [rows[at][position] if at in rows else 0 for rows in (sums, others)]
                if pair[0] != pair[1]:
                    return f"{table.name} {rfc3339(at)}", f"{column} is {pair[0]}, in {other.name} {pair[1]}"
    problems = [_added_up_problem(connection, stretch) for stretch in (DAYS, PARTS)]
    problems += [_long_problem(connection, stretch) for stretch in OF_DAYS]
    return next(filter(None, problems), None)


def _added_up_problem(connection: Connection, stretch: Stretch) -> tuple[str, str] | None:
    """What is added up by label comes to what it comes to without."""
    state, kept = stretch.state.c, horizon(connection) or 0
    built = sa.select(state.start_at).where(state.built == state.changes, state.names.is_not(None))
    built = built.where(sa.or_(state.names != "[]", state.whole.is_not(None)))
    if stretch is PARTS:
        built = built.where(state.start_at >= kept)
    starts = sorted(connection.execute(built).scalars())
    whole = set(connection.execute(built.where(state.whole.is_not(None))).scalars())
    others, nothing = _by_time(connection, stretch.same, stretch.length_us), [0] * len(SUMS)
    for table, wanted in ((stretch.sums, starts), (stretch.impersonal, [at for at in starts if at in whole])):
        labels = _by_time(connection, table, stretch.length_us)
        for at in wanted:
            for column, mine, theirs in zip(SUMS, labels.get(at, nothing), others.get(at, nothing), strict=True):
                if mine != theirs:
                    return f"{table.name} {rfc3339(at)}", f"{column} is {mine}, in {stretch.same.name} {theirs}"
    return None


def _long_problem(connection: Connection, stretch: Stretch) -> tuple[str, str] | None:
    """Weeks, or months, that stand for their days come to what those do."""
    days: dict[int, list[int]] = {}
    nothing = [0] * len(SUMS)
    for at, sums in _by_time(connection, DAYS.sums, DAY_US).items():
        begun = start_of(at, stretch.length_us)
        days[begun] = list(map(add, days.get(begun, nothing), sums))
    tables = (stretch.sums, stretch.impersonal)
    longer = [_by_time(connection, table, DAY_US) for table in tables]
    for at, added in states_of_days(connection, stretch, stretches(connection, DAYS, None, None)):
        if added is None or not added.whole:
            continue
        for table, sums_of in zip(tables, longer, strict=True):
            for column, mine, theirs in zip(SUMS, sums_of.get(at, nothing), days.get(at, nothing), strict=True):
                if mine != theirs:
                    return f"{table.name} {rfc3339(at)}", f"{column} is {mine}, in {DAYS.sums.name} {theirs}"
    return None


def _by_time(connection: Connection, table: sa.Table, length_us: int) -> dict[int, list[int]]:
    start = (table.c.start_at - table.c.start_at % length_us).label("start")
    query = sa.select(start, *[sa.func.sum(table.c[name]) for name in SUMS]).group_by(start)
    return {int(row[0]): [int(number) for number in row[1:]] for row in connection.execute(query)}
