"""The writing side of the spool: what a data plane appends before and after every call.

One *run* (one life of one worker) writes segments `<worker>-<run>.<n>.spool`, and holds `<worker>-<run>.lock` as long as
it lives: who can take that lock knows that the run is over. What is appended is appended with one `write`, so that a killed
process leaves at most one torn frame, at the end.

`write` mode: appended is safe from the death of the process; a thread syncs to disk every 50 ms, off the event loop.
`fsync` mode: synced before `append` returns, and read by nobody before that (`synced.py`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from zlib import crc32

import orjson

from proxy.ids import Ids
from proxy.spool import synced
from proxy.spool.frames import HEAD, Position, frame
from proxy.spool.kept import give_way
from proxy.spool.records import VERSION, Open
from proxy.times import now_us

_SEGMENT_BYTES = 64 * 1024 * 1024
_SYNC_EVERY_S = 0.05
_CHECK_SIZE_EVERY_BYTES = 1024 * 1024
_PIECE_BYTES = 1024 * 1024
_MOST_TOGETHER = 32  # records in one write
BOUND = "spool.max_mb"


class SpoolUnavailable(Exception):  # noqa: N818 - the state's name
    """Nothing can be appended now: the disk is full, broken or read-only, or the spool is at its bound."""


class SpoolWriter:
    """Appends one run's records. Not for several threads."""

    def __init__(self, folder: Path, worker: str, *, mode: str = "write", max_mb: int = 4096) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._fsync = mode == "fsync"
        self._max_bytes = max_mb * 1024 * 1024
        self._run = f"{worker}-{Ids().new(now_us())}"
        self._number = 0
        self._path = folder  # of the segment that is written to
        self._fd = -1
        self._size = 0
        self._empty_size = 0
        self._until_check = 0
        self._given_up = False
        self._lock = folder / f"{self._run}.lock"
        self._synced = Position(0, 0) if self._fsync else None
        self._lock_fd = _hold(self._lock, self._synced)
        self._owed: deque[bytes] = deque()
        self._refusal = ""
        self._dirty = threading.Event()
        self._signalled = False  # the syncer, of what was written since it began its last turn
        self._closed = False
        self._syncer = threading.Thread(target=self._sync_for_ever, name="spool-sync", daemon=True)
        try:
            self._open_segment()
        except SpoolUnavailable:
            self._lock.unlink(missing_ok=True)  # else the run lived for as long as this process
            os.close(self._lock_fd)
            raise
        if not self._fsync:
            self._syncer.start()

    @property
    def run(self) -> str:
        return self._run

    def append(self, payload: bytes) -> None:
        """Append one record whole, or raise `SpoolUnavailable` and leave no part of it."""
        self._append((payload,), self._max_bytes)

    def append_all(self, payloads: Sequence[bytes]) -> int:
        """Append these records in their order, or as many of them as the disk has room for; how many. Raises
        `SpoolUnavailable` where that is none."""
        return self._append(payloads, self._max_bytes)

    def _append(self, payloads: Sequence[bytes], max_bytes: float) -> int:
        """As `append_all`."""
        if len(payloads) == 1:
            payload = payloads[0]
            data = HEAD.pack(len(payload), crc32(payload)) + payload
        else:
            data = b"".join(map(frame, payloads))
        size, count = len(data), len(payloads)
        self._until_check -= size
        if self._until_check < 0:
            try:
                self._make_room(size, max_bytes)
            except OSError as error:
                raise self._refused(error) from None
        try:
            written = os.write(self._fd, data)
            if written != size:
                count, size = self._keep_whole(payloads, written)
            if self._fsync:
                self._sync()
                self._note_synced(self._size + size)
        except OSError as error:
            self._cut(self._size)
            if error.errno == errno.ENOSPC and give_way(self._folder):
                return self._append(payloads, max_bytes)
            raise self._refused(error) from None
        self._size += size
        if not self._signalled:
            self._signalled = True
            self._dirty.set()
        if count < len(payloads) and give_way(self._folder):
            with contextlib.suppress(SpoolUnavailable):
                count += self._append(payloads[count:], max_bytes)
        return count

    def _keep_whole(self, payloads: Sequence[bytes], written: int) -> tuple[int, int]:
        """The disk took a part of several records. Those that are whole stay, as the recorder may have read them: how many,
        and their bytes. Raises OSError where there is none."""
        count = size = 0
        for payload in payloads:
            if size + HEAD.size + len(payload) > written:
                break
            size += HEAD.size + len(payload)
            count += 1
        if not count:
            # What takes a part is full; how much it took is no other reason.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._cut(self._size + size)
        return count, size

    def _note_synced(self, size: int) -> None:
        """So far the recorder may read."""
        self._synced = Position(self._number - 1, size)
        synced.note(self._lock_fd, self._synced)

    def _sync(self) -> None:
        """What was written is on disk. Where it is not, who called takes it back."""
        try:
            os.fdatasync(self._fd)
        except OSError:
            self._give_up_segment()
            raise

    def _refused(self, error: OSError) -> SpoolUnavailable:
        self._refusal = f"{errno.errorcode.get(error.errno or 0, 'OSError')}: {error.strerror}"
        return SpoolUnavailable(self._refusal)

    def take_refusal(self) -> str:
        """Why a record was refused since this was last asked, the last of them; empty where none was."""
        taken, self._refusal = self._refusal, ""
        return taken

    def _cut(self, size: int) -> None:
        """Leave no part of a record that was refused: only the first `size` bytes."""
        try:
            os.ftruncate(self._fd, size)
        except OSError:
            self._give_up_segment()

    def _give_up_segment(self) -> None:
        """Nothing more goes into it; what is written next begins another one."""
        self._given_up = True
        self._until_check = 0

    def append_end(self, payload: bytes) -> None:
        """Append the end of something that was begun, above the bound too. It cannot be refused any more: if the disk
        does not take it now, it is kept in memory and written first when the spool takes records again."""
        self._owed.append(payload)
        self.write_owed()

    def owe(self, payload: bytes) -> None:
        """As `append_end`, but whoever calls this has `write_owed` called before anybody is told of the end."""
        self._owed.append(payload)

    def write_owed(self) -> int:
        """Write the ends that are not written yet; how many are left."""
        owed, together = self._owed, _MOST_TOGETHER
        while owed:
            some = (owed[0],) if len(owed) == 1 else tuple(islice(owed, together))
            try:
                count = self._append(some, math.inf)
            except SpoolUnavailable:
                if len(some) == 1:
                    break
                together = 1  # there may be room for one
                continue
            for _ in range(count):
                owed.popleft()
        return len(owed)

    def _make_room(self, size: int, max_bytes: float) -> None:
        """From time to time: keep to the bound, begin a new segment, and come back from a broken one."""
        total = sum(_size_of(item) for item in self._folder.iterdir() if item.suffix == ".spool")
        full = total + size > max_bytes
        is_used_up = self._given_up or self._size + size > _SEGMENT_BYTES
        if is_used_up or (full and self._size > self._empty_size):
            self._open_segment()  # what is shipped of the old one is deleted only when nothing is appended to it any more
        if full:
            self._until_check = 0
            self._refusal = f"the spool has reached {BOUND} ({self._max_bytes // 1024**2})"
            raise SpoolUnavailable(self._refusal)
        self._until_check = _CHECK_SIZE_EVERY_BYTES if total + size <= self._max_bytes else 0

    def _open_segment(self) -> None:
        path = self._folder / f"{self._run}.{self._number:06d}.spool"
        opening: Open = {"t": "open", "v": VERSION, "run": self._run, "segment": self._number}
        header = frame(orjson.dumps(opening))
        try:
            if self._fsync and self._fd >= 0:
                os.ftruncate(
                    self._fd, self._size
                )  # all of it may be read from here on: no record that was refused stays in it
            fd = _begin(path, (header,))
        except OSError as error:
            raise self._refused(error) from None
        old, self._fd, self._path, self._size = self._fd, fd, path, len(header)
        self._empty_size = len(header)
        self._given_up = False
        self._number += 1
        if self._fsync:
            self._note_synced(self._size)
        if old >= 0:
            os.fdatasync(old)
            os.close(old)

    def keep_named(self) -> int | None:
        """From second to second: what somebody has deleted of the segment that is written to and of the run's lock is there
        again, with all that was in it; nobody else would find it. How many bytes; None where nothing was missing. Where the
        disk refuses that, it is a refusal, and the next call tries again."""
        try:
            is_held, is_named = _is_at(self._lock, self._lock_fd), _is_at(self._path, self._fd)
            if is_held and is_named:
                return None
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not is_held:  # first: a run without a lock is over, and what is read of it deleted
                old, self._lock_fd = self._lock_fd, _hold(self._lock, self._synced)
                os.close(old)
            if not is_named:
                old, self._fd = self._fd, _begin(self._path, _content(self._fd))
                os.close(old)
                if self._fsync:
                    self._sync()
                else:
                    self._dirty.set()
        except OSError as error:
            self._refused(error)
            return None
        return self._size

    def _sync_for_ever(self) -> None:
        while True:
            self._dirty.wait()
            self._dirty.clear()
            if self._closed:
                return
            self._signalled = (
                False  # behind `clear`: what is written from here on sets it again, what was before is synced now
            )
            with contextlib.suppress(OSError):  # the next append meets the same disk, and says so
                os.fdatasync(self._fd)
            time.sleep(_SYNC_EVERY_S)

    def close(self) -> int:
        """The run is over: what it wrote is synced, its lock is free. How many ends the disk has not taken."""
        left = self.write_owed()
        self._closed = True
        self._dirty.set()
        with contextlib.suppress(OSError):
            os.fdatasync(self._fd)
        os.close(self._fd)
        os.close(self._lock_fd)
        return left


