"""Writes a request body to an upstream piece by piece, no faster than the upstream reads."""

from __future__ import annotations

import asyncio
from time import perf_counter

from proxy.upstream.outbox import OUTBOX


class Writing:
    """The writing side of a connection, which is one of asyncio's protocols by its methods alone.

    _full: until there is room for more of a body. _writing: it may be used again."""

    __slots__ = ("_began_at", "_full", "_loop", "_transport", "_writing")

    _began_at: float
    _full: asyncio.Future[None] | None
    _loop: asyncio.AbstractEventLoop
    _transport: asyncio.Transport | None
    _writing: bool

    async def write(self, data: bytes) -> None:
        """More of the body of a request that was begun by `send`; waits while the upstream reads slowly. Nothing where the
        connection is lost: its response says so."""
        if self._transport is None or self._transport.is_closing():
            return
        self._began_at = perf_counter()  # it is we who take our time
        OUTBOX.flush()  # the request's head
        self._transport.write(data)
        if self._full is not None:
            await self._full

    def body_follows(self) -> None:
        """More of the body comes: before all of it is written no request can go this way, whatever the upstream answers."""
        self._writing = False

    def body_ended(self) -> None:
        self._writing = True

    def pause_writing(self) -> None:
        self._full = self._loop.create_future()

    def resume_writing(self) -> None:
        full, self._full = self._full, None
        if full is not None and not full.done():
            full.set_result(None)
