"""Processes and what they take: pinned starts, CPU time and memory of a whole tree."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

PEER_CORE, LOAD_CORE = 0, max(os.sched_getaffinity(0))
_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [child for text in task.read_text().split() for child in tree(int(text))]
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds that the tree has used."""
    total = 0
    for member in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def pss_mb(pid: int) -> float:
    """Proportional memory of the tree: what is shared is counted once."""
    total = 0
    for member in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


@contextlib.contextmanager
def running(command: list[str], core: int, environ: Mapping[str, str] | None = None) -> Iterator[int]:
    """The command on one core, in a group of its own; ended with everything that it started."""
    pinned = ["taskset", "-c", str(core), *command]
    with subprocess.Popen(
        pinned, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            yield process.pid
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def await_answer(port: int, path: str, timeout_s: float, body: bytes | None = None, key: str = "") -> float:
    """Seconds until the first 200."""
    began = time.perf_counter()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    while time.perf_counter() - began < timeout_s:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, headers=headers)
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            with urllib.request.urlopen(request, timeout=5) as answer:
                if answer.status == 200:
                    return time.perf_counter() - began
        time.sleep(0.01)
    raise TimeoutError(f"no answer on port {port} within {timeout_s:g} s")
