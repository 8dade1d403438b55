"""Reading an upstream to its usage after its client has left, because it bills on; but not for ever, and not many at once."""

from __future__ import annotations

import asyncio

from proxy.shares import Shares
from proxy.upstream.response import Response

MAX_S = 120.0
MAX_BYTES = 64 * 1024 * 1024


class Drain:
    """The rest of one stream, from `begin` to `end`. Past a bound the response is broken off, wherever it stands."""

    def __init__(self, drains: Shares, holder: str, response: Response) -> None:
        self._drains = drains
        self._holder = holder
        self._response = response
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """The client has left."""
        if self._timer is not None:
            return
        if self._drains.take(self._holder) != "granted":
            self._response.abort()  # and is charged at its ceiling: so no other key's streams are
            return
        self._timer = asyncio.get_running_loop().call_later(MAX_S, self._response.abort)

    def took(self, count: int) -> None:
        """Count so many more bytes that were read for nobody."""
        self._bytes += count
        if self._bytes > MAX_BYTES:
            self._response.abort()

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._drains.give(self._holder)
