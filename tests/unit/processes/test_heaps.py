"""One heap for all threads: in a process of its own, as it cannot be taken back."""

from __future__ import annotations

import platform
import subprocess
import sys

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
