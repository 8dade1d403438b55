"""Whether the machine stood still, with everything on it: a laptop that slept, a virtual machine that was paused.

Timers and the steady clock stand still meanwhile; only the wall clock tells it, once it is right again. Where that was set
ahead, nothing tells the two apart, and what is done costs little.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from proxy.times import now_s

_LEAST_S = 2.0  # clocks are slewed, and stepped by less


class Standstill:
    """`look` is called once a second, and says for how many seconds it stood still since the last look; 0.0: not at all."""

    def __init__(self, wall: Callable[[], float] = now_s, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._seen = wall() - steady()

    def look(self) -> float:
        ahead = self._wall() - self._steady()
        lost_s, self._seen = ahead - self._seen, ahead
        return lost_s if lost_s >= _LEAST_S else 0.0
