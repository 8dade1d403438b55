"""Clients that speak HTTP/1.0."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.flow.test_cycle import Transport, connection_of, echo, fails_later

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
