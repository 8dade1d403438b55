"""The spool: what a data plane appends before and after every call, and what the recorder ships from there.

One *run* (one life of one worker) writes segments `<worker>-<run>.<n>.spool`, and holds `<worker>-<run>.lock` as long as
it lives: who can take that lock knows that the run is over. A frame is a length, a CRC-32 and a JSON payload, appended
with one `write`, so that a killed process leaves at most one torn frame, at the end.

`write` mode: appended is safe from the death of the process; a thread syncs to disk every 50 ms, off the event loop.
`fsync` mode: synced before `append` returns.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import struct
import threading
import time
import zlib
from collections import deque
from pathlib import Path
from typing import NamedTuple

import orjson

from proxy.ids import Ids
from proxy.spool.kept import give_way
from proxy.times import now_us

_HEAD = struct.Struct("<II")
_MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
_SEGMENT_BYTES = 64 * 1024 * 1024
_SYNC_EVERY_S = 0.05
_CHECK_SIZE_EVERY_BYTES = 1024 * 1024
_READ_BYTES = 4 * 1024 * 1024
_PAYLOAD_START = b'{"t":"'


class SpoolUnavailable(Exception):  # noqa: N818 - the state's name
    """Nothing can be appended now: the disk is full, broken or read-only, or the spool is at its bound."""


def frame(payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


class SpoolWriter:
    """Appends one run's records. Not for several threads."""

    def __init__(self, folder: Path, worker: str, *, mode: str = "write", max_mb: int = 4096) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._fsync = mode == "fsync"
        self._max_bytes = max_mb * 1024 * 1024
        self._run = f"{worker}-{Ids().new(now_us())}"
        self._number = 0
        self._fd = -1
        self._size = 0
        self._empty_size = 0
        self._until_check = 0
        self._lock_fd = os.open(folder / f"{self._run}.lock", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
        self._owed: deque[bytes] = deque()
        self._dirty = threading.Event()
        self._closed = False
        self._syncer = threading.Thread(target=self._sync_for_ever, name="spool-sync", daemon=True)
        self._open_segment()
        if not self._fsync:
            self._syncer.start()

    @property
    def run(self) -> str:
        return self._run

    def append(self, payload: bytes) -> None:
        """Append one record whole, or raise `SpoolUnavailable` and leave no part of it."""
        self._append(payload, self._max_bytes)

    def _append(self, payload: bytes, max_bytes: float) -> None:
        data = _HEAD.pack(len(payload), zlib.crc32(payload)) + payload
        size = len(data)
        self._until_check -= size
        if self._until_check < 0:
            self._make_room(size, max_bytes)
        try:
            written = os.write(self._fd, data)
            if written != size:
                raise OSError(errno.ENOSPC, f"only {written} of {size} bytes could be written")
            if self._fsync:
                os.fdatasync(self._fd)
        except OSError as error:
            self._take_back()
            if error.errno == errno.ENOSPC and give_way(self._folder):
                self._append(payload, max_bytes)
                return
            raise SpoolUnavailable(_reason(error)) from None
        self._size += size
        if not self._fsync and not self._dirty.is_set():
            self._dirty.set()

    def _take_back(self) -> None:
        """Leave no part of a record that was refused; where that fails too, nothing more goes into this segment."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._size = _SEGMENT_BYTES
            self._until_check = 0

    def append_end(self, payload: bytes) -> None:
        """Append the end of something that was begun, above the bound too. It cannot be refused any more: if the disk
        does not take it now, it is kept in memory and written first when the spool takes records again."""
        self._owed.append(payload)
        self.write_owed()

    def write_owed(self) -> int:
        """Write the ends that could not be written; how many are left."""
        while self._owed:
            try:
                self._append(self._owed[0], math.inf)
            except SpoolUnavailable:
                break
            self._owed.popleft()
        return len(self._owed)

    def _make_room(self, size: int, max_bytes: float) -> None:
        """From time to time: keep to the bound, begin a new segment, and come back from a broken one."""
        total = sum(item.stat().st_size for item in self._folder.iterdir() if item.suffix == ".spool")
        full = total + size > max_bytes
        if self._size + size > _SEGMENT_BYTES or (full and self._size > self._empty_size):
            self._open_segment()  # what is shipped of the old one is deleted only when nothing is appended to it any more
        if full:
            self._until_check = 0
            raise SpoolUnavailable(f"the spool has reached spool.max_mb ({self._max_bytes // 1024**2})")
        self._until_check = _CHECK_SIZE_EVERY_BYTES if total + size <= self._max_bytes else 0

    def _open_segment(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        path = self._folder / f"{self._run}.{self._number:06d}.spool"
        header = frame(orjson.dumps({"t": "open", "v": 1, "run": self._run, "segment": self._number}))
        try:
            fd = os.open(path, flags, 0o600)
            try:
                if os.write(fd, header) != len(header):
                    raise OSError(errno.ENOSPC, "the disk is full")
            except OSError:
                os.close(fd)
                path.unlink()
                raise
        except OSError as error:
            raise SpoolUnavailable(_reason(error)) from None
        old, self._fd, self._size = self._fd, fd, len(header)
        self._empty_size = len(header)
        self._number += 1
        if old >= 0:
            os.fdatasync(old)
            os.close(old)

    def _sync_for_ever(self) -> None:
        while True:
            self._dirty.wait()
            self._dirty.clear()
            if self._closed:
                return
            with contextlib.suppress(OSError):  # the next append meets the same disk, and says so
                os.fdatasync(self._fd)
            time.sleep(_SYNC_EVERY_S)

    def close(self) -> None:
        """The run is over: what it wrote is synced, its lock is free."""
        self.write_owed()
        self._closed = True
        self._dirty.set()
        with contextlib.suppress(OSError):
            os.fdatasync(self._fd)
        os.close(self._fd)
        os.close(self._lock_fd)


def _reason(error: OSError) -> str:
    return f"{errno.errorcode.get(error.errno or 0, 'OSError')}: {error.strerror}"


class Position(NamedTuple):
    """A place in a run: the segment's number and the byte in it. Positions of one run are ordered."""

    segment: int
    offset: int


class Record(NamedTuple):
    """One payload, where its frame begins, and the place right behind it."""

    payload: bytes
    segment: int
    start: int
    end: int

    @property
    def start_position(self) -> Position:
        return Position(self.segment, self.start)

    @property
    def end_position(self) -> Position:
        return Position(self.segment, self.end)


def frames(data: bytes, segment: int, offset: int) -> tuple[list[Record], int]:
    """The whole, sound frames at the beginning of `data`, and how many bytes they take."""
    records = []
    position = 0
    end = len(data)
    while position + 8 <= end:
        length, crc = _HEAD.unpack_from(data, position)
        after = position + 8 + length
        if after > end:
            break
        payload = data[position + 8 : after]
        if zlib.crc32(payload) != crc or not length:
            break
        records.append(Record(payload, segment, offset + position, offset + after))
        position = after
    return records, position


def next_sound(rest: bytes) -> int | None:
    """Where the next whole, sound frame begins behind damage; None where there is none."""
    at = rest.find(_PAYLOAD_START, 9)
    while at >= 0:
        length, crc = _HEAD.unpack_from(rest, at - 8)
        if at + length <= len(rest) and zlib.crc32(rest[at : at + length]) == crc:
            return at - 8
        at = rest.find(_PAYLOAD_START, at + 1)
    return None


def is_torn(data: bytes) -> bool:
    """Whether it is the beginning of one frame: what is left of a record that nobody was told is written."""
    if len(data) < _HEAD.size:
        return True
    length, _ = _HEAD.unpack_from(data)
    text = data[_HEAD.size :]
    return len(text) < length <= _MAX_PAYLOAD_BYTES and _PAYLOAD_START.startswith(text[: len(_PAYLOAD_START)])


class SpoolReader:
    """Reads one run's segments in order, from a position on, as they grow."""

    def __init__(self, folder: Path, run: str, start: Position = Position(0, 0)) -> None:  # noqa: B008 - immutable
        self.folder = folder
        self.run = run
        self.position = start
        self.damaged_bytes = 0  # between sound records: no crash leaves that
        self.torn_bytes = 0  # at an end: what a crash leaves of the record that it interrupted

    def segment_path(self, number: int) -> Path:
        return self.folder / f"{self.run}.{number:06d}.spool"

    def is_over(self) -> bool:
        """Whether the run's writer is gone. Asked before reading, so that nothing it wrote last is missed."""
        path = self.folder / f"{self.run}.lock"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def read(self, *, over: bool) -> list[Record]:
        """The records that are there, up to some megabytes; [] when there are no more now.

        over: the writer is gone, so an incomplete frame at the end will never be completed: it is passed over.
        """
        segment, offset = self.position
        try:
            with self.segment_path(segment).open("rb") as file:
                file.seek(offset)
                data = file.read(_READ_BYTES)
        except FileNotFoundError:
            data = b""
        if not data:
            if self.segment_path(segment + 1).exists():
                self.position = Position(segment + 1, 0)
                return self.read(over=over)
            return []
        records, used = frames(data, segment, offset)
        if used < len(data) and (len(data) < _READ_BYTES or not records):
            used += self._damage(data[used:], segment, offset + used, last=over or self._has_next(segment))
        self.position = Position(segment, offset + used)
        return records or (self.read(over=over) if used else [])

    def _has_next(self, segment: int) -> bool:
        return self.segment_path(segment + 1).exists()

    def _damage(self, rest: bytes, segment: int, offset: int, *, last: bool) -> int:
        """How many bytes to pass over: up to the next sound frame, which proves that what stands before it is damage;
        at the end of a finished segment all of it; else none, for the frame may still be in the making."""
        skip = next_sound(rest)
        if skip is None:
            if not last:
                return 0
            skip = len(rest)
            self.torn_bytes += skip
        else:
            self.damaged_bytes += skip
        path = self.folder / f"{self.run}.{segment:06d}.{offset}.damaged"
        with contextlib.suppress(OSError):
            path.touch(mode=0o600)
            path.write_bytes(rest[:skip])
        return skip

    def size_left(self) -> int:
        """Bytes that are not read yet."""
        total = 0
        for path in self.folder.glob(f"{self.run}.*.spool"):
            with contextlib.suppress(OSError):
                number = int(path.name.rsplit(".", 2)[1])
                if number >= self.position.segment:
                    size = path.stat().st_size
                    total += size - self.position.offset if number == self.position.segment else size
        return max(0, total)

    def segments(self, before: int | None = None) -> list[Path]:
        """The files of its segments, in order; only those with a smaller number than `before`."""
        paths = sorted(self.folder.glob(f"{self.run}.*.spool"))
        return [path for path in paths if before is None or int(path.name.rsplit(".", 2)[1]) < before]

    def first_segment(self) -> int | None:
        """The number of the first segment that is there."""
        paths = self.segments()
        return int(paths[0].name.rsplit(".", 2)[1]) if paths else None

    def unlock(self) -> None:
        """The run is over and shipped: its lock goes (what is damaged stays, for a person)."""
        (self.folder / f"{self.run}.lock").unlink(missing_ok=True)


def runs(folder: Path) -> list[str]:
    """Every run that has left something in the folder, oldest first."""
    found = {path.name.rsplit(".", 2)[0] for path in folder.glob("*.spool")} | {
        path.stem for path in folder.glob("*.lock")
    }
    return sorted(found, key=lambda run: run[-36:])
