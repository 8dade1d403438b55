"""What a client without a key can hold: heads without end, requests that never get complete, answers that nobody reads."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import Any

import orjson
import pytest

from tests.attack.doors import Door, calling, door, echo

GET = b"GET / HTTP/1.1\r\nhost: x\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\n"


def code(answer: bytes) -> str:
    return str(orjson.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"])


@pytest.mark.parametrize(
    "pieces",
    [
        [GET + b"a: b\r\n" * 20_000 + b"\r\n"],
        [GET + b"a: b\r\n" * 300 + b"\r\n"],
        [GET + b"a: " + b"b" * 70_000 + b"\r\n\r\n"],
        [GET + b"a: ", *[b"b" * 1000] * 100],
        [b"GET /", *[b"u" * 1000] * 100],
        [b"GET /" + b"u" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"],
        [GET, *[b"n" * 90 + b": v\r\n"] * 1000],
        # What comes in one read (at most 256 KiB) with the end of a head or of a body's piece is not counted: more than that comes.
        [POST + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nt: ", *[b"b" * 1000] * 400],
        [POST + b"transfer-encoding: chunked\r\n\r\n1;e=", *[b"b" * 1000] * 400],
        [b"\r\n" * 500] * 100,
    ],
    ids=["many", "too many", "one long", "one that grows", "url that grows", "url", "slow many", "trailer", "extension", "blank"],
)  # fmt: skip
async def test_a_head_without_end_is_refused(pieces: list[bytes]) -> None:
    async with door() as place, calling(place) as caller:
        for piece in pieces:
            await caller.send(piece)
        answer = await caller.rest()
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert code(answer) == "request_head_too_large"
        assert place.codes == ["request_head_too_large"]


async def test_a_large_body_is_no_head() -> None:
    async with door() as place, calling(place) as caller:
        body = b"x" * 300_000
        await caller.send(POST + b"content-length: 300000\r\n\r\n" + body)
        assert (await caller.answer()).endswith(b"\r\n\r\n300000")
        await caller.send(POST + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")
        assert (await caller.answer()).endswith(b"\r\n\r\n50000")
        await caller.send(GET + b"a: " + b"b" * 60_000 + b"\r\n\r\n")
        assert (await caller.answer()).endswith(b"\r\n\r\n0")
        assert place.codes == []


@pytest.mark.parametrize("stated", [True, False])
async def test_a_body_beyond_the_planes_limit_is_refused(stated: bool) -> None:
    async with door(max_body_bytes=1000) as place, calling(place) as caller:
        framing = b"content-length: 5000\r\n\r\n" if stated else b"transfer-encoding: chunked\r\n\r\n1388\r\n"
        await caller.send(POST + framing + b"x" * 4000)
        answer = await caller.rest()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert code(answer) == "request_too_large"


@pytest.mark.parametrize(
    "wish", [b"expect: 100-continue", b"Expect: 100-Continue", b"expect: x\r\nexpect: 100-continue"]
)
async def test_who_waits_to_be_told_is_told_to_go_on(wish: bytes) -> None:
    async with door() as place, calling(place) as caller:
        await caller.send(POST + wish + b"\r\ncontent-length: 2\r\n\r\n")
        async with asyncio.timeout(10):
            assert await caller.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await caller.send(b"xx")
        assert (await caller.answer()).endswith(b"\r\n\r\n2")


async def test_pipelined_requests_are_bounded() -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async with door(never) as place, calling(place) as caller:
        sending = asyncio.create_task(caller.send((GET + b"\r\n") * 1_000_000))
        await place.until(lambda: bool(place.connections) and len(place.connections[0].later) > 0)
        for _ in range(100):
            await asyncio.sleep(0)
        (connection,) = place.connections
        assert 32 < len(connection.pipeline) <= 65
        assert connection.flow.read_paused
        assert len(connection.later) <= 600_000
        place.later(3600)
        assert (place.connections, place.codes) == ([connection], [])
        connection.drop()
        await sending


async def test_as_many_as_may_wait_are_answered_in_their_order() -> None:
    async def named(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["raw_path"]})

    names = [b"/%d" % number for number in range(33)]
    async with door(named) as place, calling(place) as caller:
        await caller.send(b"".join(b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % name for name in names))
        async with asyncio.timeout(10):
            for name in names:
                answer = await caller.reader.readuntil(b"\r\n0\r\n\r\n")
                assert answer.endswith(b"\r\n%s\r\n0\r\n\r\n" % name)
        assert place.codes == []


async def test_more_than_may_wait_are_read_later_and_answered_in_their_order() -> None:
    async def named(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-length", b"%d" % len(scope["raw_path"]))],
            }
        )
        await send({"type": "http.response.body", "body": scope["raw_path"]})

    names = [b"/%d" % number for number in range(5000)]
    async with door(named) as place, calling(place) as caller:
        sending = asyncio.create_task(
            caller.send(b"".join(b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % name for name in names))
        )
        async with asyncio.timeout(30):
            for name in names:
                answer = await caller.reader.readuntil(b"\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert await caller.reader.readexactly(len(name)) == name
        await sending
        assert place.codes == []


# Time. Each starts something and never ends it; some minutes later nothing of it may be left.

ANSWERED = GET + b"\r\n"


async def held(place: Door, caller: Any, start: bytes, then: bytes) -> None:
    await caller.send(start)
    if start.startswith(ANSWERED):
        await caller.answer()
        await place.until(lambda: place.connections[0].cycle.response_complete)
    if then:
        seen = place.connections[0].unframed_bytes, place.connections[0].body_bytes
        await caller.send(then)
        await place.until(lambda: (place.connections[0].unframed_bytes, place.connections[0].body_bytes) != seen)


@pytest.mark.parametrize(
    ("start", "then", "status"),
    [
        (b"", b"\r\n", b""),
        (b"", b"GET / HT", b"408"),
        (b"", GET + b"x-slow: ", b"408"),
        (b"", POST + b"content-length: 9\r\n\r\n1234", b"408"),
        (b"", POST + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n", b"408"),
        (ANSWERED, b"\r\n", b""),
        (ANSWERED, b"\r\n\r\n\r\n", b""),
        (ANSWERED, b"GET / HT", b"408"),
        (ANSWERED, b"", b""),
    ],
)
async def test_what_does_not_get_complete_is_let_go(start: bytes, then: bytes, status: bytes) -> None:
    async with door() as place, calling(place) as caller:
        await held(place, caller, start, then)
        place.later(5)
        assert not place.connections[0].transport.is_closing()
        place.later(100)
        answer = await caller.rest()
        assert answer[9:12] == status
        if status:
            assert code(answer) == "request_timeout"
        await place.until(lambda: not place.connections)


async def test_one_byte_now_and_then_buys_no_time() -> None:
    async with door(body_timeout_s=30, min_body_rate=100) as place, calling(place) as caller:
        await caller.send(POST + b"content-length: 9999\r\n\r\n")
        for second in range(0, 28, 2):
            seen = place.connections[0].body_bytes if place.connections else 0
            await caller.send(b"x")
            await place.until(lambda seen=seen: place.connections and place.connections[0].body_bytes > seen)  # type: ignore[misc]
            place.later(second)
        assert place.codes == []
        place.later(31)
        assert (await caller.rest()).startswith(b"HTTP/1.1 408 ")


async def test_a_body_at_a_fair_pace_may_take_its_time() -> None:
    async with door(body_timeout_s=30, min_body_rate=100) as place, calling(place) as caller:
        await caller.send(POST + b"content-length: 10000\r\n\r\n" + b"x" * 9000)
        await place.until(lambda: bool(place.connections) and place.connections[0].body_bytes == 9000)
        place.later(100)
        await caller.send(b"x" * 1000)
        assert (await caller.answer()).endswith(b"10000")


async def test_a_long_answer_is_not_cut_by_a_blank_line_behind_the_request() -> None:
    begin = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await begin.wait()
        await echo(scope, receive, send)

    async with door(slow) as place, calling(place) as caller:
        await caller.send(ANSWERED + b"\r\n")
        await place.until(lambda: bool(place.connections) and place.connections[0].cycle is not None)
        place.later(10_000)
        begin.set()
        assert (await caller.answer()).startswith(b"HTTP/1.1 200")


async def test_an_upgrade_that_is_not_offered_is_answered_and_closed() -> None:
    async with door() as place, calling(place) as caller:
        await caller.send(GET + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n" + b"\x81\x05hello" * 10)
        answer = await caller.rest()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer
        await place.until(lambda: not place.connections)


H2C = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAA\r\n"


@pytest.mark.parametrize(
    "framing", [b"content-length: 5\r\n\r\nhello", b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("cuts", [(), (40, 130), (158,)])
async def test_a_body_is_read_whatever_protocol_its_client_would_rather_speak(
    framing: bytes, cuts: tuple[int, ...]
) -> None:
    """As Java's own client does with every call over plain HTTP; what comes behind is never taken for a request."""
    asked = POST + H2C + framing
    async with door() as place, calling(place) as caller:
        for begin, end in zip((0, *cuts), (*cuts, None), strict=True):
            await caller.send(asked[begin:end] + (b"" if end else asked + GET + b"\r\n"))
        answer = await caller.rest()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"\r\n\r\n5")
        assert b"connection: close" in answer
        assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_client_that_does_not_read_is_as_good_as_gone() -> None:
    gone = asyncio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["taximeter.connection"].on_gone = gone.set
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.is_set():
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})

    async with door(endless) as place, calling(place) as caller:
        await caller.send(ANSWERED)
        await place.until(lambda: bool(place.connections) and place.connections[0].flow.write_paused)
        place.later(20)
        assert not gone.is_set()
        place.later(60)
        await asyncio.wait_for(gone.wait(), 10)


