"""What is written past uvicorn is what uvicorn writes, byte for byte, in one piece."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from proxy.downstream import direct

HEADERS = [(b"content-type", b"application/json"), (b"x-request-id", b"abc"), (b"content-length", b"2")]


class Transport:
    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def resume_reading(self) -> None: ...


def cycle_of(transport: Transport, *, method: str = "POST", keep_alive: bool = True) -> RequestResponseCycle:
    wire = cast(asyncio.Transport, transport)
    return RequestResponseCycle(
        scope=cast(Any, {"method": method}),
        transport=wire,
        flow=FlowControl(wire),
        logger=logging.getLogger(),
        access_logger=logging.getLogger(),
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: None,
    )


async def test_a_whole_response_is_uvicorns_in_one_write() -> None:
    plain, at_once = Transport(), Transport()
    asgi = cycle_of(plain)
    await asgi.send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await asgi.send({"type": "http.response.body", "body": b"{}", "more_body": False})
    cycle = cycle_of(at_once)
    assert direct.respond(cycle, 200, HEADERS, b"{}")
    await asyncio.sleep(0)
    assert at_once.writes == [b"".join(plain.writes)]
    assert cycle.response_complete


async def test_a_piece_of_a_stream_is_uvicorns() -> None:
    plain, at_once = Transport(), Transport()
    for transport in (plain, at_once):
        cycle = cycle_of(transport)
        await cycle.send({"type": "http.response.start", "status": 200, "headers": HEADERS[:1]})
        if transport is plain:
            await cycle.send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        else:
            assert direct.write(cycle, b"data: 1\n\n")
    assert at_once.writes == plain.writes


@pytest.mark.parametrize("headers", [[(b"a", b"b\r\nc: d")], [(b"a", b"b\nc: d")], [(b"a\r\nb", b"c")]])
async def test_a_header_that_would_become_two_is_left_to_uvicorn_to_refuse(headers: list[tuple[bytes, bytes]]) -> None:
    transport = Transport()
    assert not direct.respond(cycle_of(transport), 200, headers, b"")
    await asyncio.sleep(0)
    assert transport.writes == []


async def test_what_uvicorn_does_differently_is_left_to_it() -> None:
    paused = cycle_of(Transport())
    paused.flow.pause_writing()
    gone = cycle_of(Transport())
    gone.disconnected = True
    for cycle in (cycle_of(Transport(), method="HEAD"), cycle_of(Transport(), keep_alive=False), paused, gone):
        assert not direct.respond(cycle, 200, HEADERS, b"{}")
        assert not direct.write(cycle, b"x")
