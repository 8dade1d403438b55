"""Varied calls through a whole data plane, in one process and without sockets: what each client is told, what is sent upstream,
what is spooled, and where the budgets stand.

    python -m tests.support.varied_calls [--calls 3000] [--seed 1]

prints it, a line each. Time stands in it as the calls are counted, and ids as they come: so another tree, or the same one with
machine code in the place of modules, says the same lines, run with its folder as PYTHONPATH.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import json
import random
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import uvloop

import tests.support.still_clock  # it works when it is imported
from pricing.load import load_book
from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.dataplane.application import Application
from proxy.dataplane.process import build_plane
from proxy.downstream.connection import connecting
from proxy.downstream.server_state import ServerState
from proxy.downstream.timeouts import Limits
from proxy.spool.reader import SpoolReader, runs
from proxy.upstream import pool
from proxy.upstream.connection import Connection
from tests.support.bodies import FULL, WRONG, paths, with_value
from tests.support.odd_bytes import Recorded, mutations, recorded

_KEYS = ("sk-rich-0123456789abcdef", "sk-poor-0123456789abcdef", "sk-unknown-0123456789abc")
_HEADERS = (
    "x-taximeter-session: s1", "x-taximeter-session: s2", "x-taximeter-stream-cost: 1", "x-taximeter-stream-cost: usage",
    "user-agent: OpenAI/Python 1.2", "user-agent: claude-cli/2.0", "connection: close", "expect: 100-continue",
    "accept-encoding: gzip", "idempotency-key: x", "x-taximeter-label-feature: search",
)  # fmt: skip
# By the name of a body: its path, the model that it asks for, where its path upstream ends, and the dialect of its answers.
_KINDS = {
    "chat": ("/v1/chat/completions", "gpt-4o-mini", "/chat/completions", "openai.chat"),
    "completions": ("/v1/completions", "gpt-4o-mini", "/completions", "openai.completions"),
    "embeddings": ("/v1/embeddings", "text-embedding-3-small", "/embeddings", "openai.embeddings"),
    "responses": ("/v1/responses", "gpt-5-mini", "/responses", "openai.responses"),
    "messages": ("/v1/messages", "claude-sonnet-4-5", "/messages", "anthropic.messages"),
    "generate": ("/v1beta/models/gemini-2.5-flash:generateContent", "", "Content", "gemini"),
}
_WORDS = ("the ", "connection ", "ends ", "Überprüfung ", "你好 ", "😀", '"quoted" ', "\n", "\\", "9 ")
_TEXTS = {"chat": "messages", "messages": "messages", "responses": "input", "generate": "contents"}
_IDS = re.compile(r"\b0[0-9a-f]{7}-[0-9a-f]{4}-7[0-9a-f-]{17,22}\b|\b[0-9a-f]{32}\b")


def _config(folder: Path) -> Config:
    def upstream(provider: str, **more: str) -> dict[str, str]:
        return {"base_url": "http://127.0.0.1:9/v1", "api_key": f"sk-{provider}-0123", "provider": provider, **more}

    upstreams = {
        "o": upstream("openai"),
        "a": upstream("anthropic", dialect="anthropic"),
        "g": upstream("google", dialect="gemini"),
    }
    every = {"limit_usd": 1000, "window": "total"}
    fields: dict[str, Any] = {
        "upstreams": upstreams,
        "models": {name: {"upstream": at} for name, at in {"gpt-*": "o", "text-*": "o", "claude-*": "a", "gemini-*": "g"}.items()},
        "keys": [{"name": name, "key": key, "team": name} for name, key in zip(("rich", "poor"), _KEYS, strict=False)],
        "budgets": [
            {"name": "company", **every}, {"name": "key", "per": ["key"], **every},
            {"name": "poor", "match": {"team": "poor"}, "limit_usd": "0.2", "window": "total"},
            {"name": "session", "per": ["session"], "limit_usd": 3, "window": "total"},
        ],
        "data_dir": str(folder),
    }  # fmt: skip
    return read_section(Config, fields)


def _said(chance: random.Random) -> str:
    return "".join(chance.choices(_WORDS, k=chance.randrange(1, 40)))


def _plain(kind: str, chance: random.Random) -> dict[str, Any]:
    """A body as most are: texts, and a cap."""
    body: dict[str, Any] = {"model": _KINDS[kind][1]} if _KINDS[kind][1] else {}
    turns = [(("user", "assistant")[number % 2], _said(chance)) for number in range(chance.choice([1, 1, 3, 9]))]
    if kind == "generate":
        cap = {"generationConfig": {"maxOutputTokens": chance.choice([20, 4000])}}
        return {"contents": [{"role": role, "parts": [{"text": text}]} for role, text in turns]} | cap
    if kind in _TEXTS:
        body[_TEXTS[kind]] = [{"role": role, "content": text} for role, text in turns]
    else:
        body["input" if kind == "embeddings" else "prompt"] = turns[0][1]
    if kind != "embeddings":
        body["max_output_tokens" if kind == "responses" else "max_tokens"] = chance.choice([1, 20, 256, 4000])
        body["stream"] = chance.random() < 0.5
    if kind == "chat" and body["stream"] and chance.random() < 0.5:
        body["stream_options"] = {"include_usage": True}
    return body


def _body(kind: str, chance: random.Random) -> bytes:
    """Plain, or with all that the dialect reads; in some something else stands in the place of a value."""
    body = _plain(kind, chance)
    if chance.random() < 0.3:
        more = chance.sample([*FULL[kind].items()], k=chance.randrange(1, len(FULL[kind])))
        body = {**dict(more), **body}
    if chance.random() < 0.1:
        body = with_value(body, chance.choice([*paths(body)]), chance.choice(WRONG))
    written = json.dumps(
        body, ensure_ascii=chance.random() < 0.5, separators=chance.choice([(",", ":"), (", ", ": ")])
    ).encode()
    return written if chance.random() > 0.02 else written[: chance.randrange(len(written))]


def _request(chance: random.Random) -> bytes:
    kind = chance.choice(["chat", "chat", *_KINDS])
    body, path = _body(kind, chance), _KINDS[kind][0]
    if kind == "generate" and chance.random() < 0.5:
        path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
    key = chance.choices(_KEYS, weights=(20, 5, 1))[0]
    lines = [f"POST {path} HTTP/1.1", "host: a", f"authorization: Bearer {key}", "content-type: application/json"]
    lines += [header for header in _HEADERS if chance.random() < 0.1]
    if chance.random() < 0.2:
        return "\r\n".join([*lines, "transfer-encoding: chunked\r\n\r\n"]).encode() + _chunked([body])
    return "\r\n".join([*lines, f"content-length: {len(body)}\r\n\r\n"]).encode() + body


def _chunked(pieces: Iterable[bytes]) -> bytes:
    return b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece]) + b"0\r\n\r\n"


def _cut(whole: bytes, chance: random.Random, most: int) -> Iterator[bytes]:
    while whole:
        size = chance.randrange(1, most)
        yield whole[:size]
        whole = whole[size:]


class _Answers:
    """What the provider says: recorded answers of the asked dialect, as they were or damaged, in any pieces."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._known: dict[tuple[str, bool], list[Recorded]] = {}
        for one in recorded():
            self._known.setdefault((one.line["dialect"].removesuffix(".stream"), one.streamed), []).append(one)

    def to(self, head: bytes, body: bytes) -> tuple[list[bytes], bool]:
        """The reads of one response, the same for each same request; whether the connection ends with the last."""
        chance = random.Random(hashlib.sha256(b"%d" % self._seed + head.partition(b" HTTP")[0] + body).digest())
        streams = re.search(rb'"stream": ?true', body) is not None or b":stream" in head
        path = head.split(b" ")[1].decode().partition("?")[0]
        dialect = next(dialect for _, _, end, dialect in _KINDS.values() if path.endswith(end))
        known = self._known.get((dialect, streams)) or self._known["openai.chat", streams]
        one = chance.choice(known)
        data = chance.choice([*mutations(one)]).body if chance.random() < 0.3 else one.body
        status = 200 if chance.random() < 0.93 else chance.choice([400, 404, 429, 500, 503])
        kind = "text/event-stream" if streams else "application/json"
        more = ""
        if not streams and chance.random() < 0.1:
            data, more = gzip.compress(data, mtime=0), "content-encoding: gzip\r\n"
        begun = f"HTTP/1.1 {status} A\r\ncontent-type: {kind}\r\nx-request-id: up-1\r\n{more}"
        if streams or chance.random() < 0.2:
            pieces = data.splitlines(keepends=True) if chance.random() < 0.5 else _cut(data, chance, 600)
            whole = begun.encode() + b"transfer-encoding: chunked\r\n\r\n" + _chunked(pieces)
        else:
            whole = begun.encode() + b"content-length: %d\r\n\r\n" % len(data) + data
        cuts = chance.random() < 0.05
        if cuts:
            whole = whole[: chance.randrange(1, len(whole))]
        return [*_cut(whole, chance, chance.choice([200, 3000, 100_000]))], cuts


