"""The reading side of the spool: the recorder ships from it, and deletes what is shipped."""

from __future__ import annotations

import contextlib
import fcntl
import os
from itertools import pairwise
from pathlib import Path

from proxy.spool.frames import NONE, Position, Records, first_bytes, frames, next_sound
from proxy.spool.synced import noted

_READ_BYTES = 512 * 1024  # at once: what is read takes five times as much as values
_LONG_BYTES = 4 * 1024 * 1024  # where that is not one record


class SpoolReader:
    """Reads one run's segments in order, from a position on, as they grow."""

    def __init__(self, folder: Path, run: str, start: Position = Position(0, 0)) -> None:  # noqa: B008 - immutable
        self.folder = folder
        self.run = run
        self._begin = str(folder / run)
        self.position = start
        self.more = False  # something was left behind what was read last
        self.damaged_bytes = 0  # between sound records: no crash leaves that
        self._synced: Position | None = None  # nothing behind it may be read yet
        self._gaps: dict[int, int] = {}  # which segment follows, where the next one is missing

    def _name(self, number: int) -> str:
        return f"{self._begin}.{number:06d}.spool"

    def is_over(self) -> bool:
        """Whether the run's writer is gone. Asked before reading, so that nothing it wrote last is missed."""
        try:
            fd = os.open(f"{self._begin}.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            self._synced = None
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._synced = noted(fd)
            return False
        finally:
            os.close(fd)
        self._synced = None
        return True

    def read(self, *, over: bool) -> Records:
        """The records that are there, of half a megabyte at most (or one that is longer); none when there are no more now.

        over: the writer is gone, so an incomplete frame at the end will never be completed: it is passed over.
        """
        segment, offset = self.position
        # Asked before reading, as `is_over` is: what is read of a segment that is finished is all of it.
        finished, end = self._has_next(segment), None
        if self._synced is not None and segment >= self._synced.segment:
            finished, end = False, self._synced.offset
        path, data = self._name(segment), b""
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_size != offset and offset != end:  # noqa: PTH116 - at rest all that is asked, several times a second
                data, records, used, full = _portion(path, segment, offset, end)
        self.more = False
        if not data:
            if finished:
                self.position = Position(self._gaps.get(segment, segment + 1), 0)
                return self.read(over=over)
            return NONE
        if used < len(data) and (not full or not records):
            used += self._damage(data[used:], segment, offset + used, last=over or finished)
        self.position = Position(segment, offset + used)
        if not records:
            return self.read(over=over) if used else NONE
        self.more = full or finished
        return records

    def _has_next(self, segment: int) -> bool:
        return os.path.exists(self._name(segment + 1)) or segment in self._gaps  # noqa: PTH110 - as in `read`

    def _damage(self, rest: bytes, segment: int, offset: int, *, last: bool) -> int:
        """How many bytes to pass over: up to the next sound frame, which proves that what stands before it is damage;
        at the end of a finished segment all of it; else none, for the frame may still be in the making."""
        skip = next_sound(rest)
        if skip is None:
            if not last:
                return 0
            skip = len(rest)
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

    def pass_over_gaps(self) -> list[tuple[int, int]]:
        """Read on behind segments that are missing though later ones are there; the first and the last of each gap.

        Nobody makes one while a run is read: kept segments give way, but not those that are brought back.
        """
        begin = self.position.segment
        numbers = [int(path.name.rsplit(".", 2)[1]) for path in self.segments()]
        around = [begin - 1, *(number for number in numbers if number >= begin)]
        self._gaps = {before: behind for before, behind in pairwise(around) if behind > before + 1}
        if begin - 1 in self._gaps:
            self.position = Position(self._gaps[begin - 1], 0)
        return [(before + 1, behind - 1) for before, behind in self._gaps.items()]

    def unlock(self) -> None:
        """The run is over and shipped: its lock goes, and a segment that it died in beginning (what is damaged stays, for a
        person)."""
        for path in self.folder.glob(f"{self.run}.*.begun"):
            path.unlink(missing_ok=True)
        (self.folder / f"{self.run}.lock").unlink(missing_ok=True)


def _portion(path: str, segment: int, offset: int, end: int | None) -> tuple[bytes, Records, int, bool]:
    """What is read at once, the records in it, how many bytes they take, and whether the segment may go on. end: no further."""
    fd, most = os.open(path, os.O_RDONLY | os.O_CLOEXEC), _READ_BYTES
    try:
        while True:
            data = os.pread(fd, most if end is None else min(most, end - offset), offset)
            records, used = frames(data, segment, offset)
            if records or len(data) < most:
                break
            longer = _LONG_BYTES if most < _LONG_BYTES else first_bytes(data)
            is_there = most < _LONG_BYTES or offset + longer <= os.fstat(fd).st_size  # else its length is damage
            if longer <= most or not is_there:
                break
            most = longer
    finally:
        os.close(fd)
    return data, records, used, len(data) == most


def runs(folder: Path) -> list[str]:
    """Every run that has left something in the folder, oldest first. Asked several times a second: no path is made."""
    names: set[str] = set()
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):  # noqa: PTH208 - as above
            if name.endswith(".lock"):
                names.add(name[:-5])
            elif name.endswith(".spool"):
                names.add(name.rsplit(".", 2)[0])
    return sorted(names, key=lambda run: run[-36:])


def drop_unbegun(folder: Path) -> None:
    """Delete what is left of runs whose writers died before these had begun. Only for who knows that no worker starts now."""
    for path in folder.glob("*.lock-begun"):
        path.unlink(missing_ok=True)
