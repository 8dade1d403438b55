"""The callers' HTTP/1.1 client: pooled connections, exact about how each answer ended, able to leave badly.

`Client.call` sends one request and gives what was `Seen` of the answer; it never raises for what the server or the
network does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Literal

import httptools

_BODY_KEPT = 8 * 1024 * 1024

Manner = Literal["fin", "rst", "half", "stop", "half_request"]
MANNERS: tuple[Manner, ...] = ("fin", "rst", "half", "stop", "half_request")


@dataclass(frozen=True, slots=True)
class Leave:
    """Leaving after so many bytes of the answer (0: once the request is sent).

    fin: close. rst: reset. half: say that nothing more will be sent, but go on reading. stop: stop reading for
    `hold_s`, then reset. half_request: reset after half of the request, whatever `after` says.
    """

    manner: Manner
    after: int = 0
    hold_s: float = 1.0


@dataclass(slots=True)
class Seen:
    """What came back. `end`: complete, left (as ordered), reset, eof, timeout, unreachable, garbage."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    received: int = 0
    end: str = ""
    first_ns: int = 0


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.open = False
        self._seen = Seen()
        self._leave: Leave | None = None
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = transport
        self.open = True

    async def exchange(self, request: bytes, seen: Seen, leave: Leave | None, timeout_s: float) -> None:
        self._seen, self._leave, self._bounded = seen, leave, False
        self._parser = httptools.HttpResponseParser(self)
        self._done = asyncio.get_running_loop().create_future()
        if leave is not None and leave.manner == "half_request":
            self._transport.write(request[: len(request) * 2 // 3])
            asyncio.get_running_loop().call_later(0.05, self._go)
        else:
            self._transport.write(request)
            if leave is not None and leave.after == 0:
                asyncio.get_running_loop().call_soon(self._go)
        try:
            async with asyncio.timeout(timeout_s):
                await self._done
        except TimeoutError:
            self._finish("timeout")
            self.reset()

    def _finish(self, end: str) -> None:
        if self._done is not None and not self._done.done():
            self._seen.end = end
            self._done.set_result(None)

    def _go(self) -> None:
        """Leave as ordered."""
        leave, self._leave = self._leave, None
        if leave is None or not self.open:
            return
        if leave.manner == "half":
            with contextlib.suppress(OSError, RuntimeError):
                self._transport.write_eof()
        elif leave.manner == "stop":
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(leave.hold_s, self._leave_now, True)
        else:
            self._leave_now(leave.manner != "fin")

    def _leave_now(self, hard: bool) -> None:
        if not self.open:
            return
        self._finish("left")
        if hard:
            self.reset()
        else:
            self._transport.close()

    def reset(self) -> None:
        self.open = False
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError, ValueError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        seen = self._seen
        if not seen.received:
            seen.first_ns = time.monotonic_ns()
        seen.received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._finish("garbage")
            self.reset()
            return
        if self._leave is not None and self._leave.manner != "half_request" and seen.received >= self._leave.after:
            self._go()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if exc is not None:
            self._finish("reset")
        else:
            self._finish("complete" if self._seen.status and not self._bounded else "eof")

    # httptools calls these

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._seen.headers[name.decode("latin-1")] = value.decode("latin-1")
        self._bounded = self._bounded or name in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        self._seen.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if len(self._seen.body) < _BODY_KEPT:
            self._seen.body += body

    def on_message_complete(self) -> None:
        if 100 <= self._seen.status < 200:  # the answer is yet to come
            self._seen.status = 0
            return
        if not self._parser.should_keep_alive():
            self.open = False
            self._transport.close()
        self._finish("complete")


class Client:
    """Connections to one server, reused when an answer ended well."""

    def __init__(self, host: str, port: int, connect_timeout_s: float = 10.0) -> None:
        self._host, self._port, self._connect_timeout_s = host, port, connect_timeout_s
        self._idle: list[_Connection] = []

    async def call(self, request: bytes, leave: Leave | None = None, timeout_s: float = 120.0) -> Seen:
        seen = Seen()
        connection = await self._connection()
        if connection is None:
            seen.end = "unreachable"
            return seen
        await connection.exchange(request, seen, leave, timeout_s)
        if connection.open and seen.end == "complete" and leave is None:
            self._idle.append(connection)
        elif connection.open:
            connection.reset()
        return seen

    async def _connection(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(_Connection, self._host, self._port)
                return connection
        except (OSError, TimeoutError):
            return None

    def close(self) -> None:
        for connection in self._idle:
            connection.reset()
        self._idle.clear()
