"""Whether keys and raises may be other ones than at the last look, where that is cheaper to know than to look: there may be
tens of thousands, most of them revoked long ago, and the recorder commits several times a second.

No version writes anything for this, so that a change by any of them, by hand too, is seen.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

# Of all rows in one pass: of 15,000 keys SQLite needs 3 ms for it, where reading them takes 140. Whatever a command or the API
# writes adds a row, revokes one or brings an end forward, and none undoes that, so that no two changes hide each other.
# Ends in seconds and what is over, as a sum of microseconds would be too large; by row, so that none stands for another one.
_END = "sum((rowid % 8191 + 1) * ({0} / 1000000)), sum((rowid % 8191 + 1) * ({0} % 1000000))"
_SUMS = (
    f"SELECT max(rowid), count(*), count(revoked_at), sum(length(limits)), {_END.format('expires_at')} FROM keys",  # noqa: S608 - ours
    f"SELECT max(rowid), count(*), count(until_at), {_END.format('until_at')} FROM raises",  # noqa: S608 - ours
)
# PostgreSQL says of each row which transaction wrote it. Hashed, too: one that began early and ends late has a lower number.
_WRITERS = (
    "(SELECT (count(*), sum(number), sum(hashint8(number)))::text FROM "
    "(SELECT xmin::text::bigint AS number FROM {} OFFSET 0) AS written)"
)
_WRITTEN = sa.text(f"SELECT {_WRITERS.format('keys')}, {_WRITERS.format('raises')}")

Mark = tuple[Any, ...]


class Changes:
    """Of what is made at run time, by whatever process. A mark is another one after a change."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Any = None  # SQLite's, one and the same: the version is a connection's own
        self._connected = 0
        # Python ends with the process where a connection is closed that another thread asks.
        self._used = threading.Lock()

    def version(self) -> tuple[int, int] | None:
        """Another one after each commit to a file, of whatever; None where there is none to be had. Never waits: readers do
        not, and no lock is tried twice."""
        if self._engine.dialect.name != "sqlite":
            return None
        try:
            if self._connection is None:
                pooled = self._engine.raw_connection()
                pooled.detach()
                self._connection = pooled.dbapi_connection
                self._connection.execute("PRAGMA busy_timeout = 0")
                self._connected += 1
            return self._connected, self._connection.execute("PRAGMA data_version").fetchone()[0]
        except (SQLAlchemyError, sqlite3.Error):
            self.close()
            return None

    def mark(self) -> Mark | None:
        """As of now; None where the ledger does not say. Of a file it shows what the commands and the API do; what somebody
        writes into it by hand it may not show. Asked in a thread."""
        try:
            if self._engine.dialect.name == "sqlite":
                return self._sums()
            with self._engine.connect() as connected:
                return tuple(connected.execute(_WRITTEN).one())
        except (SQLAlchemyError, sqlite3.Error):
            self.close()
            return None

    def _sums(self) -> Mark | None:
        with self._used:
            connection = self._connection
            return None if connection is None else tuple(connection.execute(sums).fetchone() for sums in _SUMS)

    def close(self) -> None:
        """Waits for a mark that is asked for."""
        with self._used:
            connection, self._connection = self._connection, None
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
