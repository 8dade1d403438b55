"""Adds to the roll-ups' tables, in the transaction of the entries that are rolled up.

Every row is added to the one that is there, in the order of its key, so that several instances cannot wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.ledger.rollups import Counted, roll_up
from proxy.ledger.schema import (
    SUMS,
    TOKEN_COLUMNS,
    entries,
    spend_days,
    spend_hours,
    spend_people_days,
    spend_people_weeks,
    spend_sessions,
    spend_units,
)

_TABLES = (spend_hours, spend_days, spend_people_days, spend_people_weeks, spend_sessions, spend_units)
_PAGE = 5000

# What a roll-up is made of.
ROLLED_COLUMNS = (
    *(entries.c[name] for name in ("id", "kind", "status", "started_at", "ended_at", "root_session_id")),
    *(entries.c[name] for name in ("key", "team", "user", "customer", "model", "provider", "upstream", "agent")),
    *(entries.c[name] for name in (*TOKEN_COLUMNS.values(), "usage", "cost_nanousd", "capacity_nanousd")),
)

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
        self._postgres = dialect.name == "postgresql"
        self._statements = {table.name: _statement(table, dialect) for table in _TABLES}
        self._changed = _change_statement(dialect)

    def add(self, connection: Connection, rows: Iterable[Counted]) -> None:
        """Roll up these entries."""
        rolled = roll_up(rows)
        for table in _TABLES:
            added = rolled.units if table is spend_units else rolled.tables[table.name]
            if added:
                self._write(connection, self._statements[table.name], added)
        days = sorted({row[0] for row in rolled.tables[spend_days.name]})
        if days:
            self._write(connection, self._changed, [(day,) for day in days])

    def _write(self, connection: Connection, statement: str, rows: list[tuple[Any, ...]]) -> None:
        if self._postgres:  # one statement for all, a column at a time
            connection.exec_driver_sql(statement, tuple(map(list, zip(*rows, strict=True))))
        else:
            connection.exec_driver_sql(statement, rows)


def counted(row: Mapping[str, Any]) -> Counted:
    """A row from the database, as a roll-up reads it."""
    return SimpleNamespace(**row)


def add_all(connection: Connection) -> None:
    """Roll up every entry that is there, into empty tables."""
    rolling = Rolling(connection.dialect)
    for rows in pages(connection, ROLLED_COLUMNS):
        rolling.add(connection, map(counted, rows))


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


_PG_TYPES = {sa.Text: "text", sa.BigInteger: "bigint", sa.Integer: "integer"}


def _statement(table: sa.Table, dialect: sa.Dialect) -> str:
    """INSERT, or add to the row that is there."""
    quote = dialect.identifier_preparer.quote
    columns = list(table.columns)
    names = ", ".join(quote(column.name) for column in columns)
    key = ", ".join(quote(column.name) for column in table.primary_key)
    changes = ", ".join(
        f"{quote(name)} = {_change(table.name, name, quote(name), dialect)}" for name in _changing(table)
    )
    if dialect.name == "postgresql":
        arrays = ", ".join(f"%s::{_PG_TYPES[type(column.type)]}[]" for column in columns)
        values = f"SELECT * FROM unnest({arrays})"  # noqa: S608 - our own names
    else:
        values = f"VALUES ({', '.join('?' * len(columns))})"
    return f"INSERT INTO {table.name} ({names}) {values} ON CONFLICT ({key}) DO UPDATE SET {changes}"


def _change_statement(dialect: sa.Dialect) -> str:
    """Count that the entries of a day have changed."""
    values = "SELECT day, 1, 0, 0, 0 FROM unnest(%s::bigint[]) AS day"
    if dialect.name != "postgresql":
        values = "VALUES (?, 1, 0, 0, 0)"
    columns = "start_at, changes, built, requests, cost_nanousd"
    conflict = "ON CONFLICT (start_at) DO UPDATE SET changes = label_days.changes + 1"
    return f"INSERT INTO label_days ({columns}) {values} {conflict}"


def _changing(table: sa.Table) -> Iterator[str]:
    added = {*SUMS, "amount", "first_at", "last_at", "ended_at", "team"}
    for column in table.columns:
        if column.name in added and (column.name != "team" or table is spend_sessions):
            yield column.name


def _change(table: str, name: str, quoted: str, dialect: sa.Dialect) -> str:
    there, new = f"{table}.{quoted}", f"excluded.{quoted}"
    least, greatest = ("LEAST", "GREATEST") if dialect.name == "postgresql" else ("MIN", "MAX")
    if name == "first_at":
        return f"{least}({there}, {new})"
    if name in ("last_at", "ended_at"):
        return f"{greatest}({there}, {new})"
    if name == "team":  # as MAX over the entries has it: of several the last by name, and none only where all have none
        return f"CASE WHEN {there} IS NULL OR {new} > {there} THEN {new} ELSE {there} END"
    return f"{there} + {new}"
