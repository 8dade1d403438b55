"""Rows into `entries`: as many at once as a database takes, and one by itself."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import DBAPIError

from proxy.ledger.row import Row
from proxy.ledger.schema import entries

_ALL = range(len(Row._fields))
_DEFAULTS = [None if column.server_default is None else 0 for column in entries.columns]  # a column's default
_MOST_STATEMENTS = 64
_SMALL = operator.attrgetter(*(column.name for column in entries.columns if type(column.type) is sa.Integer))
_MOST_SMALL = 2**31 - 1
_COPIED_AS = {sa.Text: "text", sa.BigInteger: "int8", sa.Integer: "int4", sa.Boolean: "bool", sa.Double: "float8"}


class Inserting:
    """The statements for one database, compiled once; executed by the driver, past SQLAlchemy's work for each row."""

    def __init__(self, dialect: Dialect) -> None:
        self._names = [dialect.identifier_preparer.quote(name) for name in Row._fields]
        self._mark = "?" if dialect.name == "sqlite" else "%s"
        self._insert = self._statement(_ALL)
        self._inserts: dict[tuple[int, ...], str] = {}  # by the columns that they name
        self._copies = dialect.name == "postgresql"
        self._copy = f"COPY entries ({', '.join(self._names)}) FROM STDIN (FORMAT BINARY)"
        self._types = [_COPIED_AS[type(column.type)] for column in entries.columns]

    def _statement(self, present: Sequence[int]) -> str:
        """An INSERT of these columns."""
        names, marks = ", ".join(self._names[at] for at in present), ", ".join([self._mark] * len(present))
        return f"INSERT INTO entries ({names}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 - our own names

    def all(self, connection: Connection, rows: Sequence[Row]) -> bool:
        """Whether every row is new, and now there. Where one is not, rows may be there all the same: in a savepoint.

        Raises DBAPIError, and OverflowError of an integer beyond its column.
        """
        if not self._copies:
            return self._inserted(connection, rows)
        try:
            self._copied(connection, rows)
        except sa.exc.IntegrityError:  # also where one is there already: COPY knows no conflicts
            return False
        return True

    def _inserted(self, connection: Connection, rows: Sequence[Row]) -> bool:
        """What no row says is not bound, for that is most of what an INSERT costs: of 60 columns a call says some 35."""
        columns, first, count = list(zip(*rows, strict=True)), rows[0], len(rows)
        present = tuple(
            at for at, default in enumerate(_DEFAULTS) if first[at] != default or columns[at].count(default) < count
        )
        statement = self._inserts.get(present)
        if statement is None:
            if len(self._inserts) >= _MOST_STATEMENTS:
                self._inserts.clear()
            statement = self._inserts[present] = self._statement(present)
        plain = list(zip(*(columns[at] for at in present), strict=True))
        return connection.exec_driver_sql(statement, plain).rowcount == count

    def _copied(self, connection: Connection, rows: Sequence[Row]) -> None:
        """By COPY: a quarter of the CPU of an INSERT here, and half of the time in the database."""
        errors = connection.dialect.loaded_dbapi.Error
        try:
            with connection.connection.cursor() as cursor, cursor.copy(self._copy) as copy:  # type: ignore[attr-defined]  # psycopg's
                copy.set_types(self._types)
                for row in rows:
                    if any(number is not None and abs(number) > _MOST_SMALL for number in _SMALL(row)):
                        raise OverflowError  # which the driver would cut to its last 32 bits
                    copy.write_row(row)
        except errors as error:
            raise DBAPIError.instance(self._copy, None, error, errors, dialect=connection.dialect) from error

    def insert(self, connection: Connection, row: Row) -> bool:
        """Whether the row is new, and now there. Raises DBAPIError."""
        return connection.exec_driver_sql(self._insert, [row]).rowcount == 1
