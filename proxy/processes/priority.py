"""Whose turn it is where cores are few: calls come before their accounting."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable

# A third of the time that a data plane gets which has work to do: more than the recorder needs to keep up with it.
_BEHIND = 5
_LAST = 19  # a seventieth of it


def yield_to_calls() -> None:
    """The thread that calls this waits for others that want its core; on Linux alone, where a thread has a priority of its own.
    It must hold nothing for long that calls wait for."""
    _be_at(lambda now: now + _BEHIND)


def give_way() -> None:
    """The thread that calls this comes last on its core, and does not come back from there: that needs a privilege. Beside
    threads that never rest it hardly runs, so that what must not fall behind is done in another one."""
    _be_at(lambda _: _LAST)


def _be_at(step: Callable[[int], int]) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, step(os.getpriority(os.PRIO_PROCESS, thread)))
