"""One client connection: HTTP/1.1 as llhttp parses it, each request in a task of its own, and the limits, for both planes.

What comes without a key is bounded here: how many connections, how large a request's head, how long a request may take to
come, how long an answer may wait for its reader. A refusal of this layer is one JSON error that every dialect's clients
can read. `processes/http_server.py` listens, and asks what is open to end when it stops (`shutdown`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, cast

import httptools

from proxy.cohort import COHORT
from proxy.downstream.cycle import Cycle, answer_of, head_without_wish, serve_asgi
from proxy.downstream.flow import HIGH_WATER_BYTES, Flow, reset_at_close
from proxy.downstream.head_cache import HeadCache
from proxy.downstream.own_errors import with_own_errors
from proxy.downstream.pipelined import MOST, MOST_IN_A_SLICE, Pipelined
from proxy.downstream.server_state import ServerState
from proxy.downstream.timeouts import Limits as Limits  # noqa: PLC0414 - for who makes connections with them
from proxy.errors import Refusal, Refused, bad_http, head_too_large, starting, too_large, unanswered
from proxy.rate_limited_log import FAULTS, RateLimitedLog
from proxy.upstream.outbox import OUTBOX
from proxy.wire.header_lines import by_name

log = logging.getLogger("taximeter.connections")
_strange = RateLimitedLog(log, logging.INFO)

Serve = Callable[[Cycle], Coroutine[Any, Any, None]]
"""Serves one request. Never raises, and ends with `Cycle.over`."""

Connecting = Callable[[Any, ServerState, asyncio.AbstractEventLoop], "Connection"]

_USUAL = Limits()


class Connection(Pipelined):
    """One client connection, made by a server, as a protocol of asyncio's. on_refusal: told the code of what is refused here.
    Without a `serve`, `app` serves, an ASGI application."""

    __deletable__ = ("parser",)  # as mypyc asks

    transport: asyncio.Transport
    flow: Flow
    cycle: Cycle | None = None  # of the latest request
    url = b""
    server: tuple[str, int | None] | None = None
    client: tuple[str, int] | None = None
    on_gone: Callable[[], None] | None = None
    unframed_bytes = 0  # that came since the last piece of a body or the last request's end: heads, trailers, noise
    upgrades = False  # another protocol was asked for: what comes is never read as HTTP
    asked_again = b""  # the head of a request that has a body, without its wish for a protocol which nobody offers
    wished = False  # that was so once, and is the connection's last request

    def __init__(
        self, app: Any, server_state: ServerState, loop: asyncio.AbstractEventLoop | None = None,
        limits: Limits = _USUAL, on_refusal: Callable[[str], None] | None = None, serve: Serve | None = None,
    ) -> None:  # fmt: skip
        self.loop = loop or asyncio.get_running_loop()
        self.limits, self.on_refusal, self.serve = limits, on_refusal, serve
        self.app = app
        self.server_state = server_state
        self.connections: set[Any] = server_state.connections
        self.tasks = server_state.tasks
        self.pipeline: deque[Cycle] = deque()  # where requests wait: they, behind the one whose turn it is
        self.headers: list[tuple[bytes, bytes]] = []
        self.gone = self.refused = False
        self.later = (
            b""  # what each request reads stands in the object: in its class Python finds it ten times as slowly
        )
        self.early = bytearray()  # what came behind a request for another protocol
        alike = self.serve is not None and self.limits.max_body_bytes is None
        self.head_cache = HeadCache(self.limits.max_head_bytes) if alike else None
        self.parser = httptools.HttpRequestParser(self)
        # What comes behind a request with `connection: close` is passed over, and takes nothing from its answer.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, base)  # uvloop's transports do not inherit from asyncio's
        self.flow = Flow(transport)
        self.connections.add(self)
        self.since = self.loop.time()
        if self.serve is None:
            self.server, self.client = _address(transport, "sockname"), _address(transport, "peername")
        if len(self.connections) > self.limits.max_connections:
            transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self.connections.discard(self)
        for cycle in self.pipeline or filter(None, (self.cycle,)):
            cycle.disconnected = not cycle.response_complete
            cycle.wake()
        if self.cycle is not None and (self.cycle.response_complete or self.cycle.task is None):
            self.cycle = None  # nobody else will take it away: no circle of references is left behind
        self.pipeline.clear()
        self.later = b""
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()
        del self.parser  # which refers to this
        if self.on_gone is not None:
            self.on_gone()

    # What comes in

    def data_received(self, data: bytes) -> None:
        if self.refused:
            return
        if self.later:
            self.later += data
            return
        head_cache, earlier = self.head_cache, self.cycle
        if head_cache is not None and self.part == "nothing" and not self.unframed_bytes:
            if head_cache.head is not None and self._begins_again(head_cache, data):
                return
            self._read(data)
            cycle = self.cycle
            if cycle is not None and cycle is not earlier and self.part == "nothing" and cycle.keep_alive:
                method = self.parser.get_method()
                head_cache.learn(data, self.body_bytes, method, self.url, cycle.headers, cycle.named, cycle.notes)
            return
        self._read(data)

    def _begins_again(self, head_cache: HeadCache, data: bytes) -> bool:
        """Begin the request that `data` is, where all of it is there and its head is known; whether it is so."""
        head, earlier = head_cache.head, self.cycle
        assert head is not None
        if earlier is not None and not (earlier.response_complete and earlier.keep_alive):
            return False
        length = head.length_in(data)
        if length is None:
            return False
        head_cache.hit()
        body = data[head.bytes + len(length) :]
        self.url, self.body_bytes, self.since = head.url, len(body), self.loop.time()
        headers, named = head.with_length(length)
        cycle = self.cycle = Cycle(self, head.method, "1.1", head.url, headers, named, True, head.notes)
        cycle.body, cycle.more_body = body, False
        cycle.wake()
        self._start(cycle)
        return True

    def _feed(self, data: bytes) -> None:
        cycle = self.cycle
        if self.part == "nothing" and cycle is not None and not (cycle.keep_alive or cycle.stays or self.upgrades):
            return  # it is behind the connection's last request, however much it is
        self.unframed_bytes += len(data)
        try:
            if self.upgrades:
                self.early.extend(data)
            else:
                self._parse(data)
        except httptools.HttpParserError as error:
            why = error.__context__  # what one of our callbacks said
            if not self.refused and not isinstance(why, Refused):
                _strange.note("a client sent something that is not an HTTP request")
            self.refuse((why if isinstance(why, Refused) else bad_http()).refusal)
            return
        if self.unframed_bytes > self.limits.max_head_bytes:
            self.refuse(head_too_large(self.limits.max_head_bytes).refusal)

    def _parse(self, data: bytes) -> None:
        """Raises `HttpParserError`."""
        try:
            self.parser.feed_data(data)
            return
        except httptools.HttpParserUpgrade as upgrade:
            # Of use where the request is granted; else the connection ends with its answer.
            self.early.extend(data[upgrade.args[0] :])
        # Below, not in there: an error in there has the upgrade as its context, not what our callback said.
        if not self.asked_again:
            self.upgrades = True
            return
        # httptools takes no body of it; Java's own client sends h2c with every call
        again, self.asked_again, self.wished = self.asked_again + self.early, b"", True
        self.early.clear()
        self.parser = httptools.HttpRequestParser(self)
        self._parse(again)

    def on_message_begin(self) -> None:
        if len(self.pipeline) > MOST + MOST_IN_A_SLICE:
            raise bad_http("Too many requests wait on one connection.")
        self.url, self.headers = b"", []
        self.part, self.since = "head", self.loop.time()
        self.had_request = True
        self.body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip()))  # which llhttp does not (RFC 9112, 5.1)

    def on_headers_complete(self) -> None:
        if self._head_too_large():
            raise head_too_large(self.limits.max_head_bytes)
        if self.limits.max_body_bytes is not None:
            self._check_stated_length(self.limits.max_body_bytes)
        upgrades = self.parser.should_upgrade()
        if upgrades and not self.wished:
            method, version = self.parser.get_method(), self.parser.get_http_version()
            self.asked_again = head_without_wish(method, self.url, version, self.headers)
            if self.asked_again:
                return
        self._begin(upgrades)
        self.part, self.since = "body", self.loop.time()
        self.unframed_bytes = 0

    def _begin(self, upgrades: bool) -> None:
        """The request whose head is complete gets its turn. upgrades: to another protocol, if it can."""
        parser, headers = self.parser, self.headers
        version = parser.get_http_version()
        stays, is_old = not (upgrades or self.wished) and parser.should_keep_alive(), version == "1.0"
        named = by_name(headers)
        earlier = self.cycle
        cycle = self.cycle = Cycle(self, parser.get_method(), version, self.url, headers, named, stays and not is_old)
        self.headers = []  # what comes after the head (trailers) is none of what the application was given
        if is_old:
            cycle.stays = stays and b"transfer-encoding" not in named
        elif b"expect" in named:
            cycle.expects = any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)
        if earlier is None or earlier.response_complete:
            self._start(cycle)
        else:
            self.flow.pause_reading()
            if not self.pipeline:
                self.pipeline.append(earlier)
            self.pipeline.append(cycle)

    def _start(self, cycle: Cycle) -> None:
        if self.serve is not None:
            cycle.task = COHORT.begin(with_own_errors(self.serve(cycle)))
        else:
            cycle.task = self.loop.create_task(serve_asgi(self.app, cycle))
        self.tasks.add(cycle.task)

    def on_body(self, body: bytes) -> None:
        self.unframed_bytes = 0
        self.body_bytes += len(body)
        limit = self.limits.max_body_bytes
        if limit is not None and self.body_bytes > limit:
            raise too_large(limit)
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return
        cycle.add(body)
        if len(cycle.body) > HIGH_WATER_BYTES:
            self.flow.pause_reading()
        cycle.wake()

    def on_message_complete(self) -> None:
        if self.asked_again:
            return
        self.part, self.since = "nothing", self.loop.time()
        self.unframed_bytes = 0
        cycle = self.cycle
        if cycle is None:
            return
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.wake()
        elif not cycle.keep_alive:  # it was answered before, as the connection's last
            self.refused = True
            self._close()
            raise ValueError("nothing is read behind it")

    # What becomes of a request

    def answered(self) -> None:
        """The answer to the request whose turn it was is complete."""
        self.since = self.loop.time()  # what was sent behind the request is waited for from here on
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self.pipeline.popleft()
                if self.pipeline:
                    self._start(self.pipeline[0])
                if self.later and len(self.pipeline) == MOST // 2:
                    self.loop.call_soon(self._read_on)

    def leave_unanswered(self, cycle: Cycle) -> None:
        """The application gave a request up: its client is told, or where an answer has begun, sees that it is not whole."""
        if self.transport.is_closing():
            return
        is_over = self.server_state.is_over
        if not is_over:  # else who stops has said how many
            log.error("a request was left without an answer")
        if cycle.looks_whole:
            self.drop()
            return
        OUTBOX.flush()
        if not cycle.response_started:
            self.transport.write(answer_of((starting() if is_over else unanswered()).refusal))
        self._close()

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
            raise too_large(limit)

    # What goes out

    def pause_writing(self) -> None:
        self.flow.pause_writing()
        self.stalled_since, self.unread_bytes = self.loop.time(), self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        self.stalled_since = 0.0

    # Each of these, as `shutdown`, may close the connection. A whole answer may still wait in the outbox: it is flushed first.

    def eof_received(self) -> None:
        """The client sends no more: as nginx, Envoy and uvicorn do, it is taken to have left, which it nearly always has."""
        OUTBOX.flush()

    def drop(self) -> None:
        """Close without a proper end: the client must not take what it got for the whole."""
        OUTBOX.flush()
        if any(cycle.looks_whole for cycle in self.pipeline or filter(None, (self.cycle,))):
            reset_at_close(self.transport)
        self.transport.abort()

    def refuse(self, refusal: Refusal) -> None:
        """Say what is wrong and close. Where an answer is being sent already, only close: two would be taken for one."""
        if self.refused or self.transport.is_closing():
            return
        self.refused = True
        OUTBOX.flush()
        self.flow.pause_reading()
        cycle = self.cycle
        if cycle is not None and cycle.response_complete and self.part == "body":
            self._close()  # it has its answer already
            return
        if self.on_refusal is not None:
            self.on_refusal(refusal.code)
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or len(self.pipeline) > 1 or self.part == "head":
                self.drop()  # the answer to an earlier request is on its way
                return
            cycle.disconnected = True  # nobody waits for the application's answer any more
            cycle.wake()
        self.transport.write(answer_of(refusal))
        self._close()

    def _close(self) -> None:
        """Close once what is written is read, but do not wait for that for ever."""
        OUTBOX.flush()
        if not self.stalled_since:
            self.stalled_since, self.unread_bytes = self.loop.time(), self.transport.get_write_buffer_size()
        self.transport.close()


def connecting(
    limits: Limits, on_refusal: Callable[[str], None] | None = None, serve: Serve | None = None
) -> Connecting:
    """What makes connections with a configuration's limits."""
    return partial(Connection, limits=limits, on_refusal=on_refusal, serve=serve)


def _address(transport: asyncio.Transport, which: str) -> tuple[str, int] | None:
    """Of a connection's end; None of a socket in the file system."""
    said = transport.get_extra_info(which)
    return (str(said[0]), int(said[1])) if isinstance(said, tuple) and len(said) >= 2 else None


def check_times(connections: Iterable[Any], now: float) -> None:
    """Close the connections that have waited too long; called once a second."""
    for connection in [one for one in connections if isinstance(one, Connection)]:
        connection.check_time(now)
    _strange.tell()
    FAULTS.tell()
