"""A WebSocket to an upstream: opened by our own credential and a fixed head, then a `Peer`."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import httptools
from websockets.protocol import Side

from proxy.upstream.destinations import Destination
from proxy.upstream.peer import Peer
from proxy.upstream.pool import UpstreamClient
from proxy.upstream.requests import FORWARDED_HEADERS
from proxy.upstream.response import UpstreamError
from proxy.wire.websocket import is_opened

_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 64 * 1024
_STALLED_S = 30.0  # an upstream that reads nothing for so long is as good as gone

Header = tuple[bytes, bytes]


class NotOpened(Exception):  # noqa: N818 - what the upstream said
    """The upstream answered the request to open a WebSocket with something else: what, for the client to know."""

    def __init__(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        super().__init__(f"the upstream answered {status}")
        self.status = status
        self.headers = headers
        self.body = body


class Socket(asyncio.Protocol):
    """The connection: first HTTP's answer, then frames. As a response it has `status` and `header`."""

    def __init__(self, key: str, head: bytes, max_message_bytes: int, on_lost: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.status = 0
        self.headers: list[Header] = []
        self.peer: Peer | None = None
        self.opened: asyncio.Future[Peer] = loop.create_future()
        self.on_full: Callable[[bool], None] | None = None
        self._key = key
        self._head = head
        self._max_message_bytes = max_message_bytes
        self._on_lost = on_lost
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._bytes = 0
        self._complete = False
        self._stalled: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its lower-case name."""
        return next((value for key, value in self.headers if key == name), None)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            self.peer.received(data)
            return
        self._bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._fail(f"the upstream does not speak HTTP ({error.__class__.__name__})")
            return
        if self._complete or (self.status and len(self._body) > _MAX_BODY_BYTES):
            self._answered()
        elif not self.status and self._bytes > _MAX_HEAD_BYTES:
            self._fail("the upstream's response head is too large")

    def connection_lost(self, error: Exception | None) -> None:
        self._on_lost()
        if self._stalled is not None:
            self._stalled.cancel()
        if self.peer is not None:
            self.peer.lost()
        elif self.status:
            self._answered()
        else:
            self._fail("the upstream closed the connection before its response was complete")

    def pause_writing(self) -> None:
        self._stalled = self._loop.call_later(_STALLED_S, self.abort)
        if self.on_full is not None:
            self.on_full(True)

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
        if self.on_full is not None:
            self.on_full(False)

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        if self.status >= 200:
            self._complete = True
        elif self.status != 101:
            self.status, self.headers = 0, []  # informational

    # How the opening ends

    def _upgraded(self, early: bytes) -> None:
        if self.status != 101 or not is_opened(self._key, self.headers) or self.opened.done():
            self._fail("the upstream did not open the WebSocket that was asked for")
            return
        assert self._transport is not None
        self.peer = Peer(self._transport, Side.CLIENT, self._max_message_bytes)
        self.opened.set_result(self.peer)
        if early:
            self.peer.received(early)

    def _answered(self) -> None:
        if not self.opened.done():
            self.opened.set_exception(NotOpened(self.status, self.headers, bytes(self._body[:_MAX_BODY_BYTES])))
        self.abort()

    def _fail(self, message: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(UpstreamError("protocol", message, sent=True))
        self.abort()


async def open_websocket(
    upstreams: UpstreamClient,
    destination: Destination,
    target: str,
    *,
    protocols: Sequence[str],
    client_headers: Mapping[bytes, bytes],
    attempt_id: str,
    max_message_bytes: int,
    holder: str,
) -> tuple[Socket, Peer]:
    """Raises `UpstreamError`, and `NotOpened` where the upstream answers otherwise."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    passed = {b"x-client-request-id": attempt_id.encode()}
    passed |= {name: client_headers[name] for name in sorted(FORWARDED_HEADERS) if name in client_headers}
    passed |= {
        b"connection": b"Upgrade",
        b"upgrade": b"websocket",
        b"sec-websocket-version": b"13",
        b"sec-websocket-key": key.encode(),
    }
    if protocols:
        passed[b"sec-websocket-protocol"] = ", ".join(protocols).encode()
    extra = b"".join([b"%s: %s\r\n" % item for item in passed.items()])
    head = b"GET %s HTTP/1.1\r\n%s%s\r\n" % (destination.origin.target(target).encode(), destination.fixed, extra)
    made: list[Socket] = []

    def factory(on_lost: Callable[[], None]) -> Socket:
        made.append(Socket(key, head, max_message_bytes, on_lost))
        return made[-1]

    await upstreams.open(destination.pool, factory, holder=holder)
    socket = made[-1]
    try:
        async with asyncio.timeout(destination.first_byte_timeout_s):
            return socket, await socket.opened
    except TimeoutError:
        message = f"the upstream did not open the WebSocket within {destination.first_byte_timeout_s:g} s"
        raise UpstreamError("first_byte_timeout", message, sent=True) from None
    finally:
        if not socket.opened.done() or socket.opened.cancelled() or socket.opened.exception() is not None:
            socket.abort()
