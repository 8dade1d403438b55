"""`taximeter` with a wall clock that a test sets: `python -m tests.torture.clocked serve …`. The steady clock stays as it is.

The environment's TORTURE_CLOCK names a file with the nanoseconds by which the clock is wrong, an integer of eight bytes. What
Redis takes for the time is wrong by the seconds under the name REDIS_KEY there.
"""

from __future__ import annotations

import atexit
import mmap
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from socket import socket
from typing import Any

VARIABLE = "TORTURE_CLOCK"
REDIS_KEY = "torture:clock"
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


def _set_clock_of_redis() -> None:
    """In the scripts, which are all that asks for the time there."""
    from proxy.budgets.redis import scripts  # noqa: PLC0415 - after the clock is set

    text = (scripts._LUA / "common.lua").read_text(encoding="utf-8")
    real = "local time = redis.call('TIME')\n"
    assert text.count(real) == 1
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for file in scripts._LUA.iterdir():
        shutil.copy(file, folder)
    late = f"{real}  time[1] = tonumber(time[1]) + tonumber(redis.call('GET', '{REDIS_KEY}') or '0')\n"
    (folder / "common.lua").write_text(text.replace(real, late), encoding="utf-8")
    scripts._LUA = folder
    scripts.scripts()  # kept


def _forget_often() -> None:
    """Counters of windows that are over are dropped as often as in a data plane."""
    add = Supervisor.add

    def adding(supervisor: Supervisor, name: str, start: Callable[[Any], None], listener: socket) -> None:
        def started(orders: Any) -> None:
            if name == "control":
                from proxy.control import rebuilding  # noqa: PLC0415 - in the child, which needs it

                rebuilding._FORGET_S = 1.0
            start(orders)

        add(supervisor, name, started, listener)

    Supervisor.add = adding  # type: ignore[method-assign]  # that is the point


if __name__ == "__main__":
    _set_clock(Path(os.environ[VARIABLE]))
    from proxy.serve.supervisor import Supervisor

    _set_clock_of_redis()
    _forget_often()
    from proxy.cli.main import main  # only now: what is imported may keep the clock

    main()
