"""Whose turn it is where cores are few: calls come before their accounting."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

# A third of the time that a data plane gets which has work to do: more than the recorder needs to keep up with it.
_BEHIND = 5


def yield_to_calls() -> None:
    """The thread that calls this waits for others that want its core; on Linux alone, where a thread has a priority of its own.
    It must hold nothing for long that calls wait for."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _BEHIND)