class _Transport:
    """One end of a connection. What is written goes to `on_write`; closed, it says so to `connection`."""

    def __init__(self, connection: Any, on_write: Callable[[bytes], object]) -> None:
        self._connection = connection
        self.write = on_write
        self.closed = False

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def is_closing(self) -> bool:
        return self.closed

    def close(self, error: Exception | None = None) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, error)

    abort = close

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class _Provider:
    """The other end of a connection to the upstream. asked: what came, of all of them."""

    def __init__(self, connection: Connection, answers: _Answers, asked: list[bytes]) -> None:
        self._answers, self._asked, self._connection = answers, asked, connection
        self._came = b""
        self._transport = _Transport(connection, self._take)
        connection.connection_made(self._transport)  # type: ignore[arg-type]  # all that is asked of one

    def _take(self, data: bytes) -> None:
        self._came += data
        head, _, body = self._came.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if length is not None and len(body) >= int(length[1]):
            self._came = b""
            self._asked.append(head + b" | " + body)
            self._say(*self._answers.to(head, body))

    def _say(self, reads: list[bytes], cuts: bool) -> None:
        if reads and not self._transport.closed:
            self._connection.data_received(reads[0])
            asyncio.get_running_loop().call_soon(self._say, reads[1:], cuts)
        elif cuts:
            self._transport.close(ConnectionResetError())


