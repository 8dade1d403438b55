"""Segments that are in the ledger but are kept for a while: if the database fails over to a copy that lags, only the spool
still has what that copy lacks.

A kept segment is named `.shipped` in place of `.spool`, so that nobody takes it for work. It gives way to everything: to its
age, to the spool's bound, to a full disk.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_KEPT = ".shipped"


class Kept:
    """The kept segments in `folder`: for `keep_s` (0: none is kept), and within `most_bytes` together with the spool."""

    def __init__(self, folder: Path, keep_s: float = 0, most_bytes: int = 2**62) -> None:
        self.keeps = keep_s > 0
        self._folder = folder
        self._keep_s = keep_s
        self._most_bytes = most_bytes

    def put(self, segment: Path, now_s: float) -> None:
        """The segment is in the ledger and needed no more."""
        if not self.keeps:
            segment.unlink(missing_ok=True)
            return
        with contextlib.suppress(FileNotFoundError):
            os.utime(segment, (now_s, now_s))
            segment.rename(segment.with_suffix(_KEPT))

    def segments(self) -> dict[str, dict[int, int]]:
        """The size of each kept segment by its number, for each run."""
        segments: dict[str, dict[int, int]] = {}
        for path in self._folder.glob(f"*{_KEPT}"):
            run, number, _ = path.name.rsplit(".", 2)
            with contextlib.suppress(FileNotFoundError):
                segments.setdefault(run, {})[int(number)] = path.stat().st_size
        return segments

    def bring_back(self, run: str, number: int) -> None:
        """It is to be read again. Where it is there already, its writer has put it back, with all that was in it since."""
        path = self._folder / f"{run}.{number:06d}{_KEPT}"
        with contextlib.suppress(FileNotFoundError):
            with contextlib.suppress(FileExistsError):
                path.with_suffix(".spool").hardlink_to(path)
            path.unlink()

    def drop_old(self, now_s: float) -> set[str]:
        """Delete what was kept for long enough, and what there is no room for, the oldest first; of which runs."""
        files = []
        total = sum(path.stat().st_size for path in self._folder.glob("*.spool"))
        for path in self._folder.glob(f"*{_KEPT}"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                files.append((status.st_mtime, path, status.st_size))
                total += status.st_size
        dropped = set()
        for at, path, size in sorted(files):  # of one moment, in the order of their numbers
            if at > now_s - self._keep_s and total <= self._most_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
            dropped.add(path.name.rsplit(".", 2)[0])
        return dropped


def give_way(folder: Path) -> bool:
    """The disk is full: drop every kept segment; whether there was one."""
    gave = False
    with contextlib.suppress(OSError):  # there may be no descriptor to look with
        for path in folder.glob(f"*{_KEPT}"):
            path.unlink(missing_ok=True)
            gave = True
    return gave
