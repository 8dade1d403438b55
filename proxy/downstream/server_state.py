"""What is open at one listening server: all its connections have this in common."""

from __future__ import annotations

from typing import Protocol


class Opened(Protocol):
    """A connection, as who listens sees it."""

    def shutdown(self, quiet_since: float) -> None: ...


class Serving(Protocol):
    """A request that is being served: a task of asyncio's, or a cohort's member."""

    def cancel(self) -> bool: ...
    def done(self) -> bool: ...


class ServerState:
    """default_headers: of every answer of an ASGI application. is_over: what is open is being ended, whatever it waits for."""

    __slots__ = ("connections", "default_headers", "is_over", "tasks")

    def __init__(self) -> None:
        self.connections: set[Opened] = set()
        self.tasks: set[Serving] = set()
        self.default_headers: list[tuple[bytes, bytes]] = []
        self.is_over = False
