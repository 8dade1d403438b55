"""One client connection: uvicorn's HTTP protocol with the limits that it does not have by itself, for both planes.

What comes without a key is bounded here: how many connections, how large a request's head, how long a request may take to
come, how long an answer may wait for its reader. A refusal of this layer is one JSON error that every dialect's clients
can read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import unquote

import httptools
import orjson
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from proxy.errors import Refusal, bad_http, head_too_large, request_timeout, too_large
from proxy.seldom import FAULTS, Seldom
from proxy.upstream.outbox import OUTBOX

_MAX_PIPELINED = 32  # requests that wait for the answer to an earlier one
_OF_A_WISH = (b"upgrade", b"connection", b"http2-settings")
_SHORT_TARGET = 200  # bytes: of these it is remembered what they say

log = logging.getLogger("taximeter.connections")
_strange = Seldom(log, logging.INFO)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one connection, and of all together (`max_connections`). Sizes in bytes, times in seconds.

    min_body_rate: bytes per second beyond which a body may take longer than `body_timeout_s`.
    max_body_bytes: None where the application looks after it.
    """

    max_connections: int = 10_000
    max_head_bytes: int = 65_536
    max_headers: int = 256
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    min_body_rate: int = 4096
    write_timeout_s: float = 30.0
    keep_alive_s: float = 75.0
    max_body_bytes: int | None = None


