"""Connections that were kept while the machine slept lead nowhere: a call is sent on a new one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from proxy.upstream.connect import origin_of
from proxy.upstream.pool import UpstreamClient, encode_head

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HEAD = encode_head(b"GET", b"/", b"host: x\r\n", {}, 0)


class Calls:
    """A provider, and calls to it."""

    def __init__(self) -> None:
        self.reached: list[asyncio.StreamWriter] = []
        self.client = UpstreamClient()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached.append(writer)
        while await reader.read(65536):
            await self.may_answer.wait()
            writer.write(ANSWER)

    async def call(self) -> int:
        """How many connections there were by then."""
        response = await self.client.send("up", HEAD, b"")
        assert await response.read() == b"ok"
        return len(self.reached)


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    made = Calls()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.client.add("up", origin_of(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", {}))
    yield made
    made.client.close()
    for writer in made.reached:
        writer.close()
        await writer.wait_closed()
    listening.close()


async def test_no_connection_of_before_is_called_on_after_a_sleep(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor within the second in which nobody has looked at the clock yet. It was reset: a 502, charged at the call's ceiling."""
    slept_s, wall = 0.0, time.time
    monkeypatch.setattr(time, "time", lambda: wall() + slept_s)
    assert [await calls.call(), await calls.call()] == [1, 1]
    slept_s = 28_800.0
    assert [await calls.call(), await calls.call()] == [2, 2]


async def test_a_connection_whose_call_went_on_behind_a_sleep_is_used_again(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What answers is there; and no call in progress is broken off where only the clock was set ahead."""
    slept_s, wall = 0.0, time.time
    monkeypatch.setattr(time, "time", lambda: wall() + slept_s)
    calls.may_answer.clear()
    calling = asyncio.create_task(calls.call())
    while not calls.reached:
        await asyncio.sleep(0)
    slept_s = 600.0
    calls.may_answer.set()
    assert await calling == 1
    slept_s += 1.0
    assert await calls.call() == 1
