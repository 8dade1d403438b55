"""Writes of one turn of the event loop, made together at its end.

uvloop writes at once. On a busy plane many calls move in one turn, and each write by itself wakes the process that reads it,
over and over: on Linux that costs more than the write. Made together they wake it once.
"""

from __future__ import annotations

import asyncio

_MOST = 32  # writes that wait for others: what comes first must not wait for ever


class Outbox:
    """What waits to be written, in order. Whoever writes to a transport by another way, or closes it, calls `flush` before."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write `data` before the loop waits again."""
        waiting = self._waiting
        loop = asyncio.get_running_loop()
        if not waiting or loop is not self._loop:
            self._loop, self._waiting = loop, [(transport, data)]
            loop.call_soon(self.flush)
            return
        waiting.append((transport, data))
        if len(waiting) >= _MOST:
            self.flush()

    def flush(self) -> None:
        """Write now what waits; what waits for a connection that is closing by now has nobody to read it."""
        waiting = self._waiting
        if not waiting:
            return
        self._waiting = []
        for transport, data in waiting:
            if not transport.is_closing():
                transport.write(data)


OUTBOX = Outbox()
"""Of this process: one loop runs in it."""
