"""What happens to the machine's clock: whether everything stood still, as a laptop that slept or a virtual machine that was
paused, and whether it was set back.

Timers and the steady clock stand still with the machine; only the wall clock tells it, once it is right again. Where that was
set ahead, nothing tells the two apart. What a process lost that was only stopped, or waited for a core, both clocks have seen.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from proxy.times import STOOD_STILL_S, machine_s, now_s

log = logging.getLogger("taximeter.clock")

_WORTH_TELLING_S = 60.0
_TELL_EVERY_S = 60.0


class Standstill:
    """`look` is called once a second, and tells the log. ours: the clock that never goes back."""

    def __init__(
        self,
        ours: Callable[[], float] = now_s,
        steady: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = machine_s,
    ) -> None:
        self._ours, self._steady, self._wall = ours, steady, wall
        self._seen = wall() - steady()  # by the machine's: ours stays ahead of one that was set back, whatever it slept
        self._is_told = False
        self._tell_at = -math.inf  # by the steady one: a clock that goes to and fro is not told each time

    def look(self) -> None:
        wall, steady = self._wall(), self._steady()
        lost_s, self._seen = wall - steady - self._seen, wall - steady
        if lost_s >= STOOD_STILL_S and steady >= self._tell_at:
            log.warning("this machine stood still for %.0f s, or its clock was set ahead by that", lost_s)
            self._tell_at = steady + _TELL_EVERY_S
        self._tell_of_what_was_set_back(self._ours() - wall, steady)

    def _tell_of_what_was_set_back(self, by_s: float, steady: float) -> None:
        """Once each time: windows of budgets, expiries of keys and the times of entries go by ours."""
        is_back = by_s >= _WORTH_TELLING_S
        if is_back and not self._is_told and steady >= self._tell_at:
            log.warning(
                "this machine's clock is %.0f s behind what it was: time goes on here at half its pace until they meet, so "
                "that no budget's window begins again; where it had been wrong, start Taximeter again", by_s,
            )  # fmt: skip
            self._is_told, self._tell_at = True, steady + _TELL_EVERY_S
        self._is_told = self._is_told and is_back
