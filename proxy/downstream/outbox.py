"""Writes that can wait until the event loop has done what it has at hand.

On a busy plane many calls move in one turn of the loop. The idea is that whoever reads what is written is then woken once
and not for each write. Not shown to help by itself: six paired runs with and without it came out even on a busy machine.
If a quiet one says the same, `transport.write` does as well and this file can go.
"""

from __future__ import annotations

import asyncio


class Outbox:
    """Writes of one turn of the event loop, made together at its end: whoever reads them is woken once, not for each."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write `data` before the loop waits again; in order, for each transport that is written to through here only."""
        loop = asyncio.get_running_loop()
        if not self._waiting or loop is not self._loop:
            self._loop, self._waiting = loop, []
            loop.call_soon(self.flush)
        self._waiting.append((transport, data))

    def flush(self) -> None:
        """Write now: before a transport is closed."""
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            transport.write(data)


OUTBOX = Outbox()
