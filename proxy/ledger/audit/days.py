"""Roll-ups beside each other: a day comes to the same, however it is told apart."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.ledger.rollups import DAY_US, WEEK_US
from proxy.ledger.schema import (
    SUMS,
    label_days,
    spend_days,
    spend_hours,
    spend_label_days,
    spend_people_days,
    spend_people_weeks,
)
from proxy.times import rfc3339


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
    return _label_problem(connection)


def _label_problem(connection: Connection) -> tuple[str, str] | None:
    """A day that is added up by label comes to what it comes to without."""
    built = sa.select(label_days.c.start_at).where(
        label_days.c.built == label_days.c.changes, label_days.c.names != "[]"
    )
    days = set(connection.execute(built).scalars())
    labels, others = (_by_time(connection, table, DAY_US) for table in (spend_label_days, spend_days))
    nothing = [0] * len(SUMS)
    for at in sorted(days):
        for column, mine, theirs in zip(SUMS, labels.get(at, nothing), others.get(at, nothing), strict=True):
            if mine != theirs:
                return f"spend_label_days {rfc3339(at)}", f"{column} is {mine}, in spend_days {theirs}"
    return None


def _by_time(connection: Connection, table: sa.Table, length_us: int) -> dict[int, list[int]]:
    start = (table.c.start_at - table.c.start_at % length_us).label("start")
    query = sa.select(start, *[sa.func.sum(table.c[name]) for name in SUMS]).group_by(start)
    return {int(row[0]): [int(number) for number in row[1:]] for row in connection.execute(query)}
