"""The C library's heaps: glibc has one for each of a process's threads, and what is free in one is of no use to another."""

from __future__ import annotations

import contextlib
import ctypes

_M_ARENA_MAX = -8  # <malloc.h>


def one_heap() -> bool:
    """One for all threads, where the library can be told so: before any thread is started. For processes whose threads take
    turns anyway; the control process needs some 4 MB less."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1))
    return False