async def _told(app: Application, request: bytes, chance: random.Random) -> bytes:
    """What a client of its own is told. None leaves before: how far its call has come by then is up to the threads that count."""
    loop, got = asyncio.get_running_loop(), bytearray()
    connection: Any = connecting(Limits(), serve=app.serve)(app, ServerState(), loop)
    transport = _Transport(connection, got.extend)
    connection.connection_made(transport)
    for piece in _cut(request, chance, chance.choice([300, 100_000])):
        if not transport.closed:
            connection.data_received(piece)
            await asyncio.sleep(0)
    turn = 0
    while not (transport.closed or _is_whole(bytes(got))):
        turn += 1
        await asyncio.sleep(0 if turn < 500 else 0.01)  # a thread may be counting
    while connection.tasks:
        await asyncio.sleep(0 if turn < 500 else 0.01)
        turn += 1
        connection.tasks -= {task for task in connection.tasks if task.done()}
    return bytes(got)


def _is_whole(got: bytes) -> bool:
    head, end, body = got.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        return _is_whole(body)
    length = re.search(rb"content-length: (\d+)", head)
    return bool(end) and (len(body) >= int(length[1]) if length is not None else body.endswith(b"0\r\n\r\n"))


async def _lines(calls: int, seed: int, folder: Path) -> None:
    answers, asked, chance = _Answers(seed), list[bytes](), random.Random(seed)

    async def open_transport(_: object, factory: Callable[[], Any]) -> None:
        _Provider(factory(), answers, asked)

    pool.open_transport = open_transport  # type: ignore[attr-defined]
    plane = build_plane(_config(folder), "0", {}, load_book())
    plane.ready = True
    app, names = Application(plane), dict[str, str]()

    def say(what: str, data: bytes) -> None:
        named = _IDS.sub(lambda found: names.setdefault(found[0], f"id-{len(names)}"), data.decode("latin-1"))
        print(what, repr(named))

    for _ in range(calls):
        tests.support.still_clock.advance(0.7)
        say("told", await _told(app, _request(chance), chance))
        for one in asked:
            say("asked", one)
        asked.clear()
    plane.spool.close()
    for standing in sorted(map(str, plane.store.standings())):
        say("stands", standing.encode())
    reader = SpoolReader(folder / "spool", runs(folder / "spool")[0])
    while records := reader.read(over=False):
        for payload in records.payloads:
            say("spooled", payload)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.support.varied_calls", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(_lines(given.calls, given.seed, Path(folder)))


if __name__ == "__main__":
    main()
