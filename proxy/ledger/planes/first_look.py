"""What a ledger in SQLite says before a first call, read without SQLAlchemy, whose import takes longer than all the rest of a
start. For ledgers that are as a clean stop leaves them; whatever else there is to do is for `open_ledger`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from proxy.budgets.budget import Budget
from proxy.ledger.planes.snapshot import MOST_ASKED
from proxy.ledger.sqlite_file import make_private
from proxy.ledger.version import HEAD

Row = dict[str, Any]

_JOB_RUNS = "SELECT 1 FROM jobs WHERE state = 'running' LIMIT 1"
_CURRENT = "budget = ? AND window_start = ? AND measure = ?"


class FirstLook:
    """One state of the ledger. Whatever asks it raises sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def is_new(self) -> bool:
        return not self._rows("SELECT 1 FROM sqlite_master LIMIT 1")

    @property
    def is_settled(self) -> bool:
        """Whether its schema is ours, and no job runs, of which data planes would have to hold the reservations."""
        versions = self._rows("SELECT version_num FROM alembic_version")
        return versions == [{"version_num": HEAD}] and not self._rows(_JOB_RUNS)

    def keys(self) -> list[Row]:
        """The live ones."""
        return self._rows("SELECT * FROM keys WHERE revoked_at IS NULL ORDER BY id")

    def limits(self) -> list[Row]:
        """Of all keys that have or had any."""
        query = "SELECT limits, revoked_at FROM keys WHERE limits IS NOT NULL ORDER BY created_at, id"
        return self._rows(query)

    def raises(self, now_us: int) -> list[Row]:
        """Those in force."""
        query = "SELECT * FROM raises WHERE until_at IS NULL OR until_at > ? ORDER BY id"
        return self._rows(query, now_us)

    def definitions(self) -> dict[str, tuple[str, int]]:
        """By which digest each budget was defined last, and when that was, in epoch microseconds."""
        rows = self._rows("SELECT budget, digest, since_at FROM budget_definitions")
        return {row["budget"]: (row["digest"], row["since_at"]) for row in rows}

    def spent(self, budgets: Sequence[Budget], now_s: float) -> tuple[list[Row], list[Row]]:
        """What entries counted in the current windows, and the bases of these."""
        current = [(budget.name, budget.window_now(now_s)[0], budget.measure) for budget in budgets]
        read: tuple[list[Row], list[Row]] = ([], [])
        for table, rows in zip(("budget_spend", "budget_bases"), read, strict=True):
            for first in range(0, len(current), MOST_ASKED):
                some = current[first : first + MOST_ASKED]
                where = " OR ".join([f"({_CURRENT})"] * len(some))
                values = [value for one in some for value in one]
                rows.extend(self._rows(f"SELECT * FROM {table} WHERE {where}", *values))  # noqa: S608 - values are bound
        return read

    def _rows(self, query: str, *values: object) -> list[Row]:
        cursor = self._connection.execute(query, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


@contextlib.contextmanager
def first_look(path: Path) -> Iterator[FirstLook]:
    """At the ledger in the file `path`, which is made where it is missing. Raises OSError and sqlite3.Error."""
    make_private(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        yield FirstLook(connection)
