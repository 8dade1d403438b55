"""One heap for all threads: in a process of its own, as it cannot be taken back."""

from __future__ import annotations

import mmap
import platform
import subprocess
import sys

import pytest

from proxy.processes.heaps import Rest, give_back, pages_taken

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
    ("burst", "given"),
    [
        ([(1.0, 9000)] * 30, [40]),  # at work, and then at rest
        ([(0.05, 300)] * 30, [40]),
        ([(0.01, 0)] * 30, []),  # never at work
        ([(1.0, 3000), (0.05, 0), (0.01, 0), (0.01, 0)], [12]),  # at rest, once the last of it is done
        ([(0.02, 26)] * 10, [19]),  # a little work, for long: few calls a second, or other programs beside them
        ([(0.02, 25)] * 10, []),  # little memory
        ([(1.0, 300), (0.01, 0), (1.0, 300), (0.01, 0)], [11, 16]),  # not twice within five seconds
        ([(0.02, 100)] * 12, [12, 17, 22]),  # a little work, which takes again what was given
    ],
)
def test_memory_is_given_back_once_where_a_process_comes_to_rest(
    burst: list[tuple[float, int]], given: list[int]
) -> None:
    cpu_s, pages, gave = 0.0, 100_000, list[int]()
    rest, looks = Rest(lambda: cpu_s, lambda: pages, lambda: gave.append(looks)), 0
    quiet = [(0.005, 0)] * 9
    for spent_s, taken in [*quiet, *burst, *quiet]:
        looks, cpu_s, pages = looks + 1, cpu_s + spent_s, pages + taken
        rest.look()
    assert gave == given


def test_pages_are_counted_as_they_are_taken() -> None:
    before = pages_taken()
    with mmap.mmap(-1, 8_000_000) as taken:
        taken[:] = b"x" * len(taken)
        assert pages_taken() > before


def test_what_is_free_is_given_back_where_the_library_can() -> None:
    kept = [bytes(5000) for _ in range(2000)]
    del kept[::2], kept[-2]
    assert give_back() in (True, False)
    assert all(map(len, kept))
