"""What could not be synced is read by nobody: a record is in the ledger once, and one that was refused not at all."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.spool import writer as writing
from proxy.spool.frames import Position, frame
from proxy.spool.reader import SpoolReader
from proxy.spool.synced import note, noted
from proxy.spool.writer import SpoolUnavailable, SpoolWriter
from tests.support.spooled import Ledger, append, intent, settle


def broken(number: int = errno.EIO) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    made = Ledger(tmp_path, f"sqlite:///{tmp_path}/ledger.db")
    yield made
    made.engine.dispose()


def fails_once_read(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *, can_cut: bool) -> pytest.MonkeyPatch:
    """The recorder looks between a record's write and its sync, which fails."""

    def sync(_: int) -> None:
        ledger.ship()
        raise broken()

    def cut(*_: int) -> None:
        raise broken(errno.EROFS)

    monkeypatch.setattr(writing.os, "fdatasync", sync)
    if not can_cut:
        monkeypatch.setattr(writing.os, "ftruncate", cut)
    return monkeypatch


@pytest.mark.parametrize("can_cut", [True, False])
def test_an_end_whose_sync_fails_counts_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, can_cut: bool) -> None:
    """It was read, written again into the next segment, and kept as a record that nobody can read."""
    writer = SpoolWriter(ledger.folder, "w", mode="fsync")
    calls = [intent() for _ in range(3)]
    append(writer, *calls)
    with monkeypatch.context() as context:
        fails_once_read(ledger, context, can_cut=can_cut)
        writer.append_end(orjson.dumps(settle(calls[0])))
        writer.append_end(orjson.dumps(settle(calls[1])))
    assert writer.write_owed() == 0
    append(writer, settle(calls[2]))
    ledger.ship()
    writer.close()
    ledger.ship()

    assert sorted(row["status"] for row in ledger.rows()) == ["settled"] * 3
    assert ledger.recorder.unreadable_records == 0
    assert list(ledger.folder.iterdir()) == []


@pytest.mark.parametrize("can_cut", [True, False])
def test_a_call_that_was_refused_as_its_sync_failed_is_not_charged(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, can_cut: bool
) -> None:
    """It was read, stayed open, and was charged at its ceiling with the end of its worker."""
    writer = SpoolWriter(ledger.folder, "w", mode="fsync")
    one, refused = intent(), intent()
    append(writer, one)
    with monkeypatch.context() as context:
        fails_once_read(ledger, context, can_cut=can_cut)
        with pytest.raises(SpoolUnavailable):
            append(writer, refused)
    append(writer, settle(one))
    ledger.ship()
    writer.close()
    ledger.ship()

    assert [row["id"] for row in ledger.rows()] == [one["id"]]


def test_what_its_writer_died_upon_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be on disk, and what it is of may have been sent."""
    writer = SpoolWriter(tmp_path, "w", mode="fsync")
    append(writer, intent())
    reader = SpoolReader(tmp_path, writer.run)
    monkeypatch.setattr(writing.os, "fdatasync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        append(writer, intent())
    assert not reader.is_over()
    assert len(reader.read(over=False)) == 2  # with what opens the segment
    assert not reader.read(over=False)
    fcntl.flock(writer._lock_fd, fcntl.LOCK_UN)
    assert reader.is_over()
    assert len(reader.read(over=True)) == 1


@pytest.mark.parametrize(("mode", "says"), [("write", False), ("fsync", True)])
def test_only_who_syncs_each_record_says_how_far_it_is(tmp_path: Path, mode: str, says: bool) -> None:
    writer = SpoolWriter(tmp_path, "w", mode=mode)
    append(writer, intent())
    assert noted(writer._lock_fd) == (Position(0, writer._size) if says else None)


def test_who_has_read_further_than_is_synced_waits(tmp_path: Path) -> None:
    """As a version did that knew no such bound, and took down how far it had come."""
    writer = SpoolWriter(tmp_path, "w", mode="fsync")
    append(writer, intent())
    reader = SpoolReader(tmp_path, writer.run, Position(0, writer._size))
    note(writer._lock_fd, Position(0, 10))
    assert not reader.is_over()
    append_unsynced(writer)
    assert not reader.read(over=False)


def append_unsynced(writer: SpoolWriter) -> None:
    os.write(writer._fd, frame(orjson.dumps(intent())))
