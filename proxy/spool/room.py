"""Whether the spool takes records, as it was found from second to second: said when that ends, and when it is so again."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from proxy.rate_limited_log import RateLimitedLog
from proxy.spool.writer import BOUND

log = logging.getLogger("taximeter.spool")

# A call's records need more than a probe does: on the last bytes of a disk it would be well every other second.
_LEAST_BYTES = 1024 * 1024


class Room:
    """Of the spool in `folder`. why: what is in the way of records; empty where nothing is.

    A disk that is full, is not, and is full again has one line of each a minute, with a count.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.why = ""
        self._folder = folder
        self._clock = clock
        self._since = 0.0
        self._is_told = False
        self._lines = RateLimitedLog(log, logging.ERROR, clock)

    def look(self, refusal: str) -> None:
        """Once a second, behind an attempt to write where `why` says something. refusal: why a record was refused since the
        last look (`SpoolWriter.take_refusal`)."""
        self._lines.tell()
        if refusal:
            self._begin(refusal)
        elif self.why and _has_room(self._folder):
            if self._is_told:
                log.warning("%s takes records again, after %.0f s", self._folder, self._clock() - self._since)
            self.why = ""

    def _begin(self, refusal: str) -> None:
        if not self.why:
            self._since = self._clock()
            self._is_told = self._lines.note(f"{self._folder} {_consequence(refusal)}")
        self.why = refusal


def _consequence(refusal: str) -> str:
    then = "calls are refused with 503 ledger_unavailable until it can be, and what is in flight ends well"
    if BOUND in refusal:
        return f"cannot be written: {refusal}; {then}: see why the ledger's database does not take it, or raise {BOUND}"
    return f"cannot be written: {refusal}; {then}: make room on its disk, or see what is wrong with it"


def _has_room(folder: Path) -> bool:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize >= _LEAST_BYTES
