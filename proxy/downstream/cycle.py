"""One request and its answer on a client's connection, as an application sees it.

A body that is there is taken whole and an answer that is ready goes out in one piece, without waiting (`take`, `respond`,
`write`: None or False where that is not possible). Whatever has to be waited for, or is out of the ordinary (a slow reader,
HEAD, an answer after which the connection ends), goes by `receive` and `send`. Their messages are ASGI's, so that any
ASGI application is served by the same code (`serve_asgi`).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from itertools import chain
from typing import Any, Protocol
from urllib.parse import unquote

import httptools
import orjson

from proxy.cohort import Signal
from proxy.downstream.flow import Flow
from proxy.downstream.head_cache import Notes
from proxy.downstream.server_state import ServerState, Serving
from proxy.errors import Refusal
from proxy.rate_limited_log import rate_limit_tracebacks
from proxy.upstream.outbox import OUTBOX

log = logging.getLogger("taximeter.connections")
log.addFilter(rate_limit_tracebacks)

Header = tuple[bytes, bytes]
Message = MutableMapping[str, Any]
Straight = tuple[Flow, Callable[[bytes], object]]
"""What writes, and what says whether that has to wait (`write_paused`). Not where the cycle is `disconnected`."""

_SHORT_TARGET = 200  # bytes: how targets up to that length were read is remembered
_NO_BODY = (204, 304)
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
_OF_A_WISH = (b"upgrade", b"connection", b"http2-settings")
_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
# What a header may not have: a name's separators and controls, a value's controls but tab (RFC 9110, 5.1 and 5.5).
_NO_NAME = re.compile(rb'[\x00-\x1f\x7f()<>@,;:\\[\]={} \t"]')
_NO_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Carrier(Protocol):
    """The connection, as its cycles see it."""

    transport: asyncio.Transport
    flow: Flow
    server_state: ServerState
    tasks: set[Serving]
    server: tuple[str, int | None] | None
    client: tuple[str, int] | None
    gone: bool
    on_gone: Callable[[], None] | None
    cycle: Cycle | None

    def answered(self) -> None: ...
    def leave_unanswered(self, cycle: Cycle) -> None: ...
    def drop(self) -> None: ...


class Asked(Protocol):
    """A cycle, as the application sees it."""

    connection: Carrier
    method: str
    path: str
    query: bytes
    named: dict[bytes, bytes]
    notes: Notes
    disconnected: bool
    response_started: bool
    response_complete: bool

    def take(self) -> bytes | None: ...
    async def receive(self) -> Message: ...
    def respond(self, status: int, headers: Sequence[Header], body: bytes, lines: bytes = b"") -> bool: ...
    def begin(self, status: int, headers: Sequence[Header], lines: bytes = b"") -> bool: ...
    def write(self, data: bytes, framed: bytes = b"") -> bool: ...
    def straight(self) -> Straight | None: ...
    async def send(self, message: Message) -> None: ...
    def over(self) -> None: ...


class Cycle:
    """headers: as they came, names in lower case. named: the same by their names, several lines joined. keep_alive: whether
    another request may follow; `expects`: the client waits to be told to send its body (100-continue). notes: what an
    application found out by the head alone, which it finds again with the next request that has the same (`head_cache.py`).
    stays: an HTTP/1.0 client asked for a connection that stays: with an answer of known length it does. body: what came of it
    and was not taken."""

    __slots__ = (
        "_chunked", "_left", "_news", "_signal", "body", "connection", "disconnected", "expects", "headers", "keep_alive",
        "method", "more_body", "named", "notes", "path", "query", "raw_path", "response_complete", "response_started", "stays",
        "task", "version",
    )  # fmt: skip

    def __init__(
        self, connection: Carrier, method: bytes, version: str, url: bytes, headers: list[Header], named: dict[bytes, bytes],
        keep_alive: bool, notes: Notes | None = None,
    ) -> None:  # fmt: skip
        self.connection = connection
        self.method = _METHODS.get(method) or method.decode("ascii")
        self.version = version
        plain = len(url) <= _SHORT_TARGET and url.find(b"?") < 0  # a query may have a credential
        self.path, self.raw_path, self.query = (_target_of if plain else _target_of.__wrapped__)(url)
        self.headers = headers
        self.named = named
        self.keep_alive = keep_alive
        self.notes = notes or Notes()
        self.expects = self.stays = self.disconnected = False
        self.more_body = True
        self.body: bytes | bytearray = b""
        self.response_started = self.response_complete = False
        self.task: Serving | None = None
        self._chunked: bool | None = None
        # Bytes of the answer that its content-length promises; None: it ends with the connection.
        self._left: int | None = 0
        self._news = False  # something came since `receive` looked
        self._signal: Signal | None = None  # of news, where somebody waits for them

    # From the connection

    def wake(self) -> None:
        """Something came, or nothing more will."""
        self._news = True
        if self._signal is not None:
            self._signal.set()

    def add(self, data: bytes) -> None:
        """A piece of the body."""
        body = self.body
        if not body:
            self.body = data
        elif isinstance(body, bytearray):
            body.extend(data)
        else:
            self.body = bytearray().join((body, data))

    # To the application

    def scope(self) -> dict[str, Any]:
        """The request as ASGI says it."""
        connection = self.connection
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": self.version,
            "server": connection.server,
            "client": connection.client,
            "scheme": "http",
            "method": self.method,
            "root_path": "",
            "path": self.path,
            "raw_path": self.raw_path,
            "query_string": self.query,
            "headers": self.headers,
            "state": {},
            "extensions": {"taximeter.connection": connection},
        }

    def take(self) -> bytes | None:
        """The request's whole body, where all of it is here; None where it has to be waited for."""
        if self.more_body or self.disconnected or self.response_complete or self.expects:
            return None
        self.connection.flow.resume_reading()
        self._news = False
        taken, self.body = self.body, b""
        return taken if isinstance(taken, bytes) else bytes(taken)

    async def receive(self) -> Message:
        """The next ASGI message: what came of the body by now, or that there is nobody to answer."""
        connection = self.connection
        if self.expects and not connection.transport.is_closing():
            connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.expects = False
        if not self.disconnected and not self.response_complete:
            connection.flow.resume_reading()
            if not self._news:
                self._signal = self._signal or Signal()
                await self._signal
            self._news = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        taken, self.body = bytes(self.body), b""
        return {"type": "http.request", "body": taken, "more_body": self.more_body}

    # From the application

    def respond(self, status: int, headers: Sequence[Header], body: bytes, lines: bytes = b"") -> bool:
        """Write a whole response; `headers` are lower-case, and its content-length is among them or `lines`. lines: more of
        them, as they are sent, each with its end, of whose values no client or upstream has the say."""
        if status in _NO_BODY or (head := self._head(status, headers, lines)) is None:
            return False
        connection = self.connection
        OUTBOX.write(connection.transport, head + body)
        self.expects = False
        self.response_started = self.response_complete = True
        self.wake()
        connection.answered()
        return True

    def begin(self, status: int, headers: Sequence[Header], lines: bytes = b"") -> bool:
        """Write the head of a response whose body comes in pieces; as `respond`, but that nothing says how long it is."""
        if self.version != "1.1" or status in _NO_BODY:
            return False
        if (head := self._head(status, headers, lines + b"transfer-encoding: chunked\r\n")) is None:
            return False
        self._chunked = self.response_started = True
        self.expects = False
        self.connection.transport.write(head)
        return True

    def _head(self, status: int, headers: Sequence[Header], lines: bytes) -> bytes | None:
        """The head of an answer; None where there is anything out of the ordinary."""
        if self.response_started or self.disconnected or not self.keep_alive or self.method == "HEAD":
            return None
        if self.connection.flow.write_paused:
            return None
        named = b"\r\n".join([*map(b": ".join, headers), b""])
        ends = len(headers)
        if named.count(b"\n") != ends or named.count(b"\r") != ends:
            return None  # a header that would become two
        return b"".join((_status_line(status), named, lines, b"\r\n"))  # in half the time of a format

    def write(self, data: bytes, framed: bytes = b"") -> bool:
        """Write a piece of a chunked body that has begun. framed: the same as one chunk, where somebody has that already."""
        connection = self.connection
        if not self._chunked or self.response_complete or self.disconnected or connection.flow.write_paused:
            return False
        connection.transport.write(framed or b"%x\r\n%s\r\n" % (len(data), data))
        return True

    def straight(self) -> Straight | None:
        """A shorter way than `write` for pieces with their framing as a chunk, until the body's end; None where it has none."""
        return (self.connection.flow, self.connection.transport.write) if self._chunked else None

    async def send(self, message: Message) -> None:
        """Write an ASGI message; waits while the client reads slowly. Raises RuntimeError where it does not make a response."""
        connection = self.connection
        if connection.flow.write_paused and not self.disconnected:
            await connection.flow.drain()
        if self.disconnected:
            return
        wanted = "http.response.body" if self.response_started else "http.response.start"
        if message["type"] != wanted or self.response_complete:
            raise RuntimeError(f"{message['type']} cannot be sent at this point of a response")
        if self.response_started:
            self._write_piece(message.get("body", b""), more=message.get("more_body", False))
        else:
            self._write_head(message["status"], message.get("headers", ()))

    @property
    def looks_whole(self) -> bool:
        """Whether what was written is a whole answer, should the connection end now."""
        return self.response_started and self._left is None

    def over(self) -> None:
        """The application is done with it: where the answer is not complete by now, there will be none."""
        connection = self.connection
        if self.task is not None:
            connection.tasks.discard(self.task)
            self.task = None
        if not (self.response_complete or self.disconnected):
            connection.leave_unanswered(self)
        if connection.gone and connection.cycle is self:
            connection.cycle = None  # no circle of references is left behind

    def _write_head(self, status: int, headers: Iterable[Header]) -> None:
        lines = [_status_line(status)]
        said_close = False
        for name, value in chain(self.connection.server_state.default_headers, headers):
            if _NO_NAME.search(name) or _NO_VALUE.search(value):
                raise RuntimeError("a response header's name or value is not valid in HTTP")
            lower = name.lower()
            if lower == b"content-length" and status == 204:
                continue  # which must not have one (RFC 9110, 8.6)
            if lower == b"content-length" and self._chunked is None:
                self._chunked, self._left = False, int(value)
            elif lower == b"transfer-encoding" and value.lower() == b"chunked":
                if self.version == "1.0":
                    continue
                self._chunked, self._left = True, 0
            elif lower == b"connection" and b"close" in [token.strip() for token in value.lower().split(b",")]:
                self.keep_alive, said_close = False, True
            lines += (lower, b": ", value, b"\r\n")
        unframed = self._chunked is None and self.method != "HEAD" and status not in _NO_BODY
        if self.stays and not unframed and not said_close:
            self.keep_alive = True
            lines.append(b"connection: keep-alive\r\n")
        elif not self.keep_alive and not said_close:
            lines.append(b"connection: close\r\n")
        if unframed and self.version == "1.0":  # which knows no chunks (RFC 9112, 6.1)
            self._chunked, self._left = False, None
        elif unframed:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        self.response_started, self.expects = True, False
        self.connection.transport.write(b"".join([*lines, b"\r\n"]))

    def _write_piece(self, body: bytes, *, more: bool) -> None:
        connection = self.connection
        if self.method == "HEAD":
            self._left = 0
        elif self._chunked:
            framed = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
            connection.transport.write(framed if more else framed + b"0\r\n\r\n")
        else:
            if self._left is not None:
                if len(body) > self._left:
                    raise RuntimeError("the response's body is longer than its content-length")
                self._left -= len(body)
            connection.transport.write(body)
        if more:
            return
        if self._left:
            raise RuntimeError("the response's body is shorter than its content-length")
        self.response_complete = True
        self.wake()
        # While the rest of its request comes, the connection stays: a client that is cut off while it sends may not read this.
        if not (self.keep_alive or self.more_body):
            connection.transport.close()
        connection.answered()


