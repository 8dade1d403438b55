"""The spool: what was appended is read again, whatever became of the writer, the disk, or the bytes."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.spool import reader as spool_reader
from proxy.spool import writer as spool
from proxy.spool.frames import Position, frame
from proxy.spool.reader import SpoolReader, runs
from proxy.spool.writer import SpoolUnavailable, SpoolWriter
from tests.support.examples import examples


def payload(number: int) -> bytes:
    return b'{"t":"tally","n":%d}' % number


START = Position(0, 0)


def append_ten(writer: SpoolWriter, record: bytes) -> None:
    for _ in range(10):
        writer.append(record)


def read_all(folder: Path, start: Position = START) -> tuple[list[bytes], SpoolReader]:
    reader = SpoolReader(folder, runs(folder)[0], start)
    payloads = []
    while records := reader.read(over=reader.is_over()):
        payloads += [record.payload for record in records]
    return [item for item in payloads if b'"t":"open"' not in item], reader


def test_what_is_appended_is_read_in_order(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, "w")
    for number in range(100):
        writer.append(payload(number))
    assert read_all(tmp_path)[0] == [payload(number) for number in range(100)]


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, "w")
    writer.append(payload(1))
    _, reader = read_all(tmp_path)
    writer.append(payload(2))
    assert [record.payload for record in reader.read(over=False)] == [payload(2)]
    assert read_all(tmp_path, reader.position)[0] == []


def test_records_are_read_some_at_a_time_however_long_each_is(tmp_path: Path) -> None:
    sizes = [100, 200_000, 200_000, 200_000, 1_300_000, 100, 600_000, 100]
    records = [b'{"t":"tally","x":"' + bytes([65 + number]) * size + b'"}' for number, size in enumerate(sizes)]
    writer = SpoolWriter(tmp_path, "w")
    for record in records:
        writer.append(record)
    reader = SpoolReader(tmp_path, runs(tmp_path)[0])
    portions, told = [], []
    while portion := reader.read(over=False):
        portions.append([record.payload for record in portion if b'"t":"open"' not in record.payload])
        told.append(reader.more)

    assert [record for portion in portions for record in portion] == records
    assert len(portions) == 3  # where the next one is long, all of it and what comes with it
    assert told == [True, True, False]
    assert (reader.more, reader.damaged_bytes) == (False, 0)


def test_a_segment_that_cannot_be_begun_was_never_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks at that moment would go on to it, and miss what comes into the one before."""
    writer = SpoolWriter(tmp_path, "w")
    writer.append(payload(1))
    _, reader = read_all(tmp_path)
    write, seen = os.write, []

    def full_disk(fd: int, data: bytes) -> int:
        if b'"t":"open"' in data:
            seen.extend(reader.read(over=False))
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    with monkeypatch.context() as full:
        full.setattr(os, "write", full_disk)
        with pytest.raises(SpoolUnavailable):
            writer._open_segment()
    writer.append(payload(2))
    assert [record.payload for record in reader.read(over=False)] == [payload(2)]
    assert seen == []
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".lock", ".spool"]