def _hold(lock: Path, is_synced: Position | None) -> int:
    """The file that says that a run lives, held. It has its name once it is: a run whose lock is free is over, and deleted."""

    def hold(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if is_synced is not None:
            synced.note(fd, is_synced)

    begun = lock.with_suffix(".lock-begun")
    return _made(lock, begun, os.O_EXCL, hold)


def _begin(segment: Path, content: Iterable[bytes]) -> int:
    """A segment that is written to, with that in it. It has its name once it is sound: readers take what stands before a next
    one for finished. Raises OSError."""

    def write(fd: int) -> None:
        for piece in content:
            if os.write(fd, piece) != len(piece):
                raise OSError(errno.ENOSPC, "the disk is full")

    begun = segment.with_suffix(".begun")
    return _made(segment, begun, os.O_TRUNC | os.O_APPEND, write)


def _made(path: Path, begun: Path, flags: int, fill: Callable[[int], None]) -> int:
    """An open file, called `begun` until `fill` is done with it, and `path` from then on. Raises OSError, and leaves none."""
    fd = os.open(begun, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
    try:
        fill(fd)
        begun.rename(path)
    except OSError:
        os.close(fd)
        begun.unlink(missing_ok=True)
        raise
    return fd


def _content(fd: int) -> Iterator[bytes]:
    """What is in an open file, a megabyte at once."""
    at = 0
    while piece := os.pread(fd, _PIECE_BYTES, at):
        yield piece
        at += len(piece)


def _is_at(path: Path, fd: int) -> bool:
    """Whether the open file has that name still."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _size_of(segment: Path) -> int:
    """In bytes; 0 of one that the recorder has deleted just now."""
    try:
        return segment.stat().st_size
    except FileNotFoundError:
        return 0
