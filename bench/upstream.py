"""A fake upstream, a program of its own: answers every POST at once, unary or as a stream of timed events.

`python -m bench.upstream PORT EVENTS EVENTS_PER_SECOND`
"""

from __future__ import annotations

import asyncio
import sys
import time

import httptools
import uvloop

_USAGE = (
    b'"usage":{"prompt_tokens":19,"completion_tokens":21,"total_tokens":40,"prompt_tokens_details":{"cached_tokens":0},'
    b'"completion_tokens_details":{"reasoning_tokens":5}}'
)
_HEAD = b'"created":1700000000,"model":"gpt-4o-mini"'
_ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion",' + _HEAD + b',"choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"Hello there, how can I help you today with your project? I can do many things."},"finish_reason":"stop"}],'
    + _USAGE
    + b"}"
)
_UNARY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(_ANSWER), _ANSWER)
_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CHUNK = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk",' + _HEAD
_END = _CHUNK + b',"choices":[],' + _USAGE + b"}\n\ndata: [DONE]\n\n"


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class _Caller(asyncio.Protocol):
    streaming: set[_Caller] = set()
    events = 250

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""
        self.sent = 0

    def connection_lost(self, error: Exception | None) -> None:
        self.streaming.discard(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        streams = b'"stream":true' in self.body
        self.body, self.sent = b"", 0
        if streams:
            self.transport.write(_STREAM)  # type: ignore[attr-defined]
            self.streaming.add(self)
        else:
            self.transport.write(_UNARY)  # type: ignore[attr-defined]

    def tick(self) -> None:
        self.sent += 1
        if self.sent > self.events:
            self.transport.write(_framed(_END) + b"0\r\n\r\n")  # type: ignore[attr-defined]
            self.streaming.discard(self)
            return
        delta = b',"choices":[{"index":0,"delta":{"content":"T%d;"},"logprobs":null,"finish_reason":null}]}\n\n'
        self.transport.write(_framed(_CHUNK + delta % time.perf_counter_ns()))  # type: ignore[attr-defined]


async def _tick_for_ever(every_s: float, slots: int = 20) -> None:
    """Spreads the streams over each period, so that events do not come in bursts."""
    while True:
        streams = list(_Caller.streaming)
        size = max(1, len(streams) // slots + 1)
        began = time.perf_counter()
        for slot in range(slots):
            for stream in streams[slot * size : (slot + 1) * size]:
                if stream in _Caller.streaming:
                    stream.tick()
            left = began + every_s * (slot + 1) / slots - time.perf_counter()
            await asyncio.sleep(max(0, left))


async def main(port: int, events: int, per_second: float) -> None:
    _Caller.events = events
    server = await asyncio.get_running_loop().create_server(_Caller, "127.0.0.1", port)
    ticking = asyncio.create_task(_tick_for_ever(1 / per_second))
    await server.serve_forever()
    ticking.cancel()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
