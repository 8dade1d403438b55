"""Rows into `entries`: as many at once as a database takes, and one by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import DBAPIError

from proxy.ledger.entries.attempt_rows import ALIKE
from proxy.ledger.entries.entry import Shipped
from proxy.ledger.entries.row import Columns, Row
from proxy.ledger.schema import entries
from proxy.ledger.together import TOGETHER, Layout

_ALL = range(len(Row._fields))
_DEFAULTS = [None if column.server_default is None else 0 for column in entries.columns]  # a column's default
_MOST_STATEMENTS = 64
# What many calls have in common beside `ALIKE`. All of that is bound once for the rows of a statement.
_ALIKE_BESIDE = tuple(map(Row._fields.index, ("attempt", "session_source", "instance")))
_ALIKE = (*map(Row._fields.index, ALIKE), *_ALIKE_BESIDE)
_VARIED = tuple(at for at in _ALL if at not in _ALIKE)
_SMALL = [Row._fields.index(column.name) for column in entries.columns if type(column.type) is sa.Integer]
_MOST_SMALL = 2**31 - 1
_CONFLICT = "ON CONFLICT (id) DO NOTHING"
_COPIED_AS = {sa.Text: "text", sa.BigInteger: "int8", sa.Integer: "int4", sa.Boolean: "bool", sa.Double: "float8"}


class Inserting:
    """The statements for one database, compiled once; executed by the driver, past SQLAlchemy's work for each row."""

    def __init__(self, dialect: Dialect) -> None:
        self._names = [dialect.identifier_preparer.quote(name) for name in Row._fields]
        self._mark = "?" if dialect.name == "sqlite" else "%s"
        self._insert = self._statement(_ALL)
        self._inserts: dict[Layout, str] = {}
        self._copies = dialect.name == "postgresql"
        self._copy = f"COPY entries ({', '.join(self._names)}) FROM STDIN (FORMAT BINARY)"
        self._types = [_COPIED_AS[type(column.type)] for column in entries.columns]

    def _statement(self, present: Sequence[int]) -> str:
        """An INSERT of these columns."""
        names, marks = ", ".join(self._names[at] for at in present), ", ".join([self._mark] * len(present))
        return f"INSERT INTO entries ({names}) VALUES ({marks}) {_CONFLICT}"  # noqa: S608 - our own names

    def all(self, connection: Connection, shipped: Shipped) -> bool:
        """Whether every row is new, and now there. Where one is not, rows may be there all the same: in a savepoint. shipped:
        at least one.

        Raises DBAPIError, and OverflowError of an integer beyond its column.
        """
        if not self._copies:
            return self._inserted(connection, shipped) == len(shipped)
        try:
            self._copied(connection, shipped)
        except sa.exc.IntegrityError:  # also where one is there already: COPY knows no conflicts
            return False
        return True

    def _inserted(self, connection: Connection, shipped: Shipped) -> int:
        """How many rows are new. To bind values is most of what an INSERT costs: what no row says is not bound, what many say
        alike once for all."""
        columns, count = shipped.columns, 0
        varied, single = _said(_VARIED, columns), []
        by_kind: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for place, kind in enumerate(zip(shipped.alike, *[columns[at] for at in _ALIKE_BESIDE], strict=True)):
            by_kind[kind].append(place)
        together: dict[Layout, list[Any]] = defaultdict(list)
        for (alike, *beside), places in by_kind.items():
            own = [columns[at] for at in varied]
            if len(places) < len(shipped):
                own = [[column[place] for place in places] for column in own]
            kind = (*alike.values, *beside)
            whole = len(places) - len(places) % TOGETHER
            single += [(*kind, *rest) for rest in zip(*[column[whole:] for column in own], strict=True)]
            if whole:
                said = [value for value in kind if value is not None]
                present = [at for at, value in zip(_ALIKE, kind, strict=True) if value is not None]
                own = [column[:whole] for column in own]
                layout = Layout.of(present, varied, own)
                together[layout] += layout.bound(own, said)
        for layout, statements in together.items():
            count += connection.exec_driver_sql(self._of_some(layout), statements).rowcount
        if single:
            count += connection.exec_driver_sql(self._statement((*_ALIKE, *varied)), single).rowcount
        return count

    def _of_some(self, layout: Layout) -> str:
        statement = self._inserts.get(layout)
        if statement is None:
            if len(self._inserts) >= _MOST_STATEMENTS:
                self._inserts.clear()
            statement = self._inserts[layout] = layout.insert("entries", self._names, _CONFLICT)
        return statement

    def _copied(self, connection: Connection, shipped: Shipped) -> None:
        """By COPY: a quarter of the CPU of an INSERT here, and half of the time in the database."""
        errors = connection.dialect.loaded_dbapi.Error
        if any(number is not None and abs(number) > _MOST_SMALL for at in _SMALL for number in shipped.columns[at]):
            raise OverflowError  # which the driver would cut to its last 32 bits
        try:
            with connection.connection.cursor() as cursor, cursor.copy(self._copy) as copy:  # type: ignore[attr-defined]  # psycopg's
                copy.set_types(self._types)
                for row in shipped.rows:
                    copy.write_row(row)
        except errors as error:
            raise DBAPIError.instance(self._copy, None, error, errors, dialect=connection.dialect) from error

    def insert(self, connection: Connection, row: Row) -> bool:
        """Whether the row is new, and now there. Raises DBAPIError."""
        return connection.exec_driver_sql(self._insert, [row]).rowcount == 1


def _said(places: Sequence[int], columns: Columns) -> tuple[int, ...]:
    """Those of these columns in which a row has another value than the column's default."""
    count = len(columns[0])
    return tuple(at for at in places if columns[at][0] != _DEFAULTS[at] or columns[at].count(_DEFAULTS[at]) < count)
