"""Reading an upstream to its usage after its client has left, because it bills on; but not for ever, and not many at once."""

from __future__ import annotations

import asyncio

from proxy.exchange.plane import Plane
from proxy.upstream.pool import Response

MAX_S = 120.0
MAX_BYTES = 64 * 1024 * 1024
MAX_AT_ONCE = 200  # in one data plane


class Drain:
    """The rest of one stream, from `begin` to `end`. Past a bound the response is broken off, wherever it stands."""

    def __init__(self, plane: Plane, response: Response) -> None:
        self._plane = plane
        self._response = response
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """The client has left."""
        if self._timer is not None:
            return
        if self._plane.draining >= MAX_AT_ONCE:
            self._response.abort()
            return
        self._plane.draining += 1
        self._timer = asyncio.get_running_loop().call_later(MAX_S, self._response.abort)

    def took(self, count: int) -> None:
        """So many bytes more were read for nobody."""
        self._bytes += count
        if self._bytes > MAX_BYTES:
            self._response.abort()

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._plane.draining -= 1
