"""SQLite's write-ahead log is copied into the database by one process, and while nobody writes.

SQLite does it by itself behind a commit, when others may be writing. Before its version 3.51.3 a checkpoint that begins just as
another connection begins the log anew may then lose what is committed next (https://sqlite.org/wal.html, "The WAL-reset bug").
"""

from __future__ import annotations

import contextlib
import sqlite3

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.ledger.database import writing

_PAGES = 1000  # SQLite's own measure
_OF_A_BATCH, _ENTRIES_OF_A_PAGE = 16, 4  # about


class Checkpoints:
    """Of the ledger at `engine`; of one that is in no file there is nothing to do. Not for several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_file = engine.dialect.name == "sqlite"
        self._pages = 0

    def committed(self, entries: int) -> None:
        """A batch with so many. Never raises: what is not copied now is copied later."""
        self._pages += _OF_A_BATCH + entries // _ENTRIES_OF_A_PAGE
        if self._is_file and self._pages >= _PAGES:
            with contextlib.suppress(SQLAlchemyError, sqlite3.Error):
                checkpoint(self._engine)
                self._pages = 0


def checkpoint(engine: Engine) -> None:
    """Copy what no reader needs any more where it is. Who writes waits; who reads does not. Raises SQLAlchemyError
    and sqlite3.Error."""
    with writing(engine).begin(), contextlib.closing(engine.raw_connection()) as connection:
        connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