async def serve_asgi(app: Any, cycle: Cycle) -> None:
    """Serve one request by an ASGI application."""
    try:
        await app(cycle.scope(), cycle.receive, cycle.send)
    except Exception:
        log.exception("the application failed")
    finally:
        cycle.over()


def head_without_wish(method: bytes, url: bytes, version: str, headers: Sequence[Header]) -> bytes:
    """The head of a request that has a body, without its wish for another protocol. RFC 9110, 7.8: who does not offer that goes
    on as if nobody had asked. b"" where there is no body, or a WebSocket is asked for."""
    named = dict(headers)
    if not (b"content-length" in named or b"transfer-encoding" in named):
        return b""
    if named.get(b"upgrade", b"websocket").strip().lower() == b"websocket":
        return b""
    kept = [b": ".join(header) for header in headers if header[0] not in _OF_A_WISH]
    first = b"%b %b HTTP/%b" % (method, url, version.encode())
    return b"\r\n".join([first, *kept, b"", b""])


def answer_of(refusal: Refusal) -> bytes:
    """A whole response that every dialect's clients can read, after which the connection ends."""
    error = {"message": refusal.message, "type": refusal.kind, "param": refusal.param, "code": refusal.code}
    body = orjson.dumps({"type": "error", "error": error})
    head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
    return _status_line(refusal.status) + head + body


def _status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


@lru_cache(maxsize=1024)
def _target_of(url: bytes) -> tuple[str, bytes, bytes]:
    """What a request's target says: its path, as it came too, and its query. Raises what `httptools.parse_url` does."""
    parsed: Any = httptools.parse_url(url)  # whose annotations say that there always is a query
    path = parsed.path.decode("ascii")
    return unquote(path) if "%" in path else path, parsed.path, parsed.query or b""
