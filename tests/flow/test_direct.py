"""What is written past uvicorn is what uvicorn writes, byte for byte, in one piece."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from proxy.downstream import direct
from proxy.downstream.connection import Connection
from proxy.errors import bad_http
from proxy.upstream.outbox import OUTBOX, Outbox
from tests.flow.house import HARD, Build

HEADERS = [(b"content-type", b"application/json"), (b"x-request-id", b"abc"), (b"content-length", b"2")]


class Transport:
    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closing = False
        self.on_write: Callable[[], object] = lambda: None

    def write(self, data: bytes) -> None:
        self.on_write()
        self.writes.append(data)

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


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


def waiting(*names: str) -> tuple[Outbox, dict[str, Transport]]:
    box, transports = Outbox(), {name: Transport() for name in names}
    for number, name in enumerate(names):
        box.write(cast(asyncio.Transport, transports[name]), b"%d" % number)
    return box, transports


async def test_writes_of_a_turn_are_made_at_its_end_in_their_order() -> None:
    box, transports = waiting("a", "b")
    box.write(cast(asyncio.Transport, transports["a"]), b"2")
    assert [one.writes for one in transports.values()] == [[], []]
    await asyncio.sleep(0)
    assert [one.writes for one in transports.values()] == [[b"0", b"2"], [b"1"]]


async def test_what_waits_is_written_at_once_when_asked_and_only_once() -> None:
    box, transports = waiting("a")
    box.flush()
    assert transports["a"].writes == [b"0"]
    await asyncio.sleep(0)
    assert transports["a"].writes == [b"0"]


async def test_what_comes_first_does_not_wait_for_any_number_of_others() -> None:
    _, transports = waiting(*map(str, range(40)))
    assert sum(bool(one.writes) for one in transports.values()) == 32
    await asyncio.sleep(0)
    assert all(one.writes for one in transports.values())


async def test_what_has_to_come_first_does_once_for_each_that_asks() -> None:
    box, transports = waiting("a")
    acts: list[tuple[str, int]] = []

    def act(name: str) -> None:
        acts.append((name, len(transports["a"].writes)))

    one, other = partial(act, "one"), partial(act, "other")
    for wished in (one, other, one):
        box.first(wished)
    await asyncio.sleep(0)
    assert (acts, transports["a"].writes) == ([("one", 0), ("other", 0)], [b"0"])
    box.first(one)  # with nothing to write
    await asyncio.sleep(0)
    assert acts[2:] == [("one", 1)]


async def test_a_connection_that_closed_meanwhile_takes_nothing_from_the_others() -> None:
    box, transports = waiting("a", "b")
    transports["a"].closing = True
    box.flush()
    assert [one.writes for one in transports.values()] == [[], [b"1"]]


async def test_a_connection_that_cannot_be_written_to_is_broken_off_and_the_others_have_theirs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    box, transports = waiting("a", "b")

    def fails() -> None:
        raise RuntimeError("no more writing")

    transports["a"].on_write = fails
    box.flush()
    assert (transports["a"].closing, transports["b"].writes) == (True, [b"1"])
    assert "could not be written to" in caplog.text


def test_another_loop_begins_with_nothing_of_the_one_before() -> None:
    box, left = Outbox(), Transport()

    async def write(transport: Transport) -> None:
        box.write(cast(asyncio.Transport, transport), b"x")

    loop = asyncio.new_event_loop()
    loop.run_until_complete(write(left))
    loop.close()
    other = Transport()
    asyncio.run(write(other))
    assert (left.writes[1:], other.writes) == ([], [b"x"])


class Ending(Transport):
    """A transport that notes in which order it is written to and closed."""

    def get_extra_info(self, _: str) -> None: ...
    def pause_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.writes.append(b"closed")

    def abort(self) -> None:
        self.close()


ENDS: dict[str, Callable[[Connection], object]] = {
    "the server stops": Connection.shutdown,
    "the client says no more": Connection.eof_received,
    "the next answer is broken off": Connection.drop,
    "the next request is none": lambda connection: connection.refuse(bad_http().refusal),
    "it was idle for too long": Connection.timeout_keep_alive_handler,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_an_answer_that_waits_is_written_before_its_connection_ends(end: Callable[[Connection], object]) -> None:
    transport = Ending()
    config = uvicorn.Config(cast(Any, print), ws="none", log_config=None)
    config.load()
    connection = Connection(config, ServerState(), {}, asyncio.get_running_loop())
    connection.connection_made(cast(asyncio.Transport, transport))
    OUTBOX.write(cast(asyncio.Transport, transport), b"answer")

    end(connection)

    assert transport.writes[0] == b"answer"


async def test_the_record_of_a_call_is_on_disk_before_its_client_has_anything(build: Build) -> None:
    house = build(**HARD)
    on_disk: list[list[str]] = []
    house.watch = lambda _: on_disk.append(house.kinds())
    await house.ask()
    assert on_disk == [["intent", "settle"]] * 2


async def test_records_of_one_turn_are_on_disk_before_any_of_its_calls_is_answered(build: Build) -> None:
    house, transport = build(**HARD), Transport()
    on_disk: list[int] = []
    transport.on_write = lambda: on_disk.append(house.kinds().count("settle"))
    await asyncio.gather(*[house.ask(cycle=cycle_of(transport)) for _ in range(3)])
    await asyncio.sleep(0)
    assert on_disk == [3, 3, 3]
