"""The load of the bench counts each call once, whatever becomes of its connection, and never waits for an answer that cannot come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bench import load

CALLS, CALLERS = 40, 8
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server(asyncio.Protocol):
    """Answers so many calls on a connection, and closes it."""

    def __init__(self, most: int) -> None:
        self._left = most
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        if not self._left:
            transport.close()

    def data_received(self, data: bytes) -> None:
        self._left -= 1
        self._transport.write(ANSWER)
        if not self._left:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


@pytest.fixture
async def dialled(monkeypatch: pytest.MonkeyPatch) -> list[load.Connection]:
    """The load's connections, which it leaves to the end of its process."""
    made: list[load.Connection] = []
    connect = load._connect

    async def noted(port: int, on_end: Callable[[load.Connection, int], None]) -> load.Connection:
        made.append(await connect(port, on_end))
        return made[-1]

    monkeypatch.setattr(load, "_connect", noted)
    return made


@asynccontextmanager
async def served(dialled: list[load.Connection], *answers: int) -> AsyncIterator[int]:
    """A port. answers: on the first connection, the second …; on all others as many as on the last."""
    servers: list[Server] = []

    def serve() -> Server:
        servers.append(Server(answers[min(len(servers), len(answers) - 1)]))
        return servers[-1]

    server = await asyncio.get_running_loop().create_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for connection in dialled:
            connection.transport.abort()
        for one in servers:
            await one.lost


class Closed:
    """A transport whose server has gone."""

    def is_closing(self) -> bool:
        return True


async def test_calls_that_are_refused_are_bad_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    here = iter(range(8))

    async def connect(_: int, on_end: Callable[[load.Connection, int], None]) -> load.Connection:
        if next(here, None) is None:
            raise ConnectionRefusedError
        connection = load.Connection(on_end)
        connection.transport = Closed()  # type: ignore[assignment]
        return connection

    monkeypatch.setattr(load, "_connect", connect)
    found = await load.opened(0, 400, 0.1, {})
    assert found["calls"] == found["bad"] > 0
    assert found["unanswered"] == 0


LOADS: list[Callable[[int], Coroutine[Any, Any, dict[str, Any]]]] = [
    lambda port: load.closed(port, CALLERS, 600, {}),
    lambda port: load.race(port, CALLERS, "k"),
    lambda port: load.stampede(port, CALLS, CALLERS, 0, "k"),
]


@pytest.mark.parametrize("answers", [0, 1])
@pytest.mark.parametrize("each", LOADS, ids=["closed", "race", "stampede"])
async def test_a_load_ends_with_its_connections(
    dialled: list[load.Connection], each: Callable[[int], Coroutine[Any, Any, dict[str, Any]]], answers: int
) -> None:
    async with served(dialled, answers) as port:
        found = await asyncio.wait_for(each(port), 30)
    if "statuses" in found:
        lost = 0 if answers and found["calls"] == CALLERS else CALLERS
        assert (found["statuses"].get("0", 0), found["statuses"].get("200", 0)) == (lost, answers * CALLERS)
    else:
        assert (found["calls"], found["bad"]) == ((answers + 1) * CALLERS, CALLERS)


async def test_callers_that_are_left_make_all_calls_of_a_stampede(dialled: list[load.Connection]) -> None:
    async with served(dialled, 1, CALLS) as port:
        found = await asyncio.wait_for(load.stampede(port, CALLS, CALLERS, 0, "k"), 30)
    assert found["statuses"] == {"0": 1, "200": CALLS - 1}
