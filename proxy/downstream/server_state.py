"""What is open at one listening server: all its connections have this in common."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Opened(Protocol):
    """A connection, as who listens sees it."""

    def shutdown(self) -> None: ...


class ServerState:
    """default_headers: of every answer of an ASGI application."""

    __slots__ = ("connections", "default_headers", "tasks")

    def __init__(self) -> None:
        self.connections: set[Opened] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.default_headers: list[tuple[bytes, bytes]] = []
