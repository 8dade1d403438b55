"""What a person or a program that cleans up deletes of a spool that is written to is there again, and no record is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.spool.reader import SpoolReader
from proxy.spool.writer import SpoolWriter
from tests.support.spooled import Ledger, append, intent, settle


def segments(folder: Path) -> None:
    for path in folder.glob("*.spool"):
        path.unlink()


def locks(folder: Path) -> None:
    for path in folder.glob("*.lock"):
        path.unlink()


def everything(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.fixture
def ledger(tmp_path: Path, database: str) -> Iterator[Ledger]:
    made = Ledger(tmp_path, database)
    yield made
    made.engine.dispose()


@pytest.mark.parametrize("delete", [segments, locks, everything])
@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("mode", ["write", "fsync"])
def test_what_was_deleted_is_there_again(ledger: Ledger, delete: Callable[[Path], None], seen: bool, mode: str) -> None:
    """seen: the recorder looks while it is missing; without the lock it takes the run for over."""
    writer = SpoolWriter(ledger.folder, "w", mode=mode)
    calls = [intent() for _ in range(4)]
    append(writer, calls[0], settle(calls[0]), calls[1])
    ledger.ship()
    append(writer, calls[2], settle(calls[2]))
    delete(ledger.folder)
    append(writer, settle(calls[1]), calls[3])
    if seen:
        ledger.ship()

    assert writer.keep_named()
    append(writer, settle(calls[3]))
    ledger.ship()

    reader = SpoolReader(ledger.folder, writer.run)
    assert not reader.is_over()
    assert {row["id"] for row in ledger.rows() if row["kind"] == "attempt"} == {call["id"] for call in calls}
    assert ledger.spent() == 4 * 400
    assert writer.keep_named() is None
    writer.close()


def test_what_cannot_be_there_again_is_a_refusal_and_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    writer = SpoolWriter(folder, "w")
    everything(folder)
    folder.touch()
    assert writer.keep_named() is None
    assert writer.take_refusal().startswith("ENOTDIR")
    folder.unlink()
    assert writer.keep_named()
    assert [path.suffix for path in sorted(folder.iterdir())] == [".spool", ".lock"]