async def test_a_closed_connection_does_not_wait_for_its_reader() -> None:
    async def large(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"x" * 8_000_000})

    async with door(large) as place, calling(place) as caller:
        await caller.send(ANSWERED)
        await place.until(lambda: bool(place.connections) and place.connections[0].transport.is_closing())
        place.later(0)
        place.later(60)
        await place.until(lambda: not place.connections)
        assert len(await caller.rest()) < 8_000_000


async def test_log_lines_that_anybody_can_make_come_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with door() as place:
        for number in range(60):
            async with calling(place) as caller:
                upgrade = GET + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n" + b"junk"
                await caller.send(b"\x16\x03\x01 no http\r\n\r\n" if number % 2 else upgrade)
                assert (await caller.rest())[9:12] == (b"400" if number % 2 else b"200")
    ours = [record for record in caplog.records if record.name == "taximeter.connections"]
    assert len(ours) <= 2
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_whoever_leaves_with_requests_waiting_has_left_them_all() -> None:
    """Also the one whose turn it is: what was sent for it then goes nowhere, and is no fault of the application."""
    told: list[str] = []

    async def streams(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        told.append((await receive())["type"])
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b"x"})
        told.append("sent")

    async with door(streams) as place:
        async with calling(place) as caller:
            await caller.send(ANSWERED * 3)
            await place.until(lambda: bool(place.connections) and len(place.connections[0].pipeline) == 3)
        await place.until(lambda: not place.server.state.tasks)
        assert told == ["http.disconnect", "sent"]


