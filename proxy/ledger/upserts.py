"""INSERT, or UPDATE of the row that is there: a statement for a table and a database, made once, executed by the driver.

SQLAlchemy's own would be put together anew with every batch, which costs as much as twenty rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

from proxy.ledger.together import TOGETHER, Layout

_MOST_STATEMENTS = 16  # of a table
_PG_TYPES = {sa.Text: "text", sa.BigInteger: "bigint", sa.Integer: "integer"}


class Upsert:
    """changes: what becomes of a column that is no key, where not the new value: SQL with {there} and {new}; None: it stays."""

    def __init__(self, table: sa.Table, dialect: Dialect, changes: Mapping[str, str | None] | None = None) -> None:
        quote, columns = dialect.identifier_preparer.quote, list(table.columns)
        self._at_once = dialect.name == "postgresql"  # one statement for all rows, a column at a time
        key = ", ".join(quote(column.name) for column in table.primary_key)
        stated = []
        for column in columns:
            change = (changes or {}).get(column.name, "{new}")
            if change is not None and not column.primary_key:
                name = quote(column.name)
                text = change.format(there=f"{table.name}.{name}", new=f"excluded.{name}")
                stated.append(f"{name} = {text}")
        self._table, self._names = table.name, [quote(column.name) for column in columns]
        self._conflict = f"ON CONFLICT ({key}) DO UPDATE SET {', '.join(stated)}"
        if self._at_once:
            arrays = ", ".join(f"%s::{_PG_TYPES[type(column.type)]}[]" for column in columns)
            values = f"SELECT * FROM unnest({arrays})"  # noqa: S608 - our own names
        else:
            values = f"VALUES ({', '.join('?' * len(columns))})"
        self._statement = f"INSERT INTO {table.name} ({', '.join(self._names)}) {values} {self._conflict}"
        self._of_some: dict[Layout, str] = {}

    def write(self, connection: Connection, rows: list[tuple[Any, ...]]) -> None:
        """rows: a value for each column, in the table's order; in the order of their keys, so that no two writers wait for each
        other. At least one."""
        if self._at_once:
            connection.exec_driver_sql(self._statement, tuple(map(_array, zip(*rows, strict=True))))
            return
        whole = len(rows) - len(rows) % TOGETHER
        if whole:
            self._write_some(connection, list(zip(*rows[:whole], strict=True)))
        if whole < len(rows):
            connection.exec_driver_sql(self._statement, rows[whole:])

    def _write_some(self, connection: Connection, columns: Sequence[Sequence[Any]]) -> None:
        count = len(columns[0])
        varied = [at for at, column in enumerate(columns) if column.count(column[0]) < count]
        alike, own = [at for at in range(len(columns)) if at not in varied], [columns[at] for at in varied]
        layout = Layout.of(alike, varied, own)
        statement = self._of_some.get(layout)
        if statement is None:
            if len(self._of_some) >= _MOST_STATEMENTS:
                self._of_some.clear()
            statement = self._of_some[layout] = layout.insert(self._table, self._names, self._conflict)
        connection.exec_driver_sql(statement, layout.bound(own, [columns[at][0] for at in alike]))


def _array(column: Sequence[Any]) -> str | list[Any]:
    """A column as PostgreSQL's text of an array, which is JSON's in other brackets where nothing is escaped; else as a list,
    which the driver puts together value by value in Python: half of what a batch cost."""
    try:
        text = orjson.dumps(column).decode()
    except TypeError:
        # What no JSON holds (a number beyond 64 bits, half a surrogate pair) the database refuses, and names.
        return list(column)
    return list(column) if "\\" in text else f"{{{text[1:-1]}}}"
