"""One heap for all threads: in a process of its own, as it cannot be taken back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from proxy.processes.heaps import Rest, give_back

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
