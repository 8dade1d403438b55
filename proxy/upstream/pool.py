"""The client that calls upstreams: HTTP/1.1 on pooled connections, and nothing that the hot path does not need.

Why our own and not a library: see DECISIONS.md (`upstream client`); a call through here costs about a sixth of what the
best general client costs. What a caller may rely on:

* `send` returns when the response's head is there; `Response.read` gives the body piece by piece as it arrives.
* Every failure is an `UpstreamError`, and `sent` says whether the upstream may have seen (and may bill) the request.
* Redirects are never followed, nothing is ever retried, the host is only ever the configured one.
* A slow reader pauses the upstream's socket: at most `_HIGH_WATER` bytes wait in memory for each response.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Literal, cast

import httptools

from proxy.upstream.connect import Origin, open_transport
from proxy.upstream.turns import Turns

_HIGH_WATER = 256 * 1024
_LOW_WATER = 64 * 1024
_MAX_HEAD_BYTES = 64 * 1024
_MAX_INFORMATIONAL = 16
_HANG_UP_S = 1.0  # how long an upstream may go on after a hang-up

FailureKind = Literal["connect", "connect_timeout", "first_byte_timeout", "idle_timeout", "reset", "protocol"]


class UpstreamError(Exception):
    """An attempt that got no complete response. `sent`: the request may have reached the upstream, so may be billed."""

    def __init__(self, kind: FailureKind, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.sent = sent

    @property
    def timed_out(self) -> bool:
        return self.kind in ("connect_timeout", "first_byte_timeout", "idle_timeout")


class Response:
    """A response whose head has arrived: `status`, `headers` (lower-case names), and a body to `read`."""

    def __init__(self, connection: _Connection) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.buffered_bytes = 0
        self.first_byte_at = 0.0
        self._connection: _Connection | None = connection
        self._chunks: list[bytes] = []
        self._complete = False
        self._error: UpstreamError | None = None
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    @property
    def is_stream(self) -> bool:
        return (self.header(b"content-type") or b"").startswith(b"text/event-stream")

    @property
    def complete(self) -> bool:
        """Whether the whole body has arrived (some of it may still wait to be read)."""
        return self._complete

    @property
    def over(self) -> bool:
        """Whether nothing more can come of it."""
        return self._complete or self._error is not None

    async def read(self) -> bytes:
        """The bytes that have arrived since the last call, waiting for some; b"" at the end. Raises `UpstreamError`."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._complete:
                return b""
            await self._wait()
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.buffered_bytes = 0
        if self._paused and self._connection is not None:
            self._paused = False
            self._connection.resume_reading()
        return data

    def abort(self) -> None:
        """Break it off, unless it is complete: once what has arrived is read, `read` fails."""
        if self._connection is not None and not self._complete:
            self._connection.break_off()

    def hang_up(self) -> None:
        """Tell the upstream that nobody listens, but take what it had sent by then: that it bills. Whoever does not stop
        at this is cut off a moment later."""
        if self._connection is not None and not self._complete:
            self._connection.hang_up()

    # Called by the connection.

    async def wait_for_head(self) -> None:
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def received(self, data: bytes) -> None:
        self._chunks.append(data)
        self.buffered_bytes += len(data)
        if self.buffered_bytes > _HIGH_WATER and not self._paused and self._connection is not None:
            self._paused = True
            self._connection.pause_reading()

    @property
    def paused(self) -> bool:
        return self._paused

    def completed(self) -> None:
        self._complete = True
        self._paused = False
        self._connection = None

    def failed(self, error: UpstreamError) -> None:
        if not self._complete and self._error is None:
            self._error = error
            self._connection = None
            self.wake()


