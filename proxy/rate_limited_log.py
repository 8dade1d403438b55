"""Rate-limited log lines, for what anybody can provoke: the first at once, then one a minute with a count."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

EVERY_S = 60.0
_MAX_KINDS = 100


class RateLimitedLog:
    """Messages of a bounded number of kinds; the text is the kind, so it holds nothing that a client sent."""

    def __init__(self, log: logging.Logger, level: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._level = level
        self._clock = clock
        self._counts: dict[str, int] = {}  # not logged yet
        self._told_at: dict[str, float] = {}

    def note(self, text: str) -> bool:
        """It happened (again). Whether it was told at once: then its details may be told too."""
        told_at = self._told_at.get(text)
        if told_at is None and len(self._told_at) < _MAX_KINDS:
            self._told_at[text] = self._clock()
            self._log.log(self._level, "%s", text)
            return True
        self._counts[text] = self._counts.get(text, 0) + 1
        return False

    def tell(self) -> None:
        """Say how often what was not told happened; called every now and then."""
        now = self._clock()
        for text, told_at in list(self._told_at.items()):
            if now - told_at < EVERY_S:
                continue
            count = self._counts.pop(text, 0)
            if count:
                self._log.log(self._level, "%s: %d times more in %.0f s", text, count, now - told_at)
                self._told_at[text] = now
            else:
                del self._told_at[text]


FAULTS = RateLimitedLog(logging.getLogger("taximeter.faults"), logging.ERROR)


def rate_limit_tracebacks(record: logging.LogRecord) -> bool:
    """A filter for loggers of faults that a request may provoke: one traceback of a kind passes, then `FAULTS` counts.

    A kind is the error's type and the line that raised it: nothing of what the request said.
    """
    fault = record.exc_info[1] if record.exc_info else None
    if fault is None:
        return True
    frame = fault.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{frame.tb_frame.f_globals.get('__name__')}:{frame.tb_lineno}" if frame is not None else "nowhere"
    return FAULTS.note(f"a fault: {type(fault).__name__} in {where}")
