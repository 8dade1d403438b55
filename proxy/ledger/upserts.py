"""INSERT, or UPDATE of the row that is there: a statement for a table and a database, made once, executed by the driver.

SQLAlchemy's own would be put together anew with every batch, which costs as much as twenty rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

_TOGETHER = 16  # rows of one statement of SQLite's: a statement costs as much as a row
_PG_TYPES = {sa.Text: "text", sa.BigInteger: "bigint", sa.Integer: "integer"}


class Upsert:
    """changes: what becomes of a column that is no key, where not the new value: SQL with {there} and {new}; None: it stays."""

    def __init__(self, table: sa.Table, dialect: Dialect, changes: Mapping[str, str | None] | None = None) -> None:
        quote, columns = dialect.identifier_preparer.quote, list(table.columns)
        self._at_once = dialect.name == "postgresql"  # one statement for all rows, a column at a time
        names = ", ".join(quote(column.name) for column in columns)
        key = ", ".join(quote(column.name) for column in table.primary_key)
        stated = []
        for column in columns:
            change = (changes or {}).get(column.name, "{new}")
            if change is not None and not column.primary_key:
                name = quote(column.name)
                text = change.format(there=f"{table.name}.{name}", new=f"excluded.{name}")
                stated.append(f"{name} = {text}")
        begin = f"INSERT INTO {table.name} ({names})"
        end = f"ON CONFLICT ({key}) DO UPDATE SET {', '.join(stated)}"
        if self._at_once:
            arrays = ", ".join(f"%s::{_PG_TYPES[type(column.type)]}[]" for column in columns)
            self._statement = f"{begin} SELECT * FROM unnest({arrays}) {end}"  # noqa: S608 - our own names
        else:
            row = f"({', '.join('?' * len(columns))})"
            self._statement, self._together = (
                f"{begin} VALUES {', '.join([row] * count)} {end}" for count in (1, _TOGETHER)
            )

    def write(self, connection: Connection, rows: list[tuple[Any, ...]]) -> None:
        """rows: a value for each column, in the table's order; in the order of their keys, so that no two writers wait for each
        other. At least one."""
        if self._at_once:
            connection.exec_driver_sql(self._statement, tuple(map(_array, zip(*rows, strict=True))))
            return
        whole = len(rows) - len(rows) % _TOGETHER
        if whole:
            some = [tuple(chain(*rows[first : first + _TOGETHER])) for first in range(0, whole, _TOGETHER)]
            connection.exec_driver_sql(self._together, some)
        if whole < len(rows):
            connection.exec_driver_sql(self._statement, rows[whole:])


def _array(column: Sequence[Any]) -> str | list[Any]:
    """A column as PostgreSQL's text of an array, which is JSON's in other brackets where nothing is escaped; else as a list,
    which the driver puts together value by value in Python: half of what a batch cost."""
    try:
        text = orjson.dumps(column).decode()
    except TypeError:
        # What no JSON holds (a number beyond 64 bits, half a surrogate pair) the database refuses, and names.
        return list(column)
    return list(column) if "\\" in text else f"{{{text[1:-1]}}}"
