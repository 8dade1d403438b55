"""The fake provider, a program of its own: `python -m bench.upstream --unary PORT --stream PORT --race PORT`.

unary   answers at once, always the same (nginx does this where there is one: it costs the shared core less)
stream  one chunk each 20 ms, `T<monotonic ns>;` in its content so that the load can tell its age, usage last
race    answers after 100 ms with as many tokens as the call's number says, and keeps the bill: `GET /bill` tells and clears it
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from typing import ClassVar

import httptools
import uvloop

from bench.agents import AGENTS
from bench.wire import RACE_PROMPT_TOKENS, UNARY_ANSWER, race_nanousd, race_tokens

SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini",'
    b'"system_fingerprint":"fp_x","choices":[{"index":0,"delta":{"content":"T%d;"},"logprobs":null,'
    b'"finish_reason":null}]}\n\n'
)
LAST = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"gpt-4o-mini",'
    b'"choices":[],"usage":{"prompt_tokens":19,"completion_tokens":%d,"total_tokens":%d,'
    b'"completion_tokens_details":{"reasoning_tokens":5}}}\n\ndata: [DONE]\n\n'
)
_RACE_ANSWER = (
    b'{"id":"chatcmpl-r%d","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"The taximeter."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}'
)
_RACE_DELAY_S = 0.1
_NUMBER = re.compile(rb"Race call #(\d+)")


def framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _plain(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


class Connection(asyncio.Protocol):
    """A keep-alive connection; what it does with a request is its subclass's."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._url = b""
        self.transport: asyncio.Transport = None  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url, self._body = url, b""

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        self.answer(self._url, self._body)

    def answer(self, url: bytes, body: bytes) -> None:
        raise NotImplementedError


class Unary(Connection):
    _ready = _plain(UNARY_ANSWER)
    _of_agents: ClassVar[dict[bytes, bytes]] = {agent.path.encode(): _plain(agent.answer) for agent in AGENTS.values()}

    def answer(self, url: bytes, body: bytes) -> None:
        self.transport.write(self._of_agents.get(url, self._ready))


class Stream(Connection):
    """One stream; the ticker steps it."""

    active: ClassVar[set[Stream]] = set()
    chunks = 250

    def __init__(self) -> None:
        super().__init__()
        self._sent = 0

    def connection_lost(self, exc: Exception | None) -> None:
        self.active.discard(self)

    def answer(self, url: bytes, body: bytes) -> None:
        self._sent = 0
        self.transport.write(SSE_HEAD)
        self.active.add(self)

    def step(self) -> None:
        if self._sent == self.chunks:
            self.transport.write(framed(LAST % (self.chunks, self.chunks + 19)) + b"0\r\n\r\n")
            self.active.discard(self)
            return
        self._sent += 1
        self.transport.write(framed(CHUNK % time.perf_counter_ns()))


class Race(Connection):
    """Unary with a bill: what was sent is what is charged."""

    bill: ClassVar[list[int]] = [0, 0]  # calls, nano-USD

    def answer(self, url: bytes, body: bytes) -> None:
        if url == b"/bill":
            self.transport.write(_plain(b"%d %d" % (self.bill[0], self.bill[1])))
            self.bill[:] = [0, 0]
            return
        found = _NUMBER.search(body)
        number = int(found[1]) if found else 0
        self.bill[0] += 1
        self.bill[1] += race_nanousd(number)
        tokens = race_tokens(number)
        answer = _plain(_RACE_ANSWER % (number, RACE_PROMPT_TOKENS, tokens, RACE_PROMPT_TOKENS + tokens))
        asyncio.get_running_loop().call_later(_RACE_DELAY_S, self.transport.write, answer)


async def _tick(every_s: float) -> None:
    """Step every active stream once per `every_s`, spread over the time so that chunks do not come in bursts."""
    slots = 20
    while True:
        streams = list(Stream.active)
        size = len(streams) // slots + 1
        began = time.perf_counter()
        for slot in range(slots):
            for stream in streams[slot * size : (slot + 1) * size]:
                if stream in Stream.active:
                    stream.step()
            left = began + every_s * (slot + 1) / slots - time.perf_counter()
            if left > 0:
                await asyncio.sleep(left)


async def _serve(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    Stream.chunks = arguments.chunks
    for protocol, port in ((Unary, arguments.unary), (Stream, arguments.stream), (Race, arguments.race)):
        if port:
            await loop.create_server(protocol, "127.0.0.1", port, backlog=1024)
    print("ready", flush=True)
    await _tick(arguments.tick_ms / 1000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--unary", type=int, default=0)
    parser.add_argument("--stream", type=int, default=0)
    parser.add_argument("--race", type=int, default=0)
    parser.add_argument("--chunks", type=int, default=250)
    parser.add_argument("--tick-ms", type=float, default=20)
    uvloop.run(_serve(parser.parse_args()))
