"""What happens to the machine's clock: whether everything stood still, as a laptop that slept or a virtual machine that was
paused, and whether it was set back.

Timers and the steady clock stand still with the machine; only the wall clock tells it, once it is right again. Where that was
set ahead, nothing tells the two apart, and what is done costs little.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from proxy.times import machine_s, now_s

log = logging.getLogger("taximeter.clock")

_LEAST_S = 2.0  # clocks are slewed, and stepped by less
_WORTH_TELLING_S = 60.0


class Standstill:
    """`look` is called once a second, and says for how many seconds all stood still since the last look; 0.0: not at all.

    ours: the clock that never goes back.
    """

    def __init__(
        self,
        ours: Callable[[], float] = now_s,
        steady: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = machine_s,
    ) -> None:
        self._ours, self._steady, self._wall = ours, steady, wall
        self._seen = ours() - steady()
        self._is_told = False

    def look(self) -> float:
        now = self._ours()
        ahead = now - self._steady()
        lost_s, self._seen = ahead - self._seen, ahead
        self._tell_of_what_was_set_back(now - self._wall())
        if lost_s < _LEAST_S:
            return 0.0
        log.warning("this machine stood still for %.0f s, or its clock was set ahead by that", lost_s)
        return lost_s

    def _tell_of_what_was_set_back(self, by_s: float) -> None:
        """Once each time: windows of budgets, expiries of keys and the times of entries go by ours."""
        is_back = by_s >= _WORTH_TELLING_S
        if is_back and not self._is_told:
            log.warning(
                "this machine's clock is %.0f s behind what it was: time goes on here at half its pace until they meet, so "
                "that no budget's window begins again; where it had been wrong, start Taximeter again", by_s,
            )  # fmt: skip
        self._is_told = is_back
