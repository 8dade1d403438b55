"""Who listens, for both planes: connections are `downstream/connection.py`'s, and here they begin and are ended together."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import time
from collections.abc import Sequence
from typing import Any, cast

from proxy.downstream.connection import Connecting
from proxy.downstream.server_state import ServerState, Serving

log = logging.getLogger("taximeter.connections")

_BACKLOG = 2048
_LOOK_S = 0.1
_ON_ITS_WAY_S = 0.25  # a request that its client had sent before it could know of the stop


class Server:
    """Serves on sockets until it is told to `stop`; then calls in flight have `drain_s`, and whoever asks meanwhile is still
    answered, for a socket that nobody accepts from keeps its clients waiting. app: an ASGI application, for a `protocol` that
    does not serve by itself."""

    def __init__(self, protocol: Connecting, *, drain_s: float, app: Any = None, date_header: bool = False) -> None:
        self.state = ServerState()
        self.stopping = False
        self.listeners: list[asyncio.AbstractServer] = []
        self._app = app
        self._protocol = protocol
        self._drain_s = drain_s
        self._date_header = date_header
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """In the event loop's thread."""
        self.stopping = True
        self._stop.set()

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Until `stop`, and then until nothing is open here any more, or what still is has been cancelled."""
        loop = asyncio.get_running_loop()

        def connection() -> asyncio.Protocol:  # it has all of its methods, and needs none of them
            return cast(asyncio.Protocol, self._protocol(self._app, self.state, loop))

        self.listeners = [await loop.create_server(connection, sock=each, backlog=_BACKLOG) for each in sockets]
        dating = asyncio.create_task(self._date()) if self._date_header else None
        await self._stop.wait()
        try:
            async with asyncio.timeout(self._drain_s):
                await self._drained([*self.state.tasks])
                await self._close(sockets)
                await self._emptied()
        except TimeoutError:
            await self._close(sockets)
            self.state.is_over = True
            late = [*self.state.tasks]
            if late:
                log.error("calls that were not over %g s after the stop are cancelled: %d", self._drain_s, len(late))
            for task in late:
                task.cancel()
            # Each has its end to write down, but those that had not begun.
            while not all(task.done() for task in late):  # noqa: ASYNC110 - the ends are many, and this is ours
                await asyncio.sleep(_LOOK_S)
            self._shut(whoever_asks_on=True)
        if dating is not None:
            dating.cancel()

    async def _drained(self, in_flight: Sequence[Serving]) -> None:
        while not all(call.done() for call in in_flight):
            self._shut()
            await asyncio.sleep(_LOOK_S)

    async def _close(self, sockets: Sequence[socket.socket]) -> None:
        """Whoever has connected is accepted first: else the system would break the connection off, and what was sent on it."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for listener, each in zip(self.listeners, sockets, strict=True):
            listener.close()
            each.close()

    async def _emptied(self) -> None:
        until = time.monotonic() + _ON_ITS_WAY_S
        while self.state.connections or self.state.tasks:
            self._shut(whoever_asks_on=time.monotonic() > until)
            await asyncio.sleep(_LOOK_S)

    def _shut(self, *, whoever_asks_on: bool = False) -> None:
        quiet_since = math.inf if whoever_asks_on else asyncio.get_running_loop().time() - _ON_ITS_WAY_S
        for connected in [*self.state.connections]:
            connected.shutdown(quiet_since)

    async def _date(self) -> None:
        """The header that says when an answer was given (RFC 9110, 6.6.1), in the C locale that Python starts in."""
        while True:
            now = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
            self.state.default_headers = [(b"date", now)]
            await asyncio.sleep(1)