class _Connection(asyncio.Protocol):
    """One connection to one origin; carries one response at a time."""

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._first_byte_timeout_s = pool.first_byte_timeout_s
        self._idle_timeout_s = pool.idle_timeout_s
        self._began_at = self._last_at = 0.0
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = self._informational = 0
        self._message_complete = self._needs_eof = self._keep_alive = False
        self._reading, self._writing = True, True
        self._full: asyncio.Future[None] | None = None  # until there is room for more of a body
        self.response: Response | None = None
        self.idle_since = 0.0
        self.holder: str | None = None  # whose call it carries

    # What the pool and the client do with it.

    @property
    def usable(self) -> bool:
        """Whether it can carry another call: open, in both directions, and read from."""
        open_ = not self._closed and self._transport is not None and not self._transport.is_closing()
        return open_ and self._reading and self._writing

    def send(self, head: bytes, body: bytes) -> Response:
        """Write a request. From here on the upstream may bill it."""
        assert self._transport is not None
        assert self.response is None
        assert self._reading
        self.response = response = Response(self)
        self._headers = []
        self._head_bytes = self._informational = 0
        self._message_complete = self._needs_eof = False
        self._began_at = self._last_at = self._loop.time()
        self._timer = self._loop.call_later(min(self._first_byte_timeout_s, self._idle_timeout_s), self._check_time)
        self._transport.write(head + body)
        return response

    async def write(self, data: bytes) -> None:
        """More of the body of a request that was begun by `send`; waits while the upstream reads slowly."""
        assert self._transport is not None
        self._began_at = self._loop.time()  # it is we who take our time
        self._transport.write(data)
        if self._full is not None:
            await self._full

    def leave_unfinished(self) -> None:
        """The upstream has answered before it had the whole body: nothing more can go this way."""
        self._writing = False

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def break_off(self) -> None:
        self._fail("reset", "the answer was broken off here")

    def hang_up(self) -> None:
        """Half-close: a server that watches its caller ends the connection, behind everything that it has written."""
        transport, response = self._transport, self.response
        if transport is None or not transport.can_write_eof():  # TLS
            self.break_off()
            return
        self._writing = False
        transport.write_eof()
        self._loop.call_later(_HANG_UP_S, self._end_of_patience, response)

    def _end_of_patience(self, response: Response | None) -> None:
        if self.response is response:
            self.break_off()

    def pause_reading(self) -> None:
        if self._transport is not None and not self._closed:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._last_at = self._loop.time()
        if self._transport is not None and not self._closed:
            self._reading = True
            self._transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's

    def pause_writing(self) -> None:
        self._full = self._loop.create_future()

    def resume_writing(self) -> None:
        full, self._full = self._full, None
        if full is not None and not full.done():
            full.set_result(None)

    def data_received(self, data: bytes) -> None:
        response = self.response
        if response is None:  # bytes that nobody asked for: the connection's framing cannot be trusted any more
            self.close()
            return
        self._last_at = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail("protocol", f"the upstream does not speak HTTP ({error.__class__.__name__})")
            return
        if not response.status:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._fail("protocol", "the upstream's response head is too large")
            return
        if self._message_complete:
            self._finish(reusable=self._keep_alive and (self._pool.reuse_after_stream or not response.is_stream))
        response.wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = True
        self.resume_writing()
        response = self.response
        if response is not None:
            if self._needs_eof and error is None:
                self._finish(reusable=False)
                response.wake()
            else:
                self._fail("reset", "the upstream closed the connection before its response was complete")
        self._pool.lost(self)

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._informational += 1
            if status == 101 or self._informational > _MAX_INFORMATIONAL:
                raise ValueError("unexpected informational responses")
            self._headers = []
            return
        response = self.response
        assert response is not None
        response.headers = self._headers
        response.first_byte_at = self._last_at
        names = {name for name, _ in self._headers}
        self._keep_alive = self._parser.should_keep_alive()
        self._needs_eof = status not in (204, 304) and not names & {b"content-length", b"transfer-encoding"}
        response.status = status

    def on_body(self, data: bytes) -> None:
        if self.response is not None:
            self.response.received(data)

    def on_message_complete(self) -> None:
        if self.response is None or not self.response.status:
            return  # the end of an informational response
        if self._message_complete:
            raise ValueError("more than one response to one request")
        self._message_complete = True

    # How a response ends.

    def _finish(self, *, reusable: bool) -> None:
        response, self.response = self.response, None
        self._stop_timer()
        if response is not None:
            response.completed()
        if (
            not self._reading
        ):  # its reader was slow; what is left of it is in memory, and the next caller waits for a head
            self.resume_reading()
        if reusable and self.usable:
            self._pool.release(self)
        else:
            self.close()

    def _fail(self, kind: FailureKind, message: str) -> None:
        response, self.response = self.response, None
        self._stop_timer()
        if response is not None:
            response.failed(UpstreamError(kind, message, sent=True))
        self.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_time(self) -> None:
        """One timer serves both time-outs: it wakes at the earliest that either could pass and looks at the clock."""
        response = self.response
        if response is None:
            return
        now = self._loop.time()
        if response.paused:
            deadline = now + self._idle_timeout_s  # it is our reader that is slow, not the upstream
        elif response.status:
            deadline = self._last_at + self._idle_timeout_s
            if now >= deadline:
                self._fail("idle_timeout", f"the upstream was silent for {self._idle_timeout_s:g} s")
                return
        else:
            deadline = self._began_at + self._first_byte_timeout_s
            if now >= deadline:
                self._fail("first_byte_timeout", f"the upstream did not answer within {self._first_byte_timeout_s:g} s")
                return
        self._timer = self._loop.call_at(deadline, self._check_time)


