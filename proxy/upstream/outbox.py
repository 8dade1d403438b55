"""Collects the writes of one turn of the event loop and makes them at its end, after what must be on disk before them.

uvloop writes at once. On a busy plane many calls move in one turn, and each write by itself wakes the process that reads it,
over and over: on Linux that costs more than the write. Made together they wake it once. What a call writes that moves alone
waits for nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from proxy.cohort import COHORT
from proxy.spool.pending import Pending, keep

log = logging.getLogger("taximeter.connections")

Pieces = bytes | tuple[bytes, ...]
_MOST = 32  # writes that wait for others: what comes first must not wait for ever


class Outbox:
    """What waits to be written, in order. Whoever writes to a transport by another way, or closes it, calls `flush` before."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False
        self._first: dict[Callable[[], object], None] = {}
        self._waiting: list[tuple[asyncio.Transport, Pieces, Pending | None]] = []

    def first(self, act: Callable[[], object]) -> None:
        """Call `act`, once, before anything that waits is written: by the end of the turn."""
        if COHORT.together == 1 and not self._waiting:
            act()
            return
        self._schedule()
        self._first[act] = None

    def write(self, transport: asyncio.Transport, data: Pieces, record: Pending | None = None) -> None:
        """Write `data`, or its pieces one behind the other, before the loop waits again. record: has to be on disk by then;
        where the disk refuses it, nothing is written, and the connection is broken off."""
        alone = COHORT.together == 1
        if not alone:
            self._schedule()
        self._waiting.append((transport, data, record))
        if alone or len(self._waiting) >= _MOST:
            self.flush()

    def _schedule(self) -> None:
        loop = self._loop
        if loop is None or not loop.is_running():
            loop = asyncio.get_running_loop()  # a system call, in Python 3.11
            self._loop, self._waiting, self._scheduled = loop, [], False
        elif self._scheduled:
            return
        self._scheduled = True
        COHORT.behind(self._end_turn)

    def _end_turn(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write now what waits; what waits for a connection that is closing by now has nobody to read it."""
        if self._first:
            acts, self._first = self._first, {}
            for act in acts:
                act()
        waiting = self._waiting
        if not waiting:
            return
        self._waiting = []
        records = []
        for _, _, record in waiting:  # a comprehension would be a function, made anew each time
            if record is not None:
                records.append(record)
        if records:
            keep(records)
        for transport, data, record in waiting:
            if record is not None and record.lost:
                transport.abort()
            elif not transport.is_closing():
                try:
                    if isinstance(data, bytes):
                        transport.write(data)
                    else:
                        transport.writelines(data)
                except (RuntimeError, OSError):  # one connection's trouble is not the others'
                    log.exception("a connection could not be written to")
                    transport.abort()


OUTBOX = Outbox()
"""Of this process: one loop runs in it."""
