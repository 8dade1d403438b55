"""Whether the ledger may say anything else than at the last look, where that is cheaper to know than to look."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

# Under load the recorder commits several times a second: whether rows are other ones takes a thirtieth of what reading them
# through SQLAlchemy does, which is a millisecond that calls on the same core wait for.
_MADE_AT_RUN_TIME = ("keys", "raises")
_MOST_ROWS = 200  # of a table that are compared: beyond that each commit is a change


class Changes:
    """Of what is made at run time, in a ledger in SQLite; by whatever process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Any = None  # one and the same: the version is a connection's own
        self._version: int | None = None  # SQLite's count of commits
        self._rows: list[list[tuple[Any, ...]]] | None = None  # None: too many
        self._count = 0

    def count(self) -> int | None:
        """Another number after a change; None where there is none to be had. Never waits: readers do not, and no lock is tried
        twice."""
        if self._engine.dialect.name != "sqlite":
            return None
        try:
            if self._connection is None:
                pooled = self._engine.raw_connection()
                pooled.detach()
                self._connection = pooled.dbapi_connection
                self._connection.execute("PRAGMA busy_timeout = 0")
            version = self._connection.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                rows = self._read()
                if rows is None or rows != self._rows:
                    self._count += 1
                self._version, self._rows = version, rows
        except (SQLAlchemyError, sqlite3.Error):
            self.close()
            return None
        return self._count

    def _read(self) -> list[list[tuple[Any, ...]]] | None:
        tables = []
        for name in _MADE_AT_RUN_TIME:
            query = f"SELECT * FROM {name} ORDER BY id LIMIT {_MOST_ROWS + 1}"  # noqa: S608 - our own names
            tables.append(self._connection.execute(query).fetchall())
        return None if any(len(table) > _MOST_ROWS for table in tables) else tables

    def close(self) -> None:
        connection, self._connection, self._version = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
