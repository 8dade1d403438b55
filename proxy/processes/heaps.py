"""The C library's heaps: glibc has one for each of a process's threads, and what is free in one is of no use to another."""

from __future__ import annotations

import contextlib
import ctypes
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_M_ARENA_MAX = -8  # <malloc.h>
_WORK_S = 0.1  # of CPU since it was at rest the last time
_REST_S = 0.03  # between two looks
_MADV_DONTNEED = 4  # <sys/mman.h>
# A line for the mapping, and among those that follow it how much of it is no file's any more.
_MAPPED_FILE = re.compile(
    r"^(?P<first>[0-9a-f]+)-(?P<last>[0-9a-f]+) r-[-x]p [0-9a-f]+ \S+ [1-9][0-9]* +/.*\n"
    r"(?:(?![0-9a-f]+-)(?!Anonymous:).*\n)*Anonymous: +(?P<own>[0-9]+) kB$",
    re.MULTILINE,
)


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


def unmap_programs(smaps: Path = Path("/proc/self/smaps")) -> int:
    """Pages of programs and libraries leave this process's map, and come back one by one as it runs them: for a process
    that was busy and waits from now on. How many bytes their mappings have. Nothing that was ever written to goes: of that
    there is no other copy."""
    gone = 0
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no Linux
        madvise = ctypes.CDLL(None).madvise
        for first, last in _unwritten(smaps.read_text(encoding="utf-8", errors="replace")):
            if madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _MADV_DONTNEED) == 0:
                gone += last - first
    return gone


def _unwritten(smaps: str) -> Iterator[tuple[int, int]]:
    """Where a file is mapped that cannot be written to, and of which no page has become this process's own."""
    for mapping in _MAPPED_FILE.finditer(smaps):
        if mapping["own"] == "0":
            yield int(mapping["first"], 16), int(mapping["last"], 16)


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
