"""Whoever reads looks between two steps of who writes: nothing that it has read may be another thing afterwards."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from proxy.spool import writer as spool
from proxy.spool.frames import frame
from proxy.spool.pending import Pending, keep
from proxy.spool.reader import SpoolReader, drop_unbegun, runs
from proxy.spool.writer import SpoolUnavailable, SpoolWriter


def payload(number: int, length: int = 0) -> bytes:
    return b'{"t":"tally","n":%d,"x":"%s"}' % (number, b"x" * length)


class Beside:
    """A reader at each step of the disk's that may fail, and what it has read."""

    def __init__(self, writer: SpoolWriter, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reader = SpoolReader(folder, writer.run)
        self.read: list[bytes] = []
        self.left = 10**9  # bytes that the disk takes
        self.is_broken = False
        self._really = os.write, os.ftruncate, os.fdatasync
        monkeypatch.setattr(spool.os, "write", self._write)
        monkeypatch.setattr(spool.os, "ftruncate", self._truncate)
        monkeypatch.setattr(spool.os, "fdatasync", self._sync)

    def look(self) -> list[bytes]:
        while records := self.reader.read(over=False):
            self.read += [record.payload for record in records if b'"t":"open"' not in record.payload]
        return self.read

    def _write(self, fd: int, data: bytes) -> int:
        if not self.left:
            raise OSError(errno.ENOSPC, "full")
        written = self._really[0](fd, data[: self.left])
        self.left -= written
        self.look()
        return written

    def _truncate(self, fd: int, size: int) -> None:
        self.look()
        self._really[1](fd, size)
        self.look()

    def _sync(self, fd: int) -> None:
        if threading.current_thread() is threading.main_thread():  # else it is the writer's own, at any moment
            self.look()
        if self.is_broken:
            raise OSError(errno.EIO, "broken")
        self._really[2](fd)


@pytest.mark.parametrize("room", [0, 1, 2])
@pytest.mark.parametrize("torn", [0, 5])
def test_of_several_that_the_disk_has_no_room_for_those_that_are_whole_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, torn: int
) -> None:
    writer = SpoolWriter(tmp_path, "w")
    beside = Beside(writer, tmp_path, monkeypatch)
    intents = [Pending(writer, payload(number)) for number in range(3)]

    beside.left = room * len(frame(payload(0))) + torn
    keep(intents)
    beside.left = 10**9
    writer.append(payload(9, length=50))  # not as long as what was refused
    writer.append(payload(10))

    assert [intent.kept for intent in intents] == [number < room for number in range(3)]
    assert beside.look() == [*(payload(number) for number in range(room)), payload(9, length=50), payload(10)]
    assert beside.reader.damaged_bytes == 0


def test_an_end_that_there_is_no_room_for_behind_its_beginning_is_owed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SpoolWriter(tmp_path, "w")
    beside = Beside(writer, tmp_path, monkeypatch)
    pending = Pending(writer, payload(1))

    beside.left = len(frame(payload(1))) + 5
    assert pending.append_behind(payload(2))
    beside.left = 10**9

    assert (pending.kept, pending.lost) == (True, False)
    assert writer.write_owed() == 0
    assert beside.look() == [payload(1), payload(2)]


def test_what_was_read_before_the_disk_failed_to_keep_it_hides_nothing_that_comes_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SpoolWriter(tmp_path, "w", mode="fsync")
    beside = Beside(writer, tmp_path, monkeypatch)
    beside.is_broken = True
    with pytest.raises(SpoolUnavailable):
        writer.append(payload(1))
    beside.is_broken = False
    writer.append(payload(2, length=20))
    writer.append(payload(3))

    assert beside.look()[-2:] == [payload(2, length=20), payload(3)]
    assert beside.reader.damaged_bytes == 0


def test_room_that_a_kept_segment_gave_is_used_for_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SpoolWriter(tmp_path, "w")
    beside = Beside(writer, tmp_path, monkeypatch)
    (tmp_path / "w-1.000000.shipped").write_bytes(b"x")

    def give_way(folder: Path, really: Any = spool.give_way) -> bool:
        beside.left += 1000
        return bool(really(folder))

    monkeypatch.setattr(spool, "give_way", give_way)
    beside.left = len(frame(payload(0))) + 5
    writer.append_all([payload(number) for number in range(3)])

    assert beside.look() == [payload(number) for number in range(3)]


@pytest.mark.parametrize("failing", ["open", "rename"])
def test_a_run_that_cannot_begin_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Who tries again in the same process would hold one run after the other, none of which was ever over."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    def open_but_segments(path: Any, *rest: Any, really: Any = os.open) -> int:
        return fail() if str(path).endswith("0.begun") else really(path, *rest)  # type: ignore[func-returns-value]

    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as full:
        if failing == "open":
            full.setattr(spool.os, "open", open_but_segments)
        else:
            full.setattr(spool.Path, "rename", fail)
        with pytest.raises((SpoolUnavailable, OSError)):
            SpoolWriter(tmp_path, "w")

    assert runs(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_what_a_writer_left_that_died_before_its_run_began_goes_with_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "w-0.lock-begun").touch()
    writer = SpoolWriter(tmp_path, "w")
    drop_unbegun(tmp_path)
    assert {path.name.rpartition(".")[0].partition(".")[0] for path in tmp_path.iterdir()} == {writer.run}
