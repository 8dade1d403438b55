"""The C library's heaps: glibc has one for each of a process's threads, and what is free in one is of no use to another."""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Callable

_M_ARENA_MAX = -8  # <malloc.h>
_WORK_S = 0.1  # of CPU since it was at rest the last time
_REST_S = 0.03  # between two looks


def one_heap() -> bool:
    """One for all threads, where the library can be told so: before any thread is started. For processes whose threads take
    turns anyway; the control process needs some 4 MB less."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1))
    return False


def give_back() -> bool:
    """What is free in the heap goes back to the kernel, where the library can do that: a millisecond for ten megabytes."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc
        return bool(ctypes.CDLL(None).malloc_trim(0))
    return False


class Rest:
    """Gives memory back once a process has come to rest after work: a burst leaves some megabytes free and in pieces, which
    would stay with it. `look` is called once a second; whoever works on, or hardly works at all, gives nothing back."""

    def __init__(self, cpu_s: Callable[[], float] = time.process_time, give: Callable[[], object] = give_back) -> None:
        self._cpu_s = cpu_s
        self._give = give
        self._seen_s = cpu_s()
        self._worked_s = 0.0

    def look(self) -> None:
        now_s = self._cpu_s()
        spent_s, self._seen_s = now_s - self._seen_s, now_s
        if spent_s >= _REST_S:
            self._worked_s += spent_s
            return
        worked_s, self._worked_s = self._worked_s, 0.0
        if worked_s >= _WORK_S:
            self._give()
