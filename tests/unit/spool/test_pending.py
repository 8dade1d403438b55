"""INTENTs that wait for their requests: on disk before them, once, and known to be lost where the disk refuses them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from proxy.spool.pending import Pending, keep
from proxy.spool.reader import SpoolReader, runs
from proxy.spool.writer import SpoolWriter


def payload(number: int) -> bytes:
    return b'{"t":"intent","n":%d}' % number


def written(folder: Path) -> list[bytes]:
    reader = SpoolReader(folder, runs(folder)[0])
    payloads = []
    while records := reader.read(over=False):  # some at a time
        payloads += [record.payload for record in records]
    return [payload for payload in payloads if not payload.startswith(b'{"t":"open"')]


def test_they_are_kept_together_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, writes, real = SpoolWriter(tmp_path, "w"), [], os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(data.count(b"intent")) or real(fd, data))
    records = [Pending(writer, payload(number)) for number in range(3)]
    keep(records)
    keep(records)
    assert ([record.kept for record in records], writes) == ([True] * 3, [3])
    assert written(tmp_path) == [payload(number) for number in range(3)]


def test_of_two_spools_each_has_its_own(tmp_path: Path) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    keep([Pending(SpoolWriter(folder, "w"), payload(number)) for number, folder in enumerate(folders)])
    assert [written(folder) for folder in folders] == [[payload(0)], [payload(1)]]


def test_what_the_disk_refuses_is_lost_and_the_others_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, real = SpoolWriter(tmp_path, "w"), os.write

    def write(fd: int, data: bytes) -> int:
        if payload(1) in data:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    records = [Pending(writer, payload(number)) for number in range(3)]
    keep(records)
    assert [(record.kept, record.lost) for record in records] == [(True, False), (False, True), (True, False)]
    assert not records[1].append_behind(b'{"t":"void"}')  # nothing comes behind what was refused
    assert writer.write_owed() == 0
    assert written(tmp_path) == [payload(0), payload(2)]


def test_what_comes_behind_brings_its_intent_along_unless_that_is_there(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, "w")
    for number, before in enumerate((False, True)):
        record = Pending(writer, payload(number))
        if before:
            keep([record])
        assert record.append_behind(b'{"t":"waiting","n":%d}' % number)
        assert record.append_behind(b'{"t":"void","n":%d}' % number)
        keep([record])
    assert [bytes(one).split(b'"')[3] for one in written(tmp_path)] == [b"intent", b"waiting", b"void"] * 2


def test_what_the_disk_refuses_with_its_end_is_lost_and_waits_in_no_memory(tmp_path: Path) -> None:
    """Else whoever is refused over and over fills it."""
    writer = SpoolWriter(tmp_path, "w", max_mb=1)
    big = b'{"t":"intent","x":"' + b"x" * 300_000 + b'"}'
    records = [Pending(writer, big) for _ in range(10)]
    for record in records:
        record.append_behind(b'{"t":"refused"}')
    assert (records[0].kept, records[-1].kept, records[-1].lost) == (True, False, True)
    assert not records[-1].keep()
    assert writer.write_owed() == 0
    assert [len(one) for one in written(tmp_path)] == [len(big), 15] * sum(record.kept for record in records)
