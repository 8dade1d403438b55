"""Marks in the environment of what tests start, by which it is found, whatever became of its parents."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from tests.support.waiting import wait_until

MARK = "TAXIMETER_TEST_TREE"
"""The variable by which `processes.Marked` finds what it started."""
WORKER = "TAXIMETER_TEST_WORKER"
"""The variable that all has which a worker of the tests started: what is left when the worker is killed is ended by it."""


def marked(variable: str) -> list[int]:
    """The processes that were started with this in their environment (`NAME=value`), whoever is their parent by now; not
    this one."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if variable.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    pids.append(int(entry.name))
    return sorted(pids)


def kill_marked(variable: str) -> None:
    """End them all, and those that they start meanwhile."""

    def gone() -> bool:
        pids = marked(variable)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    wait_until(f"the processes with {variable} are gone", gone, 10)
