"""The C library's heaps: glibc has one for each of a process's threads, and what is free in one is of no use to another."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import time
from collections.abc import Callable

_M_ARENA_MAX = -8  # <malloc.h>
_REST_S = 0.03  # of CPU between two looks
_WORTH_PAGES = 256  # a megabyte
_LOOKS_APART = 5  # it costs a millisecond, and another to take again what is wanted


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


def pages_taken() -> int:
    """How many pages of memory this process has been given by the kernel so far: those of what it had given back again, too."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


class Rest:
    """Gives memory back once a process has come to rest: a burst leaves some megabytes free and in pieces, which would stay
    with it. `look` is called once a second; whoever works on, or has hardly taken any memory since the last time, gives nothing
    back. Not by what was worked: few calls a second take as much, in time."""

    def __init__(
        self,
        cpu_s: Callable[[], float] = time.process_time,
        pages: Callable[[], int] = pages_taken,
        give: Callable[[], object] = give_back,
    ) -> None:
        self._cpu_s, self._pages, self._give = cpu_s, pages, give
        self._seen_s, self._had = cpu_s(), pages()
        self._looks = 0  # since it gave

    def look(self) -> None:
        now_s = self._cpu_s()
        spent_s, self._seen_s = now_s - self._seen_s, now_s
        self._looks += 1
        if spent_s >= _REST_S or self._looks < _LOOKS_APART:
            return
        has = self._pages()
        if has - self._had >= _WORTH_PAGES:
            self._had, self._looks = has, 0
            self._give()
