"""Clients that speak HTTP/1.0."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvloop

from proxy.downstream.connection import Connection, check_times
from proxy.downstream.server_state import ServerState
from tests.flow.test_cycle import App, Transport, connection_of, echo, fails_later

STAY = b"Connection: keep-alive\r\n"


async def told(transport: Transport, connection: Any, request: bytes) -> bytes:
    transport.writes.clear()
    connection.data_received(request)
    for _ in range(12):
        await asyncio.sleep(0)
    return b"".join(transport.writes)


async def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    """Nor is it told to go on, nor taken to have had a whole answer where that broke off (RFC 9112, 6.1; RFC 9110, 10.1.1)."""
    rows = (
        (b"GET / HTTP/1.0\r\n\r\n", b"connection: close", True),
        (b"GET / HTTP/1.0\r\n" + STAY + b"\r\n", b"connection: close", True),
        (b"GET /pieces HTTP/1.0\r\n" + STAY + b"\r\n", b"connection: close", True),
        (b"GET /sized HTTP/1.0\r\n\r\n", b"connection: close", True),
        (b"GET /sized HTTP/1.0\r\n" + STAY + b"\r\n", b"connection: keep-alive", False),
        (b"GET /sizedclose HTTP/1.0\r\n" + STAY + b"\r\n", b"connection: x, Close", True),
        (b"HEAD / HTTP/1.0\r\n" + STAY + b"\r\n", b"connection: keep-alive", False),
        (b"GET /204 HTTP/1.0\r\n" + STAY + b"\r\n", b"connection: keep-alive", False),
        (b"POST /sized HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nxx", b"connection: close", True),
        (
            b"POST /sized HTTP/1.0\r\ntransfer-encoding: chunked\r\n" + STAY + b"\r\n0\r\n\r\n",
            b"connection: close",
            True,
        ),
    )
    for request, line, ends in rows:
        transport = Transport()
        connection = connection_of(transport, app=echo)
        answer = await told(transport, connection, request)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 2"), request
        assert b"transfer-encoding" not in head.lower(), request
        assert head.lower().count(b"connection:") == 1, request
        assert line in head, request
        assert transport.closing == ends, request
        assert bool(body) == (not request.startswith(b"HEAD") and b"204" not in request), request
        if not ends:
            assert (await told(transport, connection, request)).startswith(b"HTTP/1.1 2"), request


async def test_an_answer_to_http_1_0_that_breaks_off_is_no_whole_one() -> None:
    aborted: list[bool] = []

    class Breaking(Transport):
        def abort(self) -> None:
            aborted.append(True)
            super().abort()

    transport = Breaking()
    assert b"\r\n\r\nx" in await told(transport, connection_of(transport, app=fails_later), b"GET / HTTP/1.0\r\n\r\n")
    assert aborted == [True]


async def is_dropped(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x", "more_body": True})
    for _ in range(2):
        scope["extensions"]["taximeter.connection"].drop()


async def writes_all(scope: Any, receive: Any, send: Any) -> None:
    """More than a client that does not read can be sent."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x" * 20_000_000})


def test_an_answer_that_ends_with_its_connection_ends_in_an_error_where_it_is_not_whole() -> None:
    """On uvloop, as it runs: `abort` alone is a FIN, by which nginx, as it asks by default, ends its own answer as whole."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_read_to_the_end())


async def _read_to_the_end() -> None:
    whole = await _end_of(echo, b"GET / HTTP/1.0\r\n\r\n")
    assert whole == "its end"
    assert await _end_of(fails_later, b"GET / HTTP/1.0\r\n\r\n") == "an error"
    assert await _end_of(is_dropped, b"GET / HTTP/1.0\r\n" + STAY + b"\r\n") == "an error"
    for reads_at_last in (False, True):
        ended = await _end_of(writes_all, b"GET / HTTP/1.0\r\n\r\n", slowly=True, cut=not reads_at_last)
        assert ended == ("its end" if reads_at_last else "an error")


async def _end_of(app: App, request: bytes, *, slowly: bool = False, cut: bool = False) -> str:
    """What a client sees behind an answer. slowly: it reads late; cut: too late."""
    loop = asyncio.get_running_loop()
    made: list[Connection] = []

    def factory() -> Connection:
        made.append(Connection(app, ServerState(), loop))
        return made[-1]

    server = await loop.create_server(factory, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as caller:
        caller.setblocking(False)
        try:
            async with asyncio.timeout(20):
                await loop.sock_sendall(caller, request)
                while slowly and not (made and made[0].stalled_since):
                    await asyncio.sleep(0)
                if cut:
                    for later in (0, 31, 62):
                        check_times(made, loop.time() + later)
                while await loop.sock_recv(caller, 1_000_000):
                    pass
        except ConnectionResetError:
            return "an error"
        finally:
            server.close()
    return "its end"
