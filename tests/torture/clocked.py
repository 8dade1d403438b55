"""`taximeter` with a wall clock that a test sets: `python -m tests.torture.clocked serve …`. The steady clock stays as it is.

The environment's TORTURE_CLOCK names a file with the nanoseconds by which the clock is wrong, an integer of eight bytes.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path

VARIABLE = "TORTURE_CLOCK"
_OFFSET = struct.Struct("<q")
_real_ns = time.time_ns


def write_offset(file: Path, offset_ns: int) -> None:
    """In place: it is mapped by those who read it."""
    with file.open("r+b" if file.exists() else "wb") as opened:
        opened.write(_OFFSET.pack(offset_ns))


def _set_clock(file: Path) -> None:
    with file.open("rb") as opened:
        shared = mmap.mmap(opened.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)

    def time_ns() -> int:
        (offset,) = _OFFSET.unpack_from(shared)
        return _real_ns() + int(offset)

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


if __name__ == "__main__":
    _set_clock(Path(os.environ[VARIABLE]))
    from proxy.cli.main import main  # only now: what is imported may keep the clock

    main()