@pytest.mark.parametrize("at", [1, 2, 3])
def test_what_comes_between_two_looks_at_a_segment_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Its last record, and the next segment behind it."""
    writer = SpoolWriter(tmp_path, "w")
    writer.append(payload(1))
    _, reader = read_all(tmp_path)
    looks = 0

    def noted(look: Callable[..., Any]) -> Callable[..., Any]:
        def seen(*args: Any) -> Any:
            nonlocal looks
            found = look(*args)
            looks += 1
            if looks == at:
                writer.append(payload(2))
                writer._open_segment()
                writer.append(payload(3))
            return found

        return seen

    with monkeypatch.context() as watched:
        watched.setattr(spool_reader.os, "stat", noted(os.stat))
        watched.setattr(reader, "_has_next", noted(reader._has_next))
        payloads = [record.payload for _ in range(4) for record in reader.read(over=False)]
    assert [item for item in payloads if b'"t":"open"' not in item] == [payload(2), payload(3)]


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    SpoolWriter(tmp_path / "spool", "w").append(payload(1))
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "spool").iterdir()} == {0o600}


def test_a_run_is_over_when_its_writer_is_gone(tmp_path: Path) -> None:
    """Gone by closing, and gone by kill -9."""
    writer = SpoolWriter(tmp_path, "w")
    reader = SpoolReader(tmp_path, runs(tmp_path)[0])
    assert reader.is_over() is False
    writer.close()
    assert reader.is_over() is True
    script = (
        "import os, sys; from pathlib import Path; from proxy.spool.writer import SpoolWriter\n"
        "w = SpoolWriter(Path(sys.argv[1]), 'k'); w.append(b'{\"t\":\"tally\"}'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    killed = next(run for run in runs(tmp_path) if run.startswith("k-"))
    reader = SpoolReader(tmp_path, killed)
    assert reader.is_over()
    assert reader.read(over=True)[-1].payload == b'{"t":"tally"}'


def test_a_run_that_begins_is_over_at_no_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder that took it for over would delete its first segment, and its writer would go on in a file without a name."""
    over: list[str] = []
    looks, is_looking = 0, False

    def look() -> None:
        nonlocal looks, is_looking
        if is_looking:
            return
        is_looking = True
        over.extend(run for run in runs(tmp_path) if SpoolReader(tmp_path, run).is_over())
        looks, is_looking = looks + 1, False

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            look()
            result = real(*args, **kwargs)
            look()
            return result

        return call

    for module, name in ((fcntl, "flock"), (os, "open"), (os, "rename"), (os, "write")):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    writer = SpoolWriter(tmp_path, "w")

    assert looks >= 12  # before and behind each: a lock and a segment are made, written and named
    assert over == []
    assert runs(tmp_path) == [writer.run]


def test_segments_follow_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_SEGMENT_BYTES", 1000)
    monkeypatch.setattr(spool, "_CHECK_SIZE_EVERY_BYTES", 0)
    writer = SpoolWriter(tmp_path, "w")
    for number in range(200):
        writer.append(payload(number))
    assert len(list(tmp_path.glob("*.spool"))) > 3
    payloads, reader = read_all(tmp_path)
    assert payloads == [payload(number) for number in range(200)]
    for path in reader.segments(before=reader.position.segment):
        path.unlink()
    assert len(list(tmp_path.glob("*.spool"))) == 1


def test_at_the_bound_the_segment_is_given_up_so_that_it_can_be_shipped_and_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_CHECK_SIZE_EVERY_BYTES", 0)
    writer = SpoolWriter(tmp_path, "w", max_mb=1)
    big = b'{"t":"' + b"x" * 300_000 + b'"}'
    for _ in range(2):
        with pytest.raises(SpoolUnavailable, match="max_mb"):
            append_ten(writer, big)
    payloads, reader = read_all(tmp_path)
    assert payloads == [big] * 3
    assert len(list(tmp_path.glob("*.spool"))) == 2
    for path in reader.segments(before=reader.position.segment):
        path.unlink()
    writer.append(payload(1))