async def test_connections_that_ended_leave_nothing_behind() -> None:
    """However they ended, and without a collector of circles."""
    ended: list[weakref.ref[Any]] = []

    async def never(scope: Any, receive: Any, send: Any) -> None:
        ended.append(weakref.ref(scope["extensions"]["taximeter.connection"]))
        await (receive() if scope["path"] == "/" else echo(scope, receive, send))
        while scope["path"] == "/" and (await receive())["type"] != "http.disconnect":
            pass

    async with door(never) as place:
        gc.collect()
        gc.disable()
        try:
            for asked in (
                ANSWERED,
                ANSWERED * 3,
                GET.replace(b"/ ", b"/x ") + b"\r\n",
                POST + b"content-length: 9\r\n\r\n1",
            ):
                async with calling(place) as caller:
                    seen = len(ended)
                    await caller.send(asked)
                    await place.until(lambda seen=seen: len(ended) > seen)  # type: ignore[misc]
                await place.until(lambda: not place.connections and not place.server.state.tasks)
            async with calling(place) as caller:
                await caller.send(GET.replace(b"/ ", b"/x ") + b"\r\n" + b"no http at all\r\n\r\n")
                await caller.rest()
            await place.until(lambda: not place.connections)
            await asyncio.sleep(0)
            assert [one() for one in ended] == [None] * 5
        finally:
            gc.enable()


@pytest.mark.parametrize("then", ["late", "no chunk"])
async def test_a_request_that_was_answered_before_its_end_has_no_second_answer(then: str) -> None:
    async def at_once(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async with door(at_once) as place, calling(place) as caller:
        await caller.send(POST + b"expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n")
        assert (await caller.answer()).startswith(b"HTTP/1.1 401 ")
        if then == "late":
            place.later(100)
        else:
            await caller.send(b"zz\r\n")
        assert await caller.rest() == b""
        assert place.codes == []  # it was refused once


@pytest.mark.parametrize("end", ["whole", "late"])
async def test_who_is_answered_while_it_sends_is_not_cut_off(end: str) -> None:
    """Many clients take that for the end of a network, and never read why they were refused."""
    served: list[str] = []

    async def at_once(scope: Any, receive: Any, send: Any) -> None:
        served.append(scope["method"])
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async with door(at_once) as place, calling(place) as caller:
        await caller.send(POST + b"connection: close\r\ncontent-length: 9\r\n\r\n1234")
        assert b"connection: close" in await caller.answer()
        (connection,) = place.connections
        assert not connection.transport.is_closing()
        await place.until(lambda: not connection.tasks)
        if end == "whole":
            await caller.send(b"56789" + ANSWERED)
        else:
            place.later(100)
        assert await caller.rest() == b""
        await place.until(lambda: not place.connections)
        assert served == ["POST"]


async def test_what_comes_behind_a_wish_for_a_websocket_is_never_read_as_http() -> None:
    """In how many pieces ever, until it is answered."""
    begin, seen = asyncio.Event(), []

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await begin.wait()
        seen.append(scope["extensions"]["taximeter.connection"].early)
        await echo(scope, receive, send)

    async with door(waits) as place, calling(place) as caller:
        await caller.send(GET + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n\x81")
        await place.until(lambda: bool(place.connections) and place.connections[0].upgrades)
        for piece in (b"\x05hello", ANSWERED):
            had = len(place.connections[0].early)
            await caller.send(piece)
            await place.until(lambda had=had: len(place.connections[0].early) > had)  # type: ignore[misc]
        begin.set()
        answer = await caller.rest()
        assert (answer[:12], answer.count(b"HTTP/1.1")) == (b"HTTP/1.1 200", 1)
        assert seen == [b"\x81\x05hello" + ANSWERED]
        assert place.codes == []


async def test_bytes_without_end_behind_a_wish_for_a_websocket_are_refused() -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with door(never) as place, calling(place) as caller:
        await caller.send(GET + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n")
        for _ in range(100):
            await caller.send(b"\x82" * 1000)
        assert code(await caller.rest()) == "request_head_too_large"
