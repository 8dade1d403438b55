"""One connection to an upstream: HTTP/1.1 written and read, one response at a time (`response.py`)."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Protocol, cast

import httptools

from proxy.spool.pending import Pending
from proxy.times import STOOD_STILL_S, machine_s
from proxy.upstream.chunk_head import chunk_head
from proxy.upstream.outbox import OUTBOX
from proxy.upstream.response import FailureKind, Response, UpstreamError
from proxy.upstream.writing import Writing

_MAX_HEAD_BYTES = 64 * 1024
_MAX_INFORMATIONAL = 16
_LONG_BYTES = 65_536  # of a body that is not copied once more, to stand behind its head
_HANG_UP_S = 1.0  # how long an upstream may go on after a hang-up

_FRAMING = (b"content-length", b"transfer-encoding")


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

    __deletable__ = ("_parser",)  # as mypyc asks
    __slots__ = (
        "_at_edge",
        "_chunk_ended",
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
        "_wall_ahead",
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
        self._chunk_ended = False
        self._at_edge = False  # all that came of a chunked body is whole chunks
        self._reading, self._writing, self._full = True, True, None
        self.response: Response | None = None
        self.idle_since = self._wall_ahead = 0.0
        self.holder: str | None = None  # whose call it carries

    # What the pool and the client do with it.

    @property
    def usable(self) -> bool:
        """Whether it can carry another call: open, in both directions, and read from."""
        open_ = not self._closed and self._transport is not None and not self._transport.is_closing()
        return open_ and self._reading and self._writing

    def idle_longer_than(self, seconds: float) -> bool:
        """Whether its last response ended so long ago, or earlier; or before the machine stood still: this clock did, too, and
        the other end may have gone meanwhile."""
        now = perf_counter()
        return now - self.idle_since >= seconds or machine_s() - now - self._wall_ahead >= STOOD_STILL_S

    def send(self, head: bytes, body: bytes, record: Pending | None = None) -> Response:
        """Write a request. From here on the upstream may bill it, but where its `record` is lost."""
        assert self._transport is not None
        assert self.response is None
        assert self._reading
        self.response = response = Response(self)
        self._headers = []
        self._head_bytes = self._informational = 0
        self._message_complete = self._needs_eof = self._chunk_ended = self._at_edge = False
        self._began_at = self._last_at = now = perf_counter()
        self._look_at(now + self._shortest_s)
        OUTBOX.write(self._transport, head + body if len(body) < _LONG_BYTES else (head, body), record)
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
        OUTBOX.flush()
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
        self._last_at = perf_counter()
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
        if self._at_edge and (sink := response.sink) is not None:
            # What most reads of a stream are: one chunk, which needs no parser. The one of size 0 ends the body.
            rest = data.removeprefix(chunk_head[len(data)])
            body = rest.removesuffix(b"\r\n")
            if rest is not data and body is not rest:
                response.last_at = perf_counter()
                try:
                    if not sink(body, data):
                        response.unsink()
                except BaseException as error:  # noqa: BLE001 - it is the sink's, and not this connection's
                    response.unsink(error)
                return
        self._last_at = perf_counter()
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
        self._at_edge = self._chunk_ended and not self._message_complete and data.endswith(b"\r\n")
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
        self._transport = None  # as the parser it refers to this: no circle of references is left behind
        del self._parser
        self._owner.lost(self)

    def eof_received(self) -> None:
        """What was sent is all; the loop closes the connection."""

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self._message_complete:  # were the second only begun here, the next caller's answer would be its rest
            raise ValueError("more than one response to one request")

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

    def on_chunk_header(self) -> None:
        self._chunk_ended = False

    def on_chunk_complete(self) -> None:
        self._chunk_ended = True

    def on_message_complete(self) -> None:
        if self.response is None or not self.response.status:
            return  # the end of an informational response
        self._message_complete = True

    # How a response ends.

    def _finish(self, *, reusable: bool) -> None:
        response, self.response = self.response, None
        if response is not None:
            response.completed()
        # Its reader was slow; what is left of it is in memory, and the next caller waits for a head.
        if not self._reading:
            self.resume_reading()
        if reusable and self.usable:
            self.idle_since = self._last_at
            self._wall_ahead = machine_s() - perf_counter()
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
        self._timer = self._loop.call_later(moment - perf_counter(), self._check_time)

    def _check_time(self) -> None:
        self._timer = None
        response = self.response
        if response is None:
            return
        now = perf_counter()
        if response.paused:
            deadline = now + self._idle_timeout_s  # it is our reader that is slow, not the upstream
        elif response.status:
            deadline = max(self._last_at, response.last_at) + self._idle_timeout_s
            if now >= deadline:
                self._fail("idle_timeout", f"the upstream was silent for {self._idle_timeout_s:g} s")
                return
        else:
            deadline = self._began_at + self._first_byte_timeout_s
            if now >= deadline:
                self._fail("first_byte_timeout", f"the upstream did not answer within {self._first_byte_timeout_s:g} s")
                return
        self._look_at(deadline)
