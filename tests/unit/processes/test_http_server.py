"""Who listens: what a stop does to idle connections, calls in flight, and calls that take too long."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.cohort import COHORT
from proxy.downstream import timeouts
from proxy.downstream.connection import connecting
from proxy.downstream.cycle import Cycle
from proxy.downstream.server_state import Serving
from proxy.downstream.timeouts import Limits
from proxy.processes.http_server import Server

ASK = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
App = Callable[[Any, Any, Any], Awaitable[None]]


class Slow:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()
        self.cancelled = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def served(app: App, *, drain_s: float = 10, date: bool = False) -> AsyncIterator[tuple[Server, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = Server(connecting(Limits()), app=app, drain_s=drain_s, date_header=date)
    serving = asyncio.create_task(server.serve([listener]))
    async with asyncio.timeout(10):
        yield server, port
        await serving


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_a_stop_lets_a_call_in_flight_end_and_answers_whoever_asks_meanwhile() -> None:
    app = Slow()
    async with served(app) as (server, port), connected(port) as (idle, _), connected(port) as (reader, writer):
        writer.write(ASK)
        await app.asked.wait()
        server.stop()
        assert await idle.read() == b""
        async with connected(port) as (late, late_writer):
            app.asked.clear()
            late_writer.write(ASK)
            await app.asked.wait()
            app.go_on.set()
            answers = [await each.read() for each in (reader, late)]  # and then the connections end
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"ok")
    assert not server.state.connections
    assert not server.state.tasks
    assert not app.cancelled
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_stop_breaks_no_connection_off_that_nobody_had_accepted_yet() -> None:
    """Its socket was closed with whoever waited at it: they saw their connection reset."""
    app = Slow()
    app.go_on.set()
    async with served(app) as (server, port):
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]  # the loop does not run meanwhile
        for client in clients:
            client.sendall(ASK)
        server.stop()
        answers = [await asyncio.to_thread(client.recv, 1000) for client in clients]
    for client in clients:
        client.close()
    assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 200 OK"}


async def test_a_request_that_crosses_the_stop_on_its_way_is_answered() -> None:
    app = Slow()
    app.go_on.set()
    async with served(app) as (server, port), connected(port) as (reader, writer):
        writer.write(ASK)
        await reader.readuntil(b"ok")
        server.stop()
        await asyncio.sleep(0)
        writer.write(ASK)
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_client_that_never_stops_asking_does_not_hold_a_stop_up() -> None:
    async def ask_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(ASK)
            await reader.readuntil(b"ok")

    app = Slow()
    app.go_on.set()
    async with served(app, drain_s=math.inf) as (server, port), connected(port) as (reader, writer):
        server.stop()
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await ask_on(reader, writer)


PART = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nab"


class Reading:
    """Answers when it has the whole request."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.set()
        while (message := await receive())["type"] == "http.request":
            if not message.get("more_body"):
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
                await send({"type": "http.response.body"})
                return
        self.left = True


async def test_a_request_whose_rest_does_not_come_holds_no_stop_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was waited for until its own time was over, or the drain's."""
    monkeypatch.setattr(timeouts, "_STILL_S", 0.1)
    app = Reading()
    async with served(app, drain_s=math.inf) as (server, port), connected(port) as (reader, writer):
        writer.write(PART)
        await app.asked.wait()
        server.stop()
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"not_ready"' in answer
    assert app.left


async def test_a_request_that_still_comes_is_served_behind_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "_STILL_S", math.inf)
    app = Reading()
    async with served(app) as (server, port), connected(port) as (reader, writer):
        writer.write(PART)
        await app.asked.wait()
        server.stop()
        for rest in (b"cd", b"ef"):
            await asyncio.sleep(0)
            writer.write(rest)
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not app.left


async def test_a_part_of_a_request_behind_a_call_takes_nothing_from_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "_STILL_S", 0)
    app = Slow()
    async with served(app) as (server, port), connected(port) as (reader, writer):
        writer.write(ASK + PART)
        await app.asked.wait()
        server.stop()
        asyncio.get_running_loop().call_later(0.5, app.go_on.set)  # behind some looks
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_call_that_is_not_over_in_time_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """Its client was told of a fault of ours, and so was the log, once a call."""
    app = Slow()
    async with served(app, drain_s=0.05) as (server, port), connected(port) as (reader, writer):
        writer.write(ASK)
        await app.asked.wait()
        server.stop()
        answer = await reader.read()
    assert app.cancelled
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"not_ready"' in answer
    assert [record.getMessage() for record in caplog.records] == [
        "calls that were not over 0.05 s after the stop are cancelled: 1"
    ]


async def test_a_call_that_is_cancelled_writes_its_end_down_before_the_server_has_ended() -> None:
    asked, written = asyncio.Event(), list[str]()

    async def serve(cycle: Cycle) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(written.append, "cut")  # as a store that is asked takes its time
            cycle.over()

    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(connecting(Limits(), serve=serve), drain_s=0)
    serving = asyncio.create_task(server.serve([listener]))
    async with asyncio.timeout(10), connected(listener.getsockname()[1]) as (_, writer):
        writer.write(ASK)
        await asked.wait()
        server.stop()
        await serving
        assert written == ["cut"]


@pytest.mark.parametrize("begin", [COHORT.begin, asyncio.create_task])
async def test_a_call_that_is_cancelled_before_it_has_begun_keeps_no_server_waiting(
    begin: Callable[[Coroutine[Any, Any, None]], Serving],
) -> None:
    begun = list[str]()

    async def call() -> None:
        begun.append("call")

    server = Server(connecting(Limits(), serve=None), drain_s=0)
    late = begin(call())  # which takes itself off `tasks` at its end only
    late.cancel()
    server.state.tasks.add(late)
    server.stop()
    async with asyncio.timeout(10):
        await server.serve([])
    assert begun == []


async def test_nothing_is_said_of_connections_that_had_no_call(caplog: pytest.LogCaptureFixture) -> None:
    async with served(Slow(), drain_s=0) as (server, port), connected(port) as (reader, _):
        while not server.state.connections:
            await asyncio.sleep(0)
        server.stop()
        assert await reader.read() == b""
    assert [record.getMessage() for record in caplog.records] == []


async def test_a_stop_that_came_first_ends_it_at_once() -> None:
    async with served(Slow()) as (server, _):
        server.stop()
    assert server.stopping
    assert not server.state.connections


async def test_an_answer_says_when_it_was_given() -> None:
    app = Slow()
    app.go_on.set()
    async with served(app, date=True) as (server, port), connected(port) as (reader, writer):
        writer.write(ASK)
        head = await reader.readuntil(b"\r\n\r\n")
        server.stop()
    lines = [line for line in head.split(b"\r\n") if line.startswith(b"date: ")]
    assert len(lines) == 1
    assert lines[0].endswith(b" GMT")
    assert len(lines[0]) == len("date: Sun, 06 Nov 1994 08:49:37 GMT")
