"""The client's side of one exchange: its request as it came in, and the only way by which anything goes back to it.

`gone` turns true when the client hangs up; from then on writing is silently nothing, so that the accounting goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from proxy.dialects.family import Family
from proxy.downstream.cycle import Asked
from proxy.downstream.load import Load
from proxy.downstream.pieces import HungUp, pieces
from proxy.downstream.weighing import weighed
from proxy.errors import Refusal, invalid_request, overloaded, too_large, too_many_in_flight, unsupported_encoding
from proxy.upstream.outbox import OUTBOX
from proxy.wire.json_weight import SMALL_BYTES

Header = tuple[bytes, bytes]
T = TypeVar("T")

_JSON: Header = (b"content-type", b"application/json")


class Client:
    """One request and its response. `began` is its arrival (perf_counter seconds)."""

    __slots__ = (
        "attempts", "began", "clamped_tokens", "connection", "cycle", "headers", "held_bytes", "holder", "load", "notes",
        "path", "query", "request_id", "session_id", "started",
    )  # fmt: skip

    def __init__(self, load: Load, cycle: Asked) -> None:
        self.load = load
        self.began = time.perf_counter()
        self.cycle = cycle
        self.request_id = self.session_id = self.holder = ""
        self.started = False
        self.held_bytes = 0
        self.clamped_tokens: int | None = None
        self.attempts = 1
        self.path, self.query, self.headers, self.notes = cycle.path, cycle.query, cycle.named, cycle.notes
        self.connection = cycle.connection

    @property
    def gone(self) -> bool:
        return self.connection.gone

    def when_gone(self, callback: Callable[[], None] | None) -> None:
        """Call back as soon as the client hangs up, at once where it has (None: no more)."""
        self.connection.on_gone = callback
        if callback is not None and self.connection.gone:
            callback()

    async def leaves_within(self, seconds: float) -> bool:
        """Wait, but not for a client that hangs up: whether it did."""
        left = asyncio.Event()
        self.when_gone(left.set)
        try:
            async with asyncio.timeout(seconds):
                await left.wait()
        except TimeoutError:
            return self.gone
        finally:
            self.when_gone(None)
        return True

    @property
    def sends_more_than_is_held(self) -> bool:
        """Whether the request says that its body is larger than one that is read whole."""
        stated = self.headers.get(b"content-length", b"")
        return stated.isdigit() and int(stated) > self.load.max_body_bytes

    def body_now(self) -> bytes | None:
        """The whole request body, where all of it is here and within the limits; else None, and `body` waits, or says why not.
        Raises `Refused`."""
        if b"content-encoding" in self.headers or (body := self.cycle.take()) is None:
            return None
        size = len(body)
        if size > self.load.max_body_bytes:
            raise too_large(self.load.max_body_bytes)
        self._hold(size)
        return body

    async def body(self) -> bytes:
        """The whole request body, within the limits of the configuration. Raises `Refused` or `HungUp`."""
        if self.headers.get(b"content-encoding", b"identity") not in (b"identity", b""):
            raise unsupported_encoding()
        limit = self.load.max_body_bytes
        stated = self.headers.get(b"content-length", b"")
        if stated.isdigit() and int(stated) > limit:
            raise too_large(limit)
        chunks: list[bytes] = []
        more = True
        while more:
            chunk = self.cycle.take()
            if chunk is not None:
                more = False
            else:
                message = await self.cycle.receive()
                if message["type"] == "http.disconnect":
                    raise HungUp
                chunk, more = message.get("body", b""), message.get("more_body", False)
            self._hold(len(chunk))
            if self.held_bytes > limit:
                raise too_large(limit)
            chunks.append(chunk)
        return b"".join(chunks)

    def parsed(self, body: bytes, parse: Callable[[bytes], T]) -> T:
        """What `parse` makes of the body, which counts as in flight, too: a dense one takes many times its bytes. Raises what
        `parse` does, and `Refused`."""
        return parse(body) if len(body) < SMALL_BYTES else weighed(body, parse, self._hold)

    def pieces(self, limit: int) -> AsyncIterator[bytes]:
        """The request body as it comes, never whole in memory. Raises `Refused` beyond `limit` bytes, or `HungUp`."""
        return pieces(self.cycle, self.headers, limit)

    def admit(self, holder: str) -> None:
        """Count the call as `holder`'s, whoever that is: the key's id. Raises `Refused` where it has enough of them."""
        answer = self.load.calls.take(holder)
        if answer != "granted":
            raise too_many_in_flight("calls") if answer == "own share" else overloaded("calls")
        self.holder = holder

    def _hold(self, count: int) -> None:
        if not count:
            return
        answer = self.load.bytes.take(self.holder, count)
        if answer != "granted":
            raise too_many_in_flight("bytes") if answer == "own share" else overloaded("bytes")
        self.held_bytes += count

    def hold(self, count: int) -> bool:
        """Count so many bytes more of what the client sends as in flight; whether there is room for them."""
        if not self.holder or self.load.bytes.take(self.holder, count) != "granted":
            return False
        self.held_bytes += count
        return True

    def let_go(self, count: int) -> None:
        if self.holder:
            self.load.bytes.give(self.holder, count)
            self.held_bytes -= count

    def own_lines(self) -> str:
        """The headers with our own ids, as they are sent."""
        lines = ""
        if self.request_id:
            lines = f"x-taximeter-request-id: {self.request_id}\r\nx-request-id: {self.request_id}\r\n"
        # Where another team has a session of that name, its own team's is added: an operator's text, which may be anything.
        if self.session_id and self.session_id.isprintable():
            lines = f"{lines}x-taximeter-session-id: {self.session_id}\r\n"
        if self.clamped_tokens is not None:
            lines = f"{lines}x-taximeter-clamped-max-tokens: {self.clamped_tokens}\r\n"
        if self.attempts > 1:
            lines = f"{lines}x-taximeter-attempts: {self.attempts}\r\n"
        return lines

    async def start(self, status: int, headers: list[Header]) -> None:
        """The response's head, with our own ids added."""
        self.started = True
        lines = self.own_lines().encode()
        if not self.cycle.begin(status, headers, lines):
            await self._send_head(status, headers, lines)

    def write_now(self, data: bytes) -> bool:
        """Write a piece of the body, if that needs no waiting; whether it did not."""
        return len(data) > 0 and self.cycle.write(data)

    async def write(self, data: bytes) -> None:
        """A piece of the body; waits while the client reads slowly."""
        if not self.write_now(data):
            await self.cycle.send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        await self.cycle.send({"type": "http.response.body", "body": data, "more_body": False})

    async def respond(self, status: int, headers: list[Header], body: bytes, lines: str = "") -> None:
        """A whole response. lines: more headers of ours, as they are sent."""
        if not self.respond_now(status, headers, body, lines):
            OUTBOX.flush()
            self.started = True
            await self._send_head(status, headers, self._lines_of_whole(lines, body))
            await self.end(body)

    def respond_now(self, status: int, headers: list[Header], body: bytes, lines: str = "") -> bool:
        """As `respond`, if that needs no waiting; whether it did not."""
        if not self.cycle.respond(status, headers, body, self._lines_of_whole(lines, body)):
            return False
        self.started = True
        return True

    def _lines_of_whole(self, lines: str, body: bytes) -> bytes:
        return f"{lines}{self.own_lines()}content-length: {len(body)}\r\n".encode()

    async def _send_head(self, status: int, headers: list[Header], lines: bytes) -> None:
        own = [line.partition(b": ") for line in lines.split(b"\r\n")[:-1]]
        whole = [*headers, *[(name, value) for name, _, value in own]]
        await self.cycle.send({"type": "http.response.start", "status": status, "headers": whole})

    async def refuse(self, family: Family, refusal: Refusal) -> None:
        """Say no in the dialect's own shape; in a stream that has begun, as its proper end."""
        if self.started:
            await self.end(family.stream_end(refusal, ()))
            return
        headers: list[Header] = [_JSON, *family.refusal_headers(refusal), *refusal.headers]
        if refusal.final:
            headers.append((b"x-should-retry", b"false"))
        if refusal.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % refusal.retry_after_s))
        await self.respond(refusal.status, headers, family.refusal_body(refusal))

    async def drop(self) -> None:
        """Break the connection off: the body that was promised cannot be completed."""
        self.connection.drop()

    def release(self) -> None:
        """The exchange is over: it and its bytes no longer count as in flight, and whoever was not answered will not be."""
        if self.held_bytes:
            self.load.bytes.give(self.holder, self.held_bytes)
            self.held_bytes = 0
        if self.holder:
            self.load.calls.give(self.holder)
            self.holder = ""
        self.when_gone(None)
        self.cycle.over()


def stream_cost_wish(headers: dict[bytes, bytes]) -> str:
    """What `x-taximeter-stream-cost` asks for: "" (nothing), "comment" or "usage"."""
    wish = headers.get(b"x-taximeter-stream-cost")
    if not wish:
        return ""
    if wish == b"1":
        return "comment"
    if wish == b"usage":
        return "usage"
    raise invalid_request("The header x-taximeter-stream-cost must be 1 or usage.", "x-taximeter-stream-cost")
