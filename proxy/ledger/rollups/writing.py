"""Adds to the roll-ups' tables, in the transaction of the entries that are rolled up.

Every row is added to the one that is there, in the order of its key, so that several instances cannot wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.ids import first_id
from proxy.ledger.parts_schema import label_parts
from proxy.ledger.rollup_schema import (
    SUMS,
    label_days,
    session_names,
    spend_days,
    spend_hours,
    spend_people_days,
    spend_people_weeks,
    spend_sessions,
    spend_units,
)
from proxy.ledger.rollups.sums import PART_US, Columns, Counted, roll_up
from proxy.ledger.schema import TOKEN_COLUMNS, entries
from proxy.ledger.upserts import Upsert

_key = {spend_sessions: itemgetter(0), spend_units: itemgetter(2, 3, 4)}
_TABLES = (spend_hours, spend_days, spend_people_days, spend_people_weeks, spend_sessions, spend_units)
_PAGE = 5000

# What a roll-up is made of, and the id.
ROLLED_COLUMNS = tuple(entries.c[name] for name in ("id", *Counted._fields))

_ATTEMPT = entries.c.kind == "attempt"
ENTRY_SUMS = {
    "requests": sa.case((_ATTEMPT, 1), else_=0),
    "unpriced_requests": sa.case((sa.and_(_ATTEMPT, entries.c.cost_nanousd.is_(None)), 1), else_=0),
    "cost_nanousd": entries.c.cost_nanousd,
    **{column: entries.c[column] for column in TOKEN_COLUMNS.values()},
    "capacity_nanousd": entries.c.capacity_nanousd,
}
"""What an entry adds to each of `SUMS`, for the database."""


class Rolling:
    """The statements for one database."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._upserts = {table.name: Upsert(table, dialect, _changes(table, dialect)) for table in _TABLES}
        self._named_from: str | None = None
        self._is_read = False  # whether that is what the ledger says
        self._changed = {table.name: Upsert(table, dialect, _COUNTED) for table in (label_days, label_parts)}

    def add(self, connection: Connection, columns: Columns) -> None:
        """Roll up these entries."""
        if not self._is_read:
            self._named_from, self._is_read = named_from(connection), True
        rolled = roll_up(columns, self._named_from)
        for table in _TABLES:
            added = rolled.units if table is spend_units else rolled.tables[table.name]
            if added:
                self._upserts[table.name].write(connection, added)
        hours = {row[0] for row in rolled.tables[spend_hours.name]}
        days = {row[0] for row in rolled.tables[spend_days.name]}
        parts = {at - at % PART_US for at in (*hours, *rolled.uncounted)}  # lists of calls have those, too
        for table, changed in ((label_days, days), (label_parts, parts)):
            if changed:
                rest = (0, None, 0, 0, *[None] * (len(table.columns) - 6))
                self._changed[table.name].write(connection, [(at, 1, *rest) for at in sorted(changed)])

    def rename(self, connection: Connection, groups: Mapping[str, str]) -> None:
        """Sessions of these groups without a key get other groups (old: new): where these have rows, they are added to them."""
        table, units = spend_sessions.c, spend_units.c
        unknown = sa.and_(table.group.in_(groups), table.key.is_(None))
        rows = connection.execute(sa.select(spend_sessions).where(unknown).order_by(table.group).with_for_update())
        sessions = rows.mappings().all()
        locked = [row["group"] for row in sessions]
        theirs = {
            spend_sessions: table.group.in_(locked),
            spend_units: sa.and_(units.rollup == spend_sessions.name, units.group.in_(locked)),
        }
        for of, where in theirs.items():
            read = sessions if of is spend_sessions else connection.execute(sa.select(of).where(where)).mappings().all()
            connection.execute(sa.delete(of).where(where))
            renamed = [tuple({**row, "group": groups[row["group"]]}.values()) for row in read]
            if renamed:
                self._upserts[of.name].write(connection, sorted(renamed, key=_key[of]))


def named_from(connection: Connection) -> str | None:
    """From which id on sessions have their names for a group. It never changes."""
    since_at = connection.execute(sa.select(session_names.c.since_at)).scalar()
    return None if since_at is None else first_id(since_at)


_counted = itemgetter(*Counted._fields)


def counted(row: Mapping[str, Any]) -> Counted:
    """A row from the database, as a roll-up reads it."""
    return Counted._make(_counted(row))


def columns_of(rows: Iterable[Counted]) -> Columns:
    """As a roll-up takes them."""
    return list(zip(*rows, strict=True))


def add_all(connection: Connection) -> None:
    """Roll up every entry that is there, into empty tables."""
    rolling = Rolling(connection.dialect)
    for rows in pages(connection, ROLLED_COLUMNS):
        rolling.add(connection, columns_of(map(counted, rows)))


def pages(
    connection: Connection,
    columns: Sequence[sa.Column[Any]],
    since_at: int | None = None,
    until_at: int | None = None,
    size: int = _PAGE,
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """All entries, some at a time: in bounded memory whatever their number. By id; with `since_at` those that began from then
    on (and before `until_at`), by time, and no others are read. columns: with `id` and `started_at`."""
    names = [column.name for column in columns]
    by_time = since_at is not None
    span = [entries.c.started_at >= since_at] if by_time else []
    span += [] if until_at is None else [entries.c.started_at < until_at]
    order = (entries.c.started_at, entries.c.id) if by_time else (entries.c.id,)
    query = sa.select(*columns).where(*span).order_by(*order).limit(size)
    rows = connection.execute(query).all()
    while rows:
        page = [dict(zip(names, row, strict=True)) for row in rows]
        yield page
        last = [page[-1][column.name] for column in order]
        rows = connection.execute(query.where(sa.tuple_(*order) > sa.tuple_(*last))).all()


# That the entries of a stretch have changed.
_COUNTED = {column.name: None for column in label_days.columns} | {"changes": "{there} + {new}"}


def _changes(table: sa.Table, dialect: sa.Dialect) -> dict[str, str | None]:
    """What a roll-up's row is added to the one that is there."""
    least, greatest = ("LEAST", "GREATEST") if dialect.name == "postgresql" else ("MIN", "MAX")
    changes: dict[str, str | None] = {column.name: None for column in table.columns}  # names stay
    changes |= {name: "{there} + {new}" for name in (*SUMS, "amount") if name in changes}
    if table is spend_sessions:
        changes |= {"first_at": f"{least}({{there}}, {{new}})"}
        changes |= dict.fromkeys(("last_at", "ended_at"), f"{greatest}({{there}}, {{new}})")
        # A key that is not known stays so: what the session had before may have another (`session_keys.py`).
        changes["keyed"] = "{there} + CASE WHEN excluded.key = spend_sessions.key THEN {new} ELSE 0 END"
        # As MAX over the entries has it: of several the last by name, and none only where all have none.
        changes["team"] = "CASE WHEN {there} IS NULL OR {new} > {there} THEN {new} ELSE {there} END"
    return changes
