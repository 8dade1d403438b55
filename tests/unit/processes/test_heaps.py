"""One heap for all threads, programs that are unmapped: in processes of their own, as neither can be taken back."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.processes import heaps
from proxy.processes.heaps import Rest, give_back, unmap_programs

PROGRAM = """
import threading
from proxy.processes.heaps import one_heap
assert one_heap() is {told}
kept = []
threads = [threading.Thread(target=lambda: kept.append([bytes(100_000) for _ in range(9)])) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(kept) == 8
"""


def test_threads_work_on_with_one_heap() -> None:
    told = platform.libc_ver()[0] == "glibc"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(told=told)], check=False, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("cpu_s", "given"),
    [
        ([0, 5, 10, 15], 0),  # at work
        ([0, 0.01, 0.02, 0.03], 0),  # never at work
        ([0, 5, 5.05, 5.06], 1),  # at rest, once the last of it is done
        ([0, 0.08, 0.16, 0.24, 0.25, 0.26], 1),  # a little work, for long: beside other programs
        ([0, 0.05, 0.06, 0.11, 0.12, 0.17, 0.18], 0),  # a little work now and then
        ([0, 5, 5.01, 5.02, 5.03, 9, 9.01], 2),
        ([0, 5, 5.05, 5.1, 5.15], 0),  # hardly at work, and not at rest
    ],
)
def test_memory_is_given_back_once_where_a_process_comes_to_rest(cpu_s: list[float], given: int) -> None:
    clock, count = iter(cpu_s), []
    rest = Rest(lambda: next(clock), lambda: count.append(1))
    for _ in cpu_s[1:]:
        rest.look()
    assert len(count) == given


def test_what_is_free_is_given_back_where_the_library_can() -> None:
    kept = [bytes(5000) for _ in range(2000)]
    del kept[::2], kept[-2]
    assert give_back() in (True, False)
    assert all(map(len, kept))


def _mapping(where: str, rights: str, file: str, *, own_kb: int = 0) -> str:
    inode = "1234" if file else "0"
    return (
        f"{where} {rights} 00000000 08:01 {inode}            {file}\nSize:  8 kB\nRss:   8 kB\n"
        f"Anonymous:      {own_kb:4} kB\nTHPeligible:    0\nVmFlags: rd mr mw me sd\n"
    )


def test_only_files_of_which_nothing_was_written_are_unmapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that were written to have no other copy: relocated tables (`r--p` with pages of its own) are such."""
    smaps = tmp_path / "smaps"
    smaps.write_text(
        _mapping("10000-12000", "r-xp", "/usr/lib/libone.so")
        + _mapping("12000-14000", "r--p", "/usr/lib/libone.so", own_kb=4)
        + _mapping("14000-16000", "rw-p", "/usr/lib/libone.so")
        + _mapping("16000-18000", "rwxp", "/usr/lib/libone.so")
        + _mapping("20000-22000", "r--s", "/usr/lib/shared")
        + _mapping("22000-24000", "r--p", "")
        + _mapping("24000-26000", "r-xp", "[vdso]")
        + _mapping("30000-38000", "r--p", "/usr/lib/a name with blanks.so (deleted)")
        + _mapping("40000-41000", "r-xp", "/usr/lib/last.so", own_kb=1)
    )
    told: list[tuple[int, int, int]] = []

    class Library:
        @staticmethod
        def madvise(first: ctypes.c_void_p, size: ctypes.c_size_t, advice: int) -> int:
            told.append((first.value or 0, size.value, advice))
            return 0

    monkeypatch.setattr(heaps.ctypes, "CDLL", lambda _: Library)
    assert unmap_programs(smaps) == 0x2000 + 0x8000
    assert told == [(0x10000, 0x2000, 4), (0x30000, 0x8000, 4)]


def test_without_a_map_nothing_is_unmapped(tmp_path: Path) -> None:
    assert unmap_programs(tmp_path / "smaps") == 0


UNMAPPED = """
import hashlib, json, pathlib, ssl, unicodedata
from proxy.processes.heaps import unmap_programs
def mapped():
    lines = pathlib.Path("/proc/self/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return sizes["Rss"] - sizes["Anonymous"]
before = mapped()
assert unmap_programs() > 0
assert mapped() < before / 2, (mapped(), before)
assert hashlib.sha256(b"x").hexdigest().startswith("2d71")
assert json.loads("[1]") == [1] and unicodedata.name("a") == "LATIN SMALL LETTER A"
ssl.create_default_context()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what is mapped")
def test_a_process_goes_on_with_what_was_unmapped() -> None:
    done = subprocess.run([sys.executable, "-c", UNMAPPED], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
