"""The file of a ledger in SQLite, before anything is in it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path


def make_private(path: Path) -> None:
    """An empty database that only its owner may read; one that is there is left alone. It is made elsewhere and linked
    into its place: to turn a database to WAL fails where another connection does the same, and to close a file gives up
    every lock that this process has on it, SQLite's own among them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return
    with tempfile.TemporaryDirectory(dir=path.parent) as aside:
        made = Path(aside) / path.name
        made.touch(0o600)
        with contextlib.closing(sqlite3.connect(made)) as database:
            database.execute("PRAGMA journal_mode = WAL")
        with contextlib.suppress(FileExistsError):
            os.link(made, path)
