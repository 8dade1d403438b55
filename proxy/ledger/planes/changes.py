"""Whether keys and raises may be other ones than at the last look, where that is cheaper to know than to look: there may be
tens of thousands, most of them revoked long ago, and the recorder commits several times a second.

No version writes anything for this, so that a change by any of them, by hand too, is seen.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

# Of all rows in one pass: of 15,000 keys SQLite needs 2.5 ms for it, where reading them takes 140. The remainder, as a sum of
# times would be too large.
_SUMS = (
    "SELECT max(rowid), count(*), count(revoked_at), sum(expires_at % 2147483647), sum(length(limits)) FROM keys",
    "SELECT max(rowid), count(*), count(until_at), sum(until_at % 2147483647) FROM raises",
)
# PostgreSQL says of each row which transaction wrote it, and later ones have larger numbers.
_WRITTEN = sa.text(
    "SELECT (SELECT (count(*), sum(xmin::text::bigint))::text FROM keys), "
    "(SELECT (count(*), sum(xmin::text::bigint))::text FROM raises)"
)

Mark = tuple[Any, ...]


class Changes:
    """Of what is made at run time, by whatever process. A mark is another one after a change."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Any = None  # SQLite's, one and the same: the version is a connection's own
        self._connected = 0

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
        writes into it by hand it may not show."""
        try:
            if self._engine.dialect.name == "sqlite":
                connection = self._connection
                return None if connection is None else tuple(connection.execute(sums).fetchone() for sums in _SUMS)
            with self._engine.connect() as connected:
                return tuple(connected.execute(_WRITTEN).one())
        except (SQLAlchemyError, sqlite3.Error):
            self.close()
            return None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
