"""One connection to an upstream: HTTP/1.1 written and read, and the response that it carries, piece by piece as it arrives.

* Every failure is an `UpstreamError`, and `sent` says whether the upstream may have seen (and may bill) the request.
* A slow reader pauses the upstream's socket: at most `_HIGH_WATER` bytes wait in memory for each response.
"""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol, cast

import httptools

from proxy.upstream.writing import Writing

_HIGH_WATER = 256 * 1024
_MAX_HEAD_BYTES = 64 * 1024
_MAX_INFORMATIONAL = 16
_HANG_UP_S = 1.0  # how long an upstream may go on after a hang-up

_FRAMING = (b"content-length", b"transfer-encoding")

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

    __slots__ = (
        "_buffered_bytes", "_chunks", "_complete", "_connection", "_error", "_loop", "_paused", "_waiter", "headers", "status",
    )  # fmt: skip

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._buffered_bytes = 0
        self._loop = loop
        self._connection: Connection | None = connection
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
        chunks = self._chunks
        while not chunks:
            if self._error is not None:
                raise self._error
            if self._complete:
                return b""
            await self._wait()
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered_bytes = 0
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
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._buffered_bytes += len(data)
        if self._buffered_bytes > _HIGH_WATER and not self._paused and self._connection is not None:
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


class Owner(Protocol):
    """Whose a connection is: what it does by itself, and who is told of its ends.

    reuse_after_stream: whether it can be used again behind a stream.
    """

    first_byte_timeout_s: float
    idle_timeout_s: float
    reuse_after_stream: bool

    def release(self, connection: Connection) -> None:
        """It carries nothing any more and can be used again."""
        ...

    def lost(self, connection: Connection) -> None:
        """It is closed."""
        ...


class Connection(Writing):
    """One connection to one origin; carries one response at a time."""

    __slots__ = (
        "_closed",
        "_first_byte_timeout_s",
        "_head_bytes",
        "_headers",
        "_idle_timeout_s",
        "_informational",
        "_keep_alive",
        "_last_at",
        "_looks_at",
        "_message_complete",
        "_needs_eof",
        "_owner",
        "_parser",
        "_reading",
        "_shortest_s",
        "_timer",
        "holder",
        "idle_since",
        "response",
    )  # fmt: skip

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport = None
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = 0.0  # when the timer looks at the clock
        self._first_byte_timeout_s = owner.first_byte_timeout_s
        self._idle_timeout_s = owner.idle_timeout_s
        self._shortest_s = min(self._first_byte_timeout_s, self._idle_timeout_s)
        self._began_at = self._last_at = 0.0
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = self._informational = 0
        self._message_complete = self._needs_eof = self._keep_alive = False
        self._reading, self._writing, self._full = True, True, None
        self.response: Response | None = None
        self.idle_since = 0.0
        self.holder: str | None = None  # whose call it carries

    # What the pool and the client do with it.

    @property
    def usable(self) -> bool:
        """Whether it can carry another call: open, in both directions, and read from."""
        open_ = not self._closed and self._transport is not None and not self._transport.is_closing()
        return open_ and self._reading and self._writing

    def idle_longer_than(self, seconds: float) -> bool:
        """Whether its last response ended so long ago, or earlier."""
        return self._loop.time() - self.idle_since >= seconds

    def send(self, head: bytes, body: bytes) -> Response:
        """Write a request. From here on the upstream may bill it."""
        assert self._transport is not None
        assert self.response is None
        assert self._reading
        self.response = response = Response(self, self._loop)
        self._headers = []
        self._head_bytes = self._informational = 0
        self._message_complete = self._needs_eof = False
        self._began_at = self._last_at = now = self._loop.time()
        self._look_at(now + self._shortest_s)
        self._transport.write(head + body)
        return response

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
            self._finish(reusable=self._keep_alive and (self._owner.reuse_after_stream or not response.is_stream))
        response.wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = True
        self._stop_timer()
        self.resume_writing()
        response = self.response
        if response is not None:
            if self._needs_eof and error is None:
                self._finish(reusable=False)
                response.wake()
            else:
                self._fail("reset", "the upstream closed the connection before its response was complete")
        self._owner.lost(self)

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
        self._keep_alive = self._parser.should_keep_alive()
        self._needs_eof = status not in (204, 304)
        for name, _ in self._headers:
            if name in _FRAMING:
                self._needs_eof = False
                break
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
        if response is not None:
            response.completed()
        if (
            not self._reading
        ):  # its reader was slow; what is left of it is in memory, and the next caller waits for a head
            self.resume_reading()
        if reusable and self.usable:
            self.idle_since = self._last_at
            self._owner.release(self)
        else:
            self.close()

    def _fail(self, kind: FailureKind, message: str) -> None:
        response, self.response = self.response, None
        if response is not None:
            response.failed(UpstreamError(kind, message, sent=True))
        self.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at(self, moment: float) -> None:
        """One timer serves all time-outs of all responses: it looks at the clock no later than at `moment`, when the first of
        them could be over. It goes on when a response ends, for the next one mostly comes before that."""
        if self._timer is not None:
            if self._looks_at <= moment:
                return
            self._timer.cancel()
        self._looks_at = moment
        self._timer = self._loop.call_at(moment, self._check_time)

    def _check_time(self) -> None:
        self._timer = None
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
        self._look_at(deadline)
