"""Answers of every size, in turn, over one connection to the upstream, on every path that an answer takes back.

An answer that fills the buffer pauses the reading. Whoever comes next on that connection must not wait for it. On uvloop, as
the data plane runs: only there may several pieces of an answer come before its reader has a turn.
"""

from __future__ import annotations

import asyncio

import orjson
import pytest
import uvloop

from tests.flow.house import USAGE, Build, House, Line

SIZES = (0, 100_000, 1, 300_000, 270_000, 2, 600_000, 3, 1_000_000, 4, 4_000_000, 5, 9_000_000, 6)


class Server:
    """Answers with as many bytes of text as the request's last message names, whole or as a stream."""

    def __init__(self) -> None:
        self.connections = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = orjson.loads(await reader.readexactly(length))
                text = "x" * int(body["messages"][-1]["content"])
                writer.write(_stream(text) if body.get("stream") else _whole(text))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _whole(text: str) -> bytes:
    body = orjson.dumps({"model": "m", "choices": [{"message": {"content": text}}], "usage": USAGE})
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def _stream(text: str) -> bytes:
    events = [{"model": "m", "choices": [{"delta": {"content": text}}]}, {"model": "m", "choices": [], "usage": USAGE}]
    data = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + chunked


def _house(build: Build, base_url: str) -> House:
    row = {"base_url": base_url, "provider": "acme", "max_connections": 1, "first_byte_timeout_s": 5}
    house = build(upstreams={"up": row})
    house.upstreams.sending = None
    return house


@pytest.mark.long
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("leaves", [False, True])
def test_large_and_small_answers_alternate_on_one_connection(build: Build, *, streamed: bool, leaves: bool) -> None:
    """leaves: the client hangs up at the first byte of each larger answer, which is then read for nobody."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_alternate(build, streamed=streamed, leaves=leaves))


async def _alternate(build: Build, *, streamed: bool, leaves: bool) -> None:
    server = Server()
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, limit=2**20)
    house = _house(build, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1")
    try:
        async with asyncio.timeout(60):
            for size in SIZES:
                await _ask(house, size, streamed=streamed, leaves=leaves and size > 10)
        assert house.kinds() == ["intent", "settle"] * len(SIZES)
        assert {record["cost_nanousd"] for record in house.records() if record["t"] == "settle"} == {40_000}
        assert server.connections == 1
    finally:
        house.plane.configured.upstreams.close()
        listening.close()
        await asyncio.sleep(0)


async def _ask(house: House, size: int, *, streamed: bool, leaves: bool) -> None:
    line = Line()
    house.watch = (lambda message: line.hang_up()) if leaves else (lambda message: None)
    messages = [{"role": "user", "content": str(size)}]
    told = await house.ask(messages=messages, stream=streamed, line=line, max_tokens=4000)
    assert told.status == 200, size
    assert leaves or len(told.body) > size