def test_what_has_begun_can_end_above_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is the operator's, and the disk has room: an end kept in memory would be lost with the process."""
    monkeypatch.setattr(spool, "_CHECK_SIZE_EVERY_BYTES", 0)
    writer = SpoolWriter(tmp_path, "w", max_mb=1)
    big = b'{"t":"' + b"x" * 300_000 + b'"}'
    with pytest.raises(SpoolUnavailable, match="max_mb"):
        append_ten(writer, big)
    writer.append_end(big)
    with pytest.raises(SpoolUnavailable, match="max_mb"):
        writer.append(big)
    assert read_all(tmp_path)[0] == [big] * 4


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "gone"), OSError(errno.EIO, "broken")])
def test_a_segment_that_cannot_be_looked_at_is_no_surprise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """The recorder deletes what it has read, at any moment; whatever else there is, is said as ever."""
    monkeypatch.setattr(spool, "_CHECK_SIZE_EVERY_BYTES", 0)
    writer = SpoolWriter(tmp_path, "w", max_mb=1)
    writer.append(payload(1))

    def stat(path: Path) -> object:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(spool.Path, "stat", stat)
        if isinstance(error, FileNotFoundError):
            writer.append(payload(2))
        else:
            with pytest.raises(SpoolUnavailable):
                writer.append(payload(2))
            writer.append_end(payload(2))
    writer.write_owed()
    assert read_all(tmp_path)[0] == [payload(1), payload(2)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_refuses_is_said_and_outlived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    writer = SpoolWriter(tmp_path, "w")
    writer.append(payload(1))

    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(spool.os, "write", fail)
        with pytest.raises(SpoolUnavailable):
            writer.append(payload(2))
    writer.append(payload(3))
    assert read_all(tmp_path)[0] == [payload(1), payload(3)]


def test_a_segment_that_could_not_be_begun_is_begun_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full to the last byte takes the name of a file, but nothing into it."""
    monkeypatch.setattr(spool, "_SEGMENT_BYTES", 100)
    monkeypatch.setattr(spool, "_CHECK_SIZE_EVERY_BYTES", 0)
    writer = SpoolWriter(tmp_path, "w")
    real = os.write
    for wrong in (
        lambda fd, data: real(fd, data[:10]),
        lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")),
    ):
        with monkeypatch.context() as full:
            full.setattr(spool.os, "write", wrong)
            with pytest.raises(SpoolUnavailable):
                append_ten(writer, payload(0))
    append_ten(writer, payload(1))
    assert read_all(tmp_path)[0] == [payload(1)] * 10


def test_a_record_that_was_refused_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written but not synced is not appended; and what follows stands where its writer believes it to."""
    writer = SpoolWriter(tmp_path, "w", mode="fsync")
    writer.append(payload(1))
    with monkeypatch.context() as broken:
        broken.setattr(spool.os, "fdatasync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        with pytest.raises(SpoolUnavailable):
            writer.append(payload(2))
    writer.append(payload(3))
    real = os.write
    with monkeypatch.context() as full:
        full.setattr(spool.os, "write", lambda fd, data: real(fd, data[:10]))
        with pytest.raises(SpoolUnavailable):
            writer.append(payload(4))
    writer.append(payload(5))
    assert read_all(tmp_path)[0] == [payload(1), payload(3), payload(5)]


def test_half_a_record_that_cannot_be_taken_back_ends_its_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SpoolWriter(tmp_path, "w")
    writer.append(payload(1))
    real = os.write
    with monkeypatch.context() as broken:
        broken.setattr(spool.os, "write", lambda fd, data: real(fd, data[:10]))
        broken.setattr(spool.os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        with pytest.raises(SpoolUnavailable):
            writer.append(payload(2))
    writer.append(payload(3))
    payloads, reader = read_all(tmp_path)
    assert payloads == [payload(1), payload(3)]
    assert reader.damaged_bytes == 0
    assert len(list(tmp_path.glob("*.spool"))) == 2


def test_an_end_that_cannot_be_written_is_owed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun has to be ended: a full disk delays the record and does not lose it, nor its order."""
    writer = SpoolWriter(tmp_path, "w")
    writer.append(payload(1))
    with monkeypatch.context() as full:
        full.setattr(spool.os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        writer.append_end(payload(2))
        writer.append_end(payload(3))
        assert writer.write_owed() == 2
    writer.append_end(payload(4))
    assert read_all(tmp_path)[0] == [payload(number) for number in (1, 2, 3, 4)]


def test_ends_that_are_owed_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, writes, real = SpoolWriter(tmp_path, "w"), [], os.write
    monkeypatch.setattr(spool.os, "write", lambda fd, data: writes.append(len(data)) or real(fd, data))
    for number in range(40):
        writer.owe(payload(number))
    assert (read_all(tmp_path)[0], writes) == ([], [])
    assert writer.write_owed() == 0
    assert read_all(tmp_path)[0] == [payload(number) for number in range(40)]
    assert len(writes) == 2


@pytest.mark.parametrize("room", [0, 1, 3])
def test_of_what_is_owed_as_much_is_written_as_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """And what was told to be written is whole, and is there once."""
    writer, real = SpoolWriter(tmp_path, "w"), os.write
    left = room * len(frame(payload(1))) + 5

    def write(fd: int, data: bytes) -> int:
        nonlocal left
        if left <= 0:
            raise OSError(errno.ENOSPC, "full")
        written = real(fd, data[:left])
        left -= written
        return written

    def truncate(fd: int, size: int, cut: Callable[[int, int], None] = os.ftruncate) -> None:
        nonlocal left
        left += os.fstat(fd).st_size - size
        cut(fd, size)

    for number in range(1, 6):
        writer.owe(payload(number))
    with monkeypatch.context() as full:
        full.setattr(spool.os, "write", write)
        full.setattr(spool.os, "ftruncate", truncate)
        assert writer.write_owed() == 5 - room
    assert read_all(tmp_path)[0] == [payload(number) for number in range(1, 1 + room)]
    assert writer.write_owed() == 0
    assert read_all(tmp_path)[0] == [payload(number) for number in range(1, 6)]


def test_half_a_write_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk can take the first bytes of a frame."""
    writer = SpoolWriter(tmp_path, "w")
    writer.append(payload(1))
    real = os.write
    with monkeypatch.context() as full:
        full.setattr(spool.os, "write", lambda fd, data: real(fd, data[:10]))
        with pytest.raises(SpoolUnavailable):
            writer.append(payload(2))
    writer.append(payload(3))
    assert read_all(tmp_path)[0] == [payload(1), payload(3)]


@given(cut=st.integers(1, 400))
@examples(60)
def test_a_torn_tail_costs_only_the_torn_record(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("torn")
    data = b"".join(frame(payload(number)) for number in range(20))
    cut = min(cut, len(data))
    (folder / "w-0.000000.spool").write_bytes(data[:-cut])
    whole = [payload(n) for n in range(20) if len(b"".join(frame(payload(k)) for k in range(n + 1))) <= len(data) - cut]
    assert read_all(folder)[0] == whole


def test_an_incomplete_frame_is_waited_for_while_its_writer_lives(tmp_path: Path) -> None:
    data = frame(payload(1)) + frame(payload(2))
    path = tmp_path / "w-0.000000.spool"
    path.write_bytes(data[:-5])
    reader = SpoolReader(tmp_path, "w-0")
    assert [record.payload for record in reader.read(over=False)] == [payload(1)]
    assert not reader.read(over=False)
    path.write_bytes(data)
    assert [record.payload for record in reader.read(over=False)] == [payload(2)]


@given(at=st.integers(0, 500), junk=st.binary(min_size=1, max_size=30))
@examples(100)
def test_damage_in_the_middle_costs_no_more_than_what_it_hit(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    """Everything before and behind the damaged frames is read; the damaged bytes are kept for a person."""
    folder = tmp_path_factory.mktemp("damaged")
    frames = [frame(payload(number)) for number in range(20)]
    data = bytearray(b"".join(frames))
    at = min(at, len(data) - len(junk) - 60)
    data[at : at + len(junk)] = junk
    (folder / "w-0.000000.spool").write_bytes(data)
    edges = [sum(map(len, frames[:n])) for n in range(21)]
    untouched = [payload(n) for n in range(20) if bytes(data[edges[n] : edges[n + 1]]) == frames[n]]
    payloads, reader = read_all(folder)
    assert payloads == untouched
    if len(untouched) < 20:
        assert reader.damaged_bytes > 0
        assert list(folder.glob("*.damaged"))


def test_why_it_refuses_is_one_reason_however_much_of_a_record_still_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told once a minute for each reason: with the bytes in it, there was another one each second."""
    writer = SpoolWriter(tmp_path, "w")
    reasons = set()
    for part in (3, 5):
        with monkeypatch.context() as full:
            full.setattr(os, "write", lambda _fd, _data, part=part: part)
            with pytest.raises(SpoolUnavailable):
                writer.append(payload(1))
        reasons.add(writer.take_refusal())

    assert reasons == {"ENOSPC: No space left on device"}
    assert writer.take_refusal() == ""