class Connection(HttpToolsProtocol):
    """One client connection. `limits` and `on_refusal` are class attributes of a subclass made by `connection_class`."""

    limits = Limits()
    on_refusal: Callable[[str], None] | None = None

    gone = False
    on_gone: Callable[[], None] | None = None
    # Which part of a request is coming, and since when it is waited for (or for its end).
    part: Literal["nothing", "head", "body"] = "nothing"
    since = 0.0
    had_request = False
    refused = False
    body_bytes = 0
    unframed_bytes = 0  # that came since the last piece of a body or the last request's end: heads, trailers, noise
    early = b""  # what came behind a request for another protocol
    asked_again = b""  # the head of a request that has a body, without its wish for a protocol which nobody offers
    wished = False  # that was so once, and is the connection's last request
    stalled_since = 0.0  # the client does not read; 0: it does
    unread_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn annotates a subclass
        super().connection_made(transport)
        self.since = self.loop.time()
        if len(self.connections) > self.limits.max_connections:
            transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        super().connection_lost(exc)
        if self.on_gone is not None:
            self.on_gone()

    # What comes in

    def data_received(self, data: bytes) -> None:
        if self.refused:
            return
        self.unframed_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            if not self.refused:
                _strange.note("something came that is no HTTP request")
                self.refuse(bad_http().refusal)
            return
        if self.unframed_bytes > self.limits.max_head_bytes:
            self.refuse(head_too_large(self.limits.max_head_bytes).refusal)

    def _parse(self, data: bytes) -> None:
        """Raises `HttpParserError`."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Of use where the request is granted; else the connection ends with its answer.
            self.early = data[upgrade.args[0] :]
            if self.asked_again:  # httptools takes no body of it; Java's own client sends h2c with every call
                again, self.asked_again, self.early, self.wished = self.asked_again + self.early, b"", b"", True
                self.parser = httptools.HttpRequestParser(self)
                self._parse(again)

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= _MAX_PIPELINED:
            self.refuse(bad_http("Too many requests wait on one connection.").refusal)
            raise ValueError("too many pipelined requests")  # so that the parser stops
        super().on_message_begin()
        self.part, self.since = "head", self.loop.time()
        self.had_request = True
        self.body_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """As uvicorn's; `Expect` is looked for once, when all are there."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._head_too_large():
            self.refuse(head_too_large(self.limits.max_head_bytes).refusal)
            raise ValueError("the head is too large")
        if self.limits.max_body_bytes is not None:
            self._check_stated_length(self.limits.max_body_bytes)
        if self.parser.should_upgrade() and (head := self._head_without_wish()):
            self.asked_again = head
            return
        self.part, self.since = "body", self.loop.time()
        self.unframed_bytes = 0
        self._begin_cycle()
        self.headers = []  # what comes after the head (trailers) is none of what the application was given

    def _begin_cycle(self) -> None:
        """As uvicorn's `on_headers_complete`, at half the cost: web sockets, a limit of concurrency and a root path are
        none of ours, and what a target says is remembered."""
        parser = self.parser
        scope: Any = self.scope
        version = parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        url = self.url
        plain = len(url) <= _SHORT_TARGET and url.find(b"?") < 0  # a query may have a credential
        look = _target_of if plain else _target_of.__wrapped__
        scope["path"], scope["raw_path"], scope["query_string"] = look(url)
        # What follows a request for another protocol is never read as HTTP.
        keep_alive = version != "1.0" and parser.should_keep_alive() and not parser.should_upgrade() and not self.wished
        named = dict(self.headers)
        if b"expect" in named:
            self.expect_100_continue = any(
                name == b"expect" and value.lower() == b"100-continue" for name, value in self.headers
            )
        earlier = self.cycle
        cycle = self.cycle = RequestResponseCycle(
            scope, self.transport, self.flow, self.logger, self.access_logger, self.access_log,
            self.server_state.default_headers, asyncio.Event(), self.expect_100_continue, keep_alive,
            self.on_response_complete,
        )  # fmt: skip
        scope["extensions"] = {"taximeter.connection": self, "taximeter.cycle": cycle, "taximeter.headers": named}
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _head_without_wish(self) -> bytes:
        """RFC 9110, 7.8: who does not offer the protocol goes on as if nobody had asked. b"" where there is no body, or a
        WebSocket is asked for."""
        named = dict(self.headers)
        if self.wished or not (b"content-length" in named or b"transfer-encoding" in named):
            return b""
        if named.get(b"upgrade", b"websocket").strip().lower() == b"websocket":
            return b""
        kept = [b": ".join(header) for header in self.headers if header[0] not in _OF_A_WISH]
        first = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        return b"\r\n".join([first, *kept, b"", b""])

    def on_body(self, body: bytes) -> None:
        self.unframed_bytes = 0
        self.body_bytes += len(body)
        limit = self.limits.max_body_bytes
        if limit is not None and self.body_bytes > limit:
            self.refuse(too_large(limit).refusal)
            raise ValueError("the body is too large")
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self.asked_again:
            return
        self.part, self.since = "nothing", self.loop.time()
        self.unframed_bytes = 0
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def on_response_complete(self) -> None:
        """As uvicorn's, but without a timer for each call: `check_time` closes what is idle for too long."""
        self.since = self.loop.time()  # what was sent behind the request is waited for from here on
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())

    def _head_too_large(self) -> bool:
        """Whether the head that is complete is beyond a limit; looked at closely only where what came could be."""
        if len(self.headers) > self.limits.max_headers:
            return True
        if self.unframed_bytes <= self.limits.max_head_bytes:
            return False  # most of it may be the body's beginning
        size = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
        return size > self.limits.max_head_bytes

    def _check_stated_length(self, limit: int) -> None:
        stated = next((value for name, value in self.headers if name == b"content-length"), b"0")
        if stated.isdigit() and int(stated[:19]) > limit:
            self.refuse(too_large(limit).refusal)
            raise ValueError("the body is too large")

    # What goes out

    def pause_writing(self) -> None:
        super().pause_writing()
        self.stalled_since, self.unread_bytes = self.loop.time(), self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.stalled_since = 0.0

    # Each of these ends what uvicorn could still write: an answer that is complete may wait for its turn's end.

    def shutdown(self) -> None:
        OUTBOX.flush()
        super().shutdown()

    def eof_received(self) -> None:
        OUTBOX.flush()

    def timeout_keep_alive_handler(self) -> None:
        if not self.transport.is_closing():
            self._close()

    def drop(self) -> None:
        """Close without a proper end: the client must not take what it got for the whole."""
        OUTBOX.flush()
        self.transport.abort()

    def refuse(self, refusal: Refusal) -> None:
        """Say what is wrong and close. Where an answer is being sent already, only close: two would be taken for one."""
        if self.refused or self.transport.is_closing():
            return
        self.refused = True
        OUTBOX.flush()
        self.flow.pause_reading()
        if self.on_refusal is not None:
            self.on_refusal(refusal.code)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or self.pipeline or self.part == "head":
                self.drop()  # the answer to an earlier request is on its way
                return
            cycle.disconnected = True  # nobody waits for the application's answer any more
            cycle.message_event.set()
        self.transport.write(_answer(refusal))
        self._close()

    def _close(self) -> None:
        """Close once what is written is read, but do not wait for that for ever."""
        OUTBOX.flush()
        if not self.stalled_since:
            self.stalled_since, self.unread_bytes = self.loop.time(), self.transport.get_write_buffer_size()
        self.transport.close()

    # Time

    def check_time(self, now: float) -> None:
        """Close what has waited too long; called once a second."""
        if self.stalled_since or self.transport.is_closing():
            self._check_reader(now)
        elif self._overdue(now):
            if self.part == "nothing":
                self._close()
            else:
                self.refuse(request_timeout(self.part).refusal)

    def _check_reader(self, now: float) -> None:
        """A client that has read nothing for a while is as good as gone."""
        unread = self.transport.get_write_buffer_size()
        if not self.stalled_since or unread < self.unread_bytes:
            self.stalled_since = now
        self.unread_bytes = unread
        if now - self.stalled_since > self.limits.write_timeout_s:
            self.transport.abort()

    def _overdue(self, now: float) -> bool:
        """Whether the client takes too long to send its request, or its next one."""
        limits, waited = self.limits, now - self.since
        if self.part == "body":
            cycle = self.cycle
            if self.flow.read_paused and not cycle.response_complete:
                return False  # it is we who do not read
            earned = 0.0 if cycle.response_complete else self.body_bytes / limits.min_body_rate
            return waited > limits.body_timeout_s + earned
        if self.cycle is not None and not self.cycle.response_complete:
            return False  # it may wait for its answer as long as that takes
        if self.part == "head" or not self.had_request:
            return waited > limits.header_timeout_s
        return waited > limits.keep_alive_s  # uvicorn's own timer ends with any byte, a blank line's too


@lru_cache(maxsize=1024)
def _target_of(url: bytes) -> tuple[str, bytes, bytes]:
    """What a request's target says: its path, as it came too, and its query. Raises what `httptools.parse_url` does."""
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return unquote(path) if "%" in path else path, parsed.path, parsed.query or b""


def connection_class(limits: Limits, on_refusal: Callable[[str], None] | None = None) -> type[Connection]:
    """`Connection` with a configuration's limits. on_refusal: told the code of what is refused here."""
    bound = staticmethod(on_refusal) if on_refusal is not None else None
    return type("LimitedConnection", (Connection,), {"limits": limits, "on_refusal": bound})


def check_times(connections: Iterable[Any], now: float) -> None:
    """Close the connections that have waited too long; called once a second."""
    for connection in [one for one in connections if isinstance(one, Connection)]:
        connection.check_time(now)
    _strange.tell()
    FAULTS.tell()


def _answer(refusal: Refusal) -> bytes:
    error = {"message": refusal.message, "type": refusal.kind, "param": refusal.param, "code": refusal.code}
    body = orjson.dumps({"type": "error", "error": error})
    head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
    return STATUS_LINE[refusal.status] + head + body
