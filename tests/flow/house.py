"""A data plane in this process, with an upstream that does as it is told: what tests of one exchange at a time stand on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import orjson

from pricing.load import load_book
from proxy.budgets.memory import MemoryStore
from proxy.config.checks import build
from proxy.config.file import expand
from proxy.dataplane.application import Application
from proxy.dataplane.process import build_plane
from proxy.downstream.cycle import Asked, Cycle
from proxy.downstream.head_cache import Notes
from proxy.exchange.plane import Plane
from proxy.spool.pending import Pending, keep
from proxy.spool.reader import SpoolReader, runs
from proxy.upstream.pool import UpstreamClient
from proxy.upstream.response import Response, Sink, UpstreamError

KEY = "sk-test-0123456789abcdef"
USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}


class Nobody:
    """Where an answer comes from that is all there."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def break_off(self) -> None: ...
    def hang_up(self) -> None: ...


class Answer(Response):
    """What the upstream answers: a status and pieces of a body, or failures where an exception stands in their place."""

    def __init__(
        self,
        *pieces: bytes | Exception,
        status: int = 200,
        kind: bytes = b"application/json",
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(Nobody())
        self.status = status
        self.headers = [(b"content-type", kind), (b"x-request-id", b"up-1"), *headers]
        self.pieces = list(pieces)

    async def pump(self, sink: Sink) -> None:
        """Piece by piece, and each is waited for."""

    def read_now(self) -> bytes | None:
        return None

    async def read(self) -> bytes:
        piece = self.pieces.pop(0) if self.pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece

    def abort(self) -> None:
        self.pieces = []

    def hang_up(self) -> None:
        self.pieces = []


def whole(**fields: Any) -> Answer:
    return Answer(orjson.dumps({"model": "m", "choices": [], "usage": USAGE} | fields))


class Told:
    """What the client got."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        begun = messages[0] if messages else {"status": 0, "headers": []}  # nothing: it had left by then
        self.status: int = begun["status"]
        self.headers = {name.decode(): value.decode() for name, value in begun["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    @property
    def code(self) -> str:
        return str(orjson.loads(self.body)["error"]["code"])


class Line:
    """The client's connection, as far as it can hang up or be broken off."""

    def __init__(self) -> None:
        self.gone = False
        self.on_gone: Callable[[], None] | None = None

    def drop(self) -> None: ...

    def hang_up(self) -> None:
        self.gone = True
        if self.on_gone is not None:
            self.on_gone()


class Asking:
    """A request that is all here, in the place of a connection's `Cycle`: answers come as messages, one by one."""

    def __init__(self, line: Line, path: str, query: bytes, named: dict[bytes, bytes], body: bytes) -> None:
        self.connection = line
        self.method, self.path, self.query, self.named = "POST", path, query, named
        self.notes = Notes()
        self.body = body
        self.messages: list[dict[str, Any]] = []
        self.watch: Callable[[dict[str, Any]], None] = lambda message: None

    def take(self) -> bytes | None:
        return None  # so that `receive` is asked

    def respond(self, status: int, headers: Any, body: bytes, lines: bytes = b"") -> bool:
        return False

    def begin(self, status: int, headers: Any, lines: bytes = b"") -> bool:
        return False

    def write(self, data: bytes, framed: bytes = b"") -> bool:
        return False

    def straight(self) -> None:
        return None

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self.watch(message)

    def over(self) -> None: ...


class Odd:
    """A store in memory, but for what is asked of it first."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class Upstreams(UpstreamClient):
    """Whom a call is sent to; None: to the upstream that is configured."""

    sending: Callable[..., Awaitable[Any]] | None

    def __init__(self, real: UpstreamClient, sending: Callable[..., Awaitable[Any]]) -> None:
        super().__init__()
        self._pools = real._pools
        self.sending = sending

    async def send(self, *given: Any, **named: Any) -> Any:
        return await (self.sending or super().send)(*given, **named)


BOOK = load_book()


class House:
    """A plane with its spool in a folder, and an upstream that answers `answers` in turn."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        config = {
            "upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-up", "provider": "acme"}},
            "models": {
                "m": {"upstream": "up", "context_tokens": 8000, "max_output_tokens": 4000},
                "dark": {"upstream": "up"},
            },
            "prices": [{"provider": "acme", "model": "m", "input": "1", "output": "2"}],
            "keys": [{"name": "k", "key": KEY, "team": "t"}],
            "data_dir": str(folder / "data"),
            "ledger": f"sqlite:///{folder}/l.db",
        } | changes
        # As read from a file, but for YAML: that takes seven times as long as all the rest.
        as_read = expand(orjson.loads(orjson.dumps(config)), {}, folder)
        self.plane: Plane = build_plane(build(as_read)[0], "data-0", {}, BOOK)
        self.plane.ready = True
        self.answers: list[Any] = []
        self.answering: Callable[[dict[str, Any]], Awaitable[Any]] | None = None  # in place of `answers`, by the body
        self.sent: list[tuple[bytes, dict[str, Any]]] = []
        self.upstreams = Upstreams(self.plane.configured.upstreams, self._send)
        self.plane.configured.upstreams = self.upstreams  # type: ignore[misc]  # there is no other way in
        self.spool = folder / "data" / "spool"
        self.watch: Callable[[dict[str, Any]], None] = lambda message: None  # told of every message to the client

    async def _send(
        self,
        pool: str,
        head: bytes,
        body: bytes,
        sent: Callable[[Any], None] | None = None,
        holder: str = "",
        record: Pending | None = None,
    ) -> Any:
        if record is not None:  # as the outbox does
            keep([record])
            if record.lost:
                raise UpstreamError("reset", "nothing was written", sent=True)
        self.sent.append((head, orjson.loads(body) if body.startswith(b"{") else {}))
        if self.answering is not None:
            return await self.answering(self.sent[-1][1])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return await answer() if callable(answer) else answer

    async def ask(
        self,
        answer: Any = None,
        *,
        key: str = KEY,
        headers: dict[str, str] | None = None,
        path: str = "/v1/chat/completions",
        chat: bool = True,
        line: Line | None = None,
        cycle: Cycle | None = None,
        raw: bytes | None = None,
        query_string: bytes = b"",
        **fields: Any,
    ) -> Told:
        self.answers.append(answer if answer is not None else whole())
        body = raw if raw is not None else orjson.dumps(CHAT | fields if chat else fields)
        sent = {"authorization": f"Bearer {key}"} | (headers or {})
        named = {name.encode(): value.encode() for name, value in sent.items()}
        asking = Asking(line or Line(), path, query_string, named, body)
        asking.watch = self.watch
        if cycle is not None:
            cycle.path, cycle.query, cycle.named = path, query_string, named
            cycle.body, cycle.more_body = body, False
        await Application(self.plane).serve(cycle or cast(Asked, asking))
        return Told(asking.messages)

    def records(self) -> list[dict[str, Any]]:
        reader = SpoolReader(self.spool, runs(self.spool)[0])
        found: list[dict[str, Any]] = []
        while records := reader.read(over=False):
            found += [orjson.loads(record.payload) for record in records]
        return found[1:]

    def kinds(self) -> list[str]:
        return [record["t"] for record in self.records()]

    def reserved(self) -> int:
        return sum(standing.reserved for standing in self.plane.store.standings())


Build = Callable[..., House]
HARD = {"budgets": [{"name": "b", "limit_usd": "0.01", "window": "total"}]}
