"""SQLite's write-ahead log is copied into the database by the recorder alone, and while nobody writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ledger import checkpoints
from proxy.ledger.checkpoints import checkpoint
from proxy.ledger.database import open_ledger, writing
from proxy.spool.writer import SpoolWriter
from tests.support.spooled import Ledger, append, intent, settle


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def engine(file: Path) -> Iterator[Engine]:
    made = open_ledger(f"sqlite:///{file}")
    yield made
    made.dispose()


def write(engine: Engine, pages: int) -> None:
    with writing(engine).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS filler (content BLOB)")
        for _ in range(pages):
            connection.exec_driver_sql("INSERT INTO filler VALUES (zeroblob(4000))")


def test_no_connection_checkpoints_behind_its_commit(engine: Engine, file: Path) -> None:
    """Another one may be writing then."""
    with engine.connect(), engine.connect():  # several of the pool
        write(engine, 1)
        before = file.stat().st_size
        write(engine, 1500)
        write(engine, 1)
        assert file.stat().st_size == before


def test_while_it_is_copied_nobody_writes_and_all_of_it_is_there_then(engine: Engine, file: Path) -> None:
    write(engine, 1500)
    refused: list[str] = []

    def writes_too(*_: Any) -> None:
        if engine.pool.checkedout() < 2:  # the one that holds others off
            return
        with sqlite3.connect(file, timeout=0) as other, pytest.raises(sqlite3.OperationalError) as problem:
            other.execute("INSERT INTO filler VALUES (1)")
        refused.append(str(problem.value))

    sa.event.listen(engine, "checkout", writes_too)
    checkpoint(engine)
    sa.event.remove(engine, "checkout", writes_too)

    assert refused == ["database is locked"]
    assert file.stat().st_size > 1500 * 4000
    write(engine, 1)


def test_the_recorder_has_it_copied(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path, f"sqlite:///{file}")
    writer = SpoolWriter(ledger.folder, "w")
    sizes = [file.stat().st_size]
    for pages in (1000, 20):
        monkeypatch.setattr(checkpoints, "_PAGES", pages)
        one = intent()
        append(writer, one, settle(one))
        ledger.ship()
        sizes.append(file.stat().st_size)
    ledger.engine.dispose()
    assert sizes[0] == sizes[1] < sizes[2]
