"""A server of ours in this process, whose connections a test can look at and whose clock it can move on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from proxy.downstream.connection import Connection, connecting
from proxy.downstream.timeouts import Limits
from proxy.processes.http_server import Server

App = Callable[[Any, Any, Any], Awaitable[None]]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Reads the whole body and answers how long it was."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b"%d" % size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Door:
    """One listening server. `codes`: what its connections refused."""

    port: int
    server: Server
    codes: list[str] = field(default_factory=list)

    @property
    def connections(self) -> list[Connection]:
        return list(self.server.state.connections)  # type: ignore[arg-type]  # all are of our class

    def later(self, seconds: float) -> None:
        """What the clock finds so many seconds from now."""
        for connection in self.connections:
            connection.check_time(asyncio.get_running_loop().time() + seconds)

    async def until(self, check: Callable[[], bool]) -> None:
        """Let the loop turn until `check` holds."""
        async with asyncio.timeout(10):
            while not check():
                await asyncio.sleep(0)


class Caller:
    """A client's raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):  # refused before all of it was sent
            await self.writer.drain()

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        got = b""
        try:
            async with asyncio.timeout(10):
                while piece := await self.reader.read(65_536):
                    got += piece
        except ConnectionError:
            pass
        return got

    async def answer(self) -> bytes:
        """One answer of `echo`."""
        async with asyncio.timeout(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return head + await self.reader.readexactly(size)


@asynccontextmanager
async def door(app: App = echo, **limits: Any) -> AsyncIterator[Door]:
    codes: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = Server(connecting(Limits(**limits), codes.append), app=app, drain_s=1)
    serving = asyncio.create_task(server.serve([listener]))
    while not server.listeners:
        await asyncio.sleep(0)
    made = Door(port, server, codes)
    try:
        yield made
    finally:
        for connection in made.connections:
            connection.drop()
        server.stop()
        await serving


@asynccontextmanager
async def calling(place: Door) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()
