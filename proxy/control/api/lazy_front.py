"""Loads the front door with the first request, in a thread: it takes 2 MB and 30 ms, saved where nobody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from proxy.control.api.own_thread import in_own_thread

if TYPE_CHECKING:
    from proxy.control.api.front import Front

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]


class LazyFront:
    """An ASGI application: the one that `make` makes for the first request. `shipped` may be called from any thread."""

    def __init__(self, make: Callable[[], Front]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._front: Front | None = None
        self._closed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._front or await self._made())(scope, receive, send)

    async def _made(self) -> Front:
        """All who ask meanwhile wait for the same; what could not be made is tried again."""
        async with self._making:
            if self._front is None:
                front = await in_own_thread(self._make)
                if self._closed:
                    front.close()
                self._front = front
        return self._front

    def shipped(self) -> None:
        """The recorder has committed a batch."""
        if self._front is not None:
            self._front.shipped()

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        if self._front is not None:
            self._front.close()
