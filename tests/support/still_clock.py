"""Time that stands still from the import of this on, and moves only by `advance`: for a process whose output is compared with
another's. Import it before all that keeps a function of `time`; uvloop has a clock of its own."""

from __future__ import annotations

import time

_now_s = 1_790_000_000.0


def advance(seconds: float) -> None:
    global _now_s  # noqa: PLW0603 - the one clock of this process
    _now_s += seconds


time.time = time.monotonic = time.perf_counter = lambda: _now_s
time.time_ns = time.monotonic_ns = lambda: int(_now_s * 1e9)
