"""Whether the ledger may say anything else than at the last look, where that is cheaper to know than to look."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError


class Changes:
    """Of a ledger in SQLite: its own count of commits, by whatever process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Any = None  # one and the same: the count is a connection's own

    def count(self) -> int | None:
        """Another number after a commit; None where there is none to be had. Never waits: readers do not, and no lock is tried
        twice."""
        if self._engine.dialect.name != "sqlite":
            return None
        try:
            if self._connection is None:
                pooled = self._engine.raw_connection()
                pooled.detach()
                self._connection = pooled.dbapi_connection
                self._connection.execute("PRAGMA busy_timeout = 0")
            row: tuple[int] = self._connection.execute("PRAGMA data_version").fetchone()
        except (SQLAlchemyError, sqlite3.Error):
            self.close()
            return None
        return row[0]

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
