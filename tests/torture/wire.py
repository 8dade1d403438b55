"""The provider's HTTP/1.1 server: requests in, bytes out exactly as told, and notice when the caller leaves.

A request's handler runs as one task; it is cancelled when the connection is lost, which `Wire.left` tells apart from a
shutdown. `Wire` lets a fault write whatever it likes: nothing here makes an answer well-formed by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httptools

REASONS = {
    200: "OK", 307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 408: "Timeout",
    409: "Conflict", 413: "Too Large", 429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout", 529: "Overloaded",
}  # fmt: skip


@dataclass(slots=True)
class Request:
    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


Handler = Callable[[Request, "Wire"], Awaitable[None]]


class Wire:
    """What a handler writes to. Every `await` on it gives way to the peer: it waits while the peer reads too slowly."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._writable = asyncio.Event()
        self._writable.set()
        self.left = False
        self.keep_alive = True

    async def raw(self, data: bytes) -> None:
        if not self.left and not self._transport.is_closing():
            self._transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()

    async def answer(self, status: int, body: bytes, *headers: tuple[str, str], kind: str = "application/json") -> None:
        """A whole response of known length."""
        await self.raw(head(status, ("content-type", kind), *headers, ("content-length", str(len(body)))) + body)

    async def chunk(self, data: bytes) -> None:
        await self.raw(framed(data))

    async def gone(self) -> None:
        """Wait until the caller leaves (ends by the handler's cancellation)."""
        await asyncio.Event().wait()

    @property
    def hung_up(self) -> bool:
        """Whether the caller said that it is gone; what is written from now on goes nowhere."""
        return self.left or self._transport.is_closing()

    def close(self) -> None:
        """End the connection with a FIN once everything is written."""
        self.keep_alive = False
        self._transport.close()

    def reset(self) -> None:
        """End the connection with a RST; what the kernel has not sent yet is lost."""
        self.keep_alive = False
        sock: socket.socket | None = self._transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError, ValueError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def pause(self) -> None:
        self._writable.clear()

    def resume(self) -> None:
        self._writable.set()


def head(status: int, *headers: tuple[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\n{lines}\r\n".encode()


def framed(data: bytes) -> bytes:
    """`data` as one chunk of the chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Connection(asyncio.Protocol):
    """One caller's connection: parses requests and runs their handlers one after the other."""

    def __init__(self, handler: Handler, tasks: set[asyncio.Task[None]]) -> None:
        self._handler = handler
        self._tasks = tasks
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._request = Request("", "")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = transport
        self.wire = Wire(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.wire.left = True
        self.wire.resume()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self.wire.pause()

    def resume_writing(self) -> None:
        self.wire.resume()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.write(head(400, ("content-length", "0"), ("connection", "close")))
            self._transport.close()

    # httptools calls these

    def on_message_begin(self) -> None:
        self._request = Request("", "")
        self._body = []

    def on_url(self, url: bytes) -> None:
        self._request.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._request.headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._request.method = self._parser.get_method().decode()
        self._request.body = b"".join(self._body)
        self._waiting.append(self._request)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())
            self._tasks.add(self._task)

    async def _serve(self) -> None:
        task = self._task
        try:
            while self._waiting and not self.wire.left:
                request = self._waiting.popleft()
                await self._handler(request, self.wire)
                if not self.wire.keep_alive or request.headers.get("connection", "").lower() == "close":
                    self._transport.close()
                    return
        except asyncio.CancelledError:
            if not self.wire.left:
                raise
        finally:
            self._task = None
            if task is not None:
                self._tasks.discard(task)