class _Pool:
    """The connections to one upstream: at most `max_connections` in use, the last used first; keys share them."""

    def __init__(
        self,
        origin: Origin,
        *,
        max_connections: int,
        connect_timeout_s: float,
        first_byte_timeout_s: float,
        idle_timeout_s: float,
        reuse_after_stream: bool,
        alone: Callable[[], bool],
    ) -> None:
        self.origin = origin
        self.reuse_after_stream = reuse_after_stream
        self.first_byte_timeout_s = first_byte_timeout_s
        self.idle_timeout_s = idle_timeout_s
        self._max_connections = max_connections
        self._connect_timeout_s = connect_timeout_s
        # Local servers (uvicorn among them) close an idle connection after 5 s, hosted ones after a minute or more.
        # We must be first: a request written as the other side closes would be lost without an answer.
        self._keepalive_s = 30.0 if origin.tls else 4.0
        self._idle: list[_Connection] = []
        self.turns = Turns(max_connections, alone)
        self._sweeper: asyncio.TimerHandle | None = None

    async def acquire(self, holder: str) -> _Connection:
        """A connection with nothing on it, open and read from. Raises `UpstreamError` with `sent=False`."""
        try:
            await self.turns.take(holder, self._connect_timeout_s)
        except TimeoutError:
            message = (
                f"of {self._max_connections} connections to the upstream none was free for this key within "
                f"{self._connect_timeout_s:g} s"
            )
            raise UpstreamError("connect_timeout", message, sent=False) from None
        try:
            connection = self._take_idle() or await self._connect()
        except BaseException:
            self.turns.give(holder)
            raise
        connection.holder = holder
        return connection

    def _take_idle(self) -> _Connection | None:
        oldest = asyncio.get_running_loop().time() - self._keepalive_s
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.idle_since > oldest:
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        connection = _Connection(self)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await open_transport(self.origin, lambda: connection)
        except TimeoutError:
            message = f"no connection to the upstream within {self._connect_timeout_s:g} s"
            raise UpstreamError("connect_timeout", message, sent=False) from None
        except OSError as error:  # refused, unreachable, unknown host, TLS failure
            raise UpstreamError(
                "connect", f"cannot connect to the upstream: {error.strerror or error}", sent=False
            ) from None
        return connection

    def release(self, connection: _Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        self._free(connection)
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._keepalive_s, self._sweep)

    def lost(self, connection: _Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        self._free(connection)

    def _free(self, connection: _Connection) -> None:
        holder, connection.holder = connection.holder, None
        if holder is not None:
            self.turns.give(holder)

    def _sweep(self) -> None:
        self._sweeper = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._keepalive_s
        for connection in [connection for connection in self._idle if connection.idle_since <= oldest]:
            connection.close()
        if self._idle:
            self._sweeper = loop.call_later(self._keepalive_s / 2, self._sweep)

    def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._idle):
            connection.close()


class UpstreamClient:
    """All upstreams' pools. Heads are made by the caller from configuration and allow-lists, never from raw input."""

    def __init__(self, alone: Callable[[], bool] = lambda: True) -> None:
        """alone: whether there is but one key that could call."""
        self._pools: dict[str, _Pool] = {}
        self._alone = alone

    def add(
        self,
        name: str,
        origin: Origin,
        *,
        max_connections: int = 1000,
        connect_timeout_s: float = 5,
        first_byte_timeout_s: float = 600,
        idle_timeout_s: float = 300,
        reuse_after_stream: bool = True,
    ) -> None:
        """Know an upstream by `name` (one for each upstream and dialect whose base URL differs).

        reuse_after_stream: false for servers (llama.cpp's) that promise keep-alive and close after each stream.
        """
        self._pools[name] = _Pool(
            origin,
            max_connections=max_connections,
            connect_timeout_s=connect_timeout_s,
            first_byte_timeout_s=first_byte_timeout_s,
            idle_timeout_s=idle_timeout_s,
            reuse_after_stream=reuse_after_stream,
            alone=self._alone,
        )

    async def send(
        self,
        name: str,
        head: bytes,
        body: bytes,
        sent: Callable[[Response], None] | None = None,
        *,
        holder: str = "",
    ) -> Response:
        """Send one request, await the response's head. Raises `UpstreamError`; a cancelled send closes its connection.

        sent: called with the response before it has anything, so that it can be broken off. holder: whose call it is.
        """
        connection = await self._pools[name].acquire(holder)
        response = connection.send(head, body)
        if sent is not None:
            sent(response)
        try:
            await response.wait_for_head()
        except asyncio.CancelledError:
            response.abort()
            raise
        return response

    async def upload(self, name: str, head: bytes, pieces: AsyncIterator[bytes], *, holder: str = "") -> Response:
        """Send one request whose body comes piece by piece, in chunks; await the response's head, which may come before the
        last piece. Raises `UpstreamError`, and whatever `pieces` raises: then the upstream has got no whole request."""
        connection = await self._pools[name].acquire(holder)
        response = connection.send(head, b"")
        try:
            async for piece in pieces:
                if response.over or response.status:
                    connection.leave_unfinished()
                    break
                if piece:
                    await connection.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            else:
                await connection.write(b"0\r\n\r\n")
            await response.wait_for_head()
        except BaseException:
            response.abort()
            raise
        return response

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()


def encode_head(
    method: bytes, target: bytes, fixed: bytes, headers: Mapping[bytes, bytes], body_bytes: int | None
) -> bytes:
    """A request head. `fixed` is the upstream's own header block; `headers` must have passed the allow-list. body_bytes None:
    the body comes in chunks."""
    extra = b"".join([b"%s: %s\r\n" % item for item in headers.items()])
    length = b"transfer-encoding: chunked" if body_bytes is None else b"content-length: %d" % body_bytes
    return b"%s %s HTTP/1.1\r\n%s%s%s\r\n\r\n" % (method, target, fixed, extra, length)
