"""Requests and answers on a connection: the bytes that uvicorn's own protocol would write, in one piece where that can be."""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState as ReferenceState

from proxy.cohort import COHORT
from proxy.downstream.connection import Connection, connecting
from proxy.downstream.cycle import Cycle
from proxy.downstream.server_state import ServerState
from proxy.downstream.timeouts import Limits
from proxy.errors import bad_http
from proxy.upstream.outbox import OUTBOX, Outbox
from tests.flow.house import HARD, Build

HEADERS = [(b"content-type", b"application/json"), (b"x-request-id", b"abc"), (b"content-length", b"2")]
App = Callable[[Any, Any, Any], Awaitable[None]]


class Transport:
    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closing = False
        self.on_write: Callable[[], object] = lambda: None

    def write(self, data: bytes) -> None:
        self.on_write()
        self.writes.append(data)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def get_extra_info(self, _: str) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True


def config_of(app: App) -> uvicorn.Config:
    config = uvicorn.Config(
        cast(Any, app), ws="none", log_config=None, access_log=False, server_header=False, date_header=False
    )
    config.load()
    return config


def connection_of(transport: Transport, kind: Callable[..., Any] = Connection, app: App | None = None) -> Any:
    app, loop = app or echo, asyncio.get_running_loop()
    ours = kind is not HttpToolsProtocol
    connection = kind(app, ServerState(), loop) if ours else kind(config_of(app), ReferenceState(), {}, loop)
    connection.connection_made(cast(asyncio.Transport, transport))
    return connection


def cycle_of(transport: Transport, *, method: bytes = b"POST", keep_alive: bool = True) -> Cycle:
    return Cycle(connection_of(transport), method, "1.1", b"/", [], {}, keep_alive)


# Beside uvicorn's own protocol, the same application and the same bytes. What we do differently, trailers and wishes for another
# protocol, have tests of their own in `tests/attack`.


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with all that it was told, in pieces or at once, with the status that the path names."""
    seen = [
        str(scope[name])
        for name in ("http_version", "method", "path", "raw_path", "query_string", "headers", "scheme", "root_path")
    ]
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        seen.append(message["body"].decode("latin-1"))
        if not message["more_body"]:
            break
    body = "|".join(["".join(seen)]).encode()
    status = int(scope["path"][1:4]) if scope["path"][1:4].isdigit() else 200
    headers = [(b"Content-Type", b"text/plain")]
    if "close" in scope["path"]:
        headers.append((b"Connection", b"x, Close"))
    if status in (204, 304):
        body = b""
    if "sized" in scope["path"]:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for piece in (body[:5], b"", body[5:]) if "pieces" in scope["path"] else ():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"" if "pieces" in scope["path"] else body})


async def _written(kind: Callable[..., Any], pieces: list[bytes], app: App) -> tuple[bytes, bool]:
    transport = Transport()
    connection = connection_of(transport, kind, app)
    for piece in pieces:
        if not transport.closing:
            connection.data_received(piece)
        for _ in range(12):
            await asyncio.sleep(0)
    written = b"".join(transport.writes), transport.closing
    connection.connection_lost(None)
    if getattr(connection, "timeout_keep_alive_task", None) is not None:
        connection.timeout_keep_alive_task.cancel()
    await asyncio.sleep(0)
    return written


POST = b"POST /%s HTTP/1.1\r\nHost: x\r\nX-Twice: 1\r\nx-twice: 2\r\ncontent-length: 4\r\n\r\nbody"
LONG_POST = b"POST / HTTP/1.1\r\nhost: x\r\nx: 1\r\ncontent-length: %d\r\n\r\n%b"
CHUNKED = (
    b"PUT /a%%20b?q=1&r HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n%s\r\n2\r\nbo\r\n2;e=1\r\ndy\r\n0\r\n\r\n"
)
REQUESTS = {
    "whole": POST % b"",
    "sized": POST % b"sized",
    "in pieces": POST % b"pieces",
    "in pieces, sized": POST % b"pieces-sized",
    "nothing to say": POST % b"204",
    "not changed": POST % b"304-sized",
    "an odd status": POST % b"418",
    "the last": POST % b"close",
    "two": POST % b"" + POST % b"sized",
    "many, one the last": POST % b"a" + POST % b"close" + POST % b"b",
    "who closes": b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" + POST % b"never",
    "chunked": CHUNKED % b"",
    "chunked, more": CHUNKED % b"" + POST % b"",
    "told to go on": CHUNKED % b"Expect: 100-Continue\r\n",
    "told to go on, twice": (POST % b"").replace(b"X-Twice: 1", b"expect: 100-continue") + POST % b"",
    "head": b"HEAD /sized HTTP/1.1\r\nhost: x\r\n\r\n" * 2,
    "head, in pieces": b"HEAD /pieces HTTP/1.1\r\nhost: x\r\n\r\n",
    "options": b"OPTIONS /x HTTP/1.1\r\nhost: x\r\n\r\n",
    "another method": b"PROPFIND /x HTTP/1.1\r\nhost: x\r\n\r\n",
    "a whole address": b"GET http://h:1/p?q HTTP/1.1\r\nhost: x\r\n\r\n",
    "1.0, sized": b"GET /sized HTTP/1.0\r\n\r\n",
    "blank lines before": b"\r\n\r\n" + POST % b"",
}


@pytest.mark.long
@pytest.mark.parametrize("cut", [0, 1, 7, 40])
@pytest.mark.parametrize("request_bytes", REQUESTS.values(), ids=REQUESTS)
async def test_an_application_is_served_as_uvicorn_serves_it(request_bytes: bytes, cut: int) -> None:
    """cut: so many bytes at once; 0: all."""
    pieces = [request_bytes[at : at + cut] for at in range(0, len(request_bytes), cut)] if cut else [request_bytes]
    ours, theirs = [await _written(kind, pieces, echo) for kind in (Connection, HttpToolsProtocol)]
    assert ours == theirs
    assert ours[0].startswith(b"HTTP/1.1 ")


LONG = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 700  # a body that reads like requests
LONG_REQUESTS = {
    "long": LONG_POST % (len(LONG), LONG),
    "long, then others": LONG_POST % (len(LONG), LONG) + POST % b"" + LONG_POST % (len(LONG), LONG) + POST % b"sized",
    "others, then long": POST % b"" * 3 + LONG_POST % (len(LONG), LONG),
    "long, the last": LONG_POST.replace(b"x: 1", b"connection: close") % (len(LONG), LONG) + POST % b"never",
    "long, in chunks": CHUNKED.partition(b"2\r\n")[0] % b"" + b"%x\r\n%b\r\n0\r\n\r\n" % (len(LONG), LONG) + POST % b"",
    "blank lines before": b"\r\n\r\n" + LONG_POST % (len(LONG), LONG),
    "many": POST % b"" * 300,
}


@pytest.mark.parametrize("cut", [0, 15_000, 16_384, 16_400])
@pytest.mark.parametrize("request_bytes", LONG_REQUESTS.values(), ids=LONG_REQUESTS)
async def test_in_a_long_body_no_request_begins(request_bytes: bytes, cut: int) -> None:
    pieces = [request_bytes[at : at + cut] for at in range(0, len(request_bytes), cut)] if cut else [request_bytes]
    ours, theirs = [await _written(kind, pieces, echo) for kind in (Connection, HttpToolsProtocol)]
    assert ours == theirs
    assert ours[0].startswith(b"HTTP/1.1 ")


def _random_request(chance: random.Random) -> bytes:
    method = chance.choice((b"GET", b"POST", b"PUT", b"HEAD", b"DELETE"))
    paths = (
        b"",
        b"sized",
        b"pieces",
        b"pieces-sized",
        b"204",
        b"304-sized",
        b"404sized",
        b"close",
        b"a%2Fb",
        b"x?y=%20&z",
    )
    names = (
        b"X-A: 1",
        b"x-a: 2",
        b"COOKIE: a=b",
        b"x-empty:",
        b"Connection: keep-alive",
        b"Expect: 100-continue",
        b"x: " + b"l" * 300,
    )
    head = [
        b"Host: x",
        *chance.sample(names, chance.randrange(4)),
        *([b"Connection: close"] if chance.random() < 0.05 else []),
    ]
    body = chance.randbytes(chance.randrange(60)) if method in (b"POST", b"PUT") or chance.random() < 0.2 else None
    if body is not None and chance.random() < 0.5:
        head.append(b"Content-Length: %d" % len(body))
    elif body is not None:
        head.append(b"Transfer-Encoding: chunked")
        size = chance.randrange(1, 20)
        chunks = [body[at : at + size] for at in range(0, len(body), size)]
        body = b"".join([*(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks), b"0\r\n\r\n"])
    target = b"/" + chance.choice(paths)
    return b"%s %s HTTP/1.1\r\n%s\r\n\r\n%s" % (method, target, b"\r\n".join(head), body or b"")


@pytest.mark.parametrize("seed", range(100))
async def test_random_requests_are_served_as_uvicorn_serves_them(seed: int) -> None:
    chance = random.Random(seed)
    asked = b"".join(_random_request(chance) for _ in range(chance.choice((1, 1, 2, 3, 5))))
    pieces, at = [], 0
    while at < len(asked):
        size = chance.choice((1, 3, 17, 60, 500, 5000))
        pieces.append(asked[at : at + size])
        at += size
    ours, theirs = [await _written(kind, pieces, echo) for kind in (Connection, HttpToolsProtocol)]
    assert ours == theirs


async def fails_first(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("a fault")


async def fails_later(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x", "more_body": True})
    raise ValueError("a fault")


async def says_nothing(scope: Any, receive: Any, send: Any) -> None: ...


async def says_too_much(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": b"xyz"})


async def says_too_little(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
    await send({"type": "http.response.body", "body": b"xyz"})


async def says_it_twice(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def splits_a_header(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\r\nc: d")]})


FAULTY: list[App] = [
    fails_first,
    fails_later,
    says_nothing,
    says_too_much,
    says_too_little,
    says_it_twice,
    splits_a_header,
]


@pytest.mark.parametrize("cut", [1_000_000, 30_000], ids=["in one piece", "in several"])
async def test_however_much_comes_behind_the_last_request_it_has_its_answer(cut: int) -> None:
    last = b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    request_bytes = last + LONG_POST % (200_000, b"x" * 200_000)
    pieces = [request_bytes[at : at + cut] for at in range(0, len(request_bytes), cut)]
    transport = Transport()
    connection = connection_of(transport)
    for piece in pieces:
        connection.data_received(piece)
    for _ in range(12):
        await asyncio.sleep(0)
    assert b"".join(transport.writes).startswith(b"HTTP/1.1 200 OK\r\n")
    connection.connection_lost(None)


@pytest.mark.parametrize("app", FAULTY)
async def test_who_was_not_answered_is_told_or_sees_the_connection_end(app: App) -> None:
    """Never an answer that looks whole; what had gone out by then is what uvicorn had written."""
    pieces = [POST % b"" + POST % b""]
    (ours, closed), (theirs, _) = [await _written(kind, pieces, app) for kind in (Connection, HttpToolsProtocol)]
    assert closed
    if ours.startswith(b"HTTP/1.1 500 "):
        assert ours.count(b"HTTP/1.1 ") == 1
        assert ours.endswith(b'"internal_error"}}')
        assert theirs.startswith(b"HTTP/1.1 500 ") or theirs == b""
    else:
        assert ours == theirs
        assert b"0\r\n\r\n" not in ours


@pytest.mark.parametrize(
    ("ends", "written"),
    [(lambda cycle: cycle.over(), b"HTTP/1.1 500 "), (lambda cycle: cycle.connection.shutdown(math.inf), b"")],
    ids=["gave it up", "the server stops"],
)
async def test_a_request_ends_with_the_plane(ends: Callable[[Cycle], None], written: bytes) -> None:
    begun: list[Cycle] = []

    async def serve(cycle: Cycle) -> None:
        begun.append(cycle)
        await asyncio.sleep(0)
        ends(cycle)

    transport = Transport()
    connection = connection_of(transport, connecting(Limits(), serve=serve))
    connection.data_received(POST % b"")
    for _ in range(4):
        await asyncio.sleep(0)
    assert b"".join(transport.writes).startswith(written)
    if not written:  # it has its answer, which is the connection's last
        await begun[0].send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await begun[0].send({"type": "http.response.body", "body": b"{}"})
        begun[0].over()
        assert b"connection: close" in b"".join(transport.writes)
    assert transport.closing
    assert not connection.tasks


async def test_a_call_that_is_cancelled_leaves_nothing_and_its_client_is_told() -> None:
    ended = asyncio.Event()

    async def serve(cycle: Cycle) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cycle.over()
            ended.set()

    transport = Transport()
    connection = connection_of(transport, connecting(Limits(), serve=serve))
    connection.data_received(POST % b"")
    await asyncio.sleep(0)
    (task,) = connection.tasks
    task.cancel()
    await ended.wait()
    assert (connection.tasks, transport.closing) == (set(), True)
    assert b"".join(transport.writes).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("target", [b"http://h:99999999/", b"http://", b"http://h", b"/\xc3\xa4"])
async def test_a_target_that_is_none_is_no_answer_to_the_request_before_it(target: bytes) -> None:
    async def serve(cycle: Cycle) -> None:
        await asyncio.Event().wait()

    transport = Transport()
    connection = connection_of(transport, connecting(Limits(), serve=serve))
    connection.data_received(POST % b"" + b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % target)
    await asyncio.sleep(0)
    assert (transport.writes, transport.closing) == ([], True)
    for task in connection.tasks:
        task.cancel()


async def test_a_body_in_many_pieces_is_whole() -> None:
    cycle = cycle_of(Transport())
    for number in range(1000):
        cycle.add(b"%d," % number)
    cycle.more_body = False
    assert cycle.take() == b"".join(b"%d," % number for number in range(1000))
    assert cycle.take() == b""


# In one piece.


async def test_a_whole_response_is_the_same_in_one_write() -> None:
    plain, at_once = Transport(), Transport()
    asgi = cycle_of(plain)
    await asgi.send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await asgi.send({"type": "http.response.body", "body": b"{}", "more_body": False})
    cycle = cycle_of(at_once)
    lines = b"".join([b"%b: %b\r\n" % header for header in HEADERS[1:]])
    assert cycle.respond(200, HEADERS[:1], b"{}", lines)
    await asyncio.sleep(0)
    assert at_once.writes == [b"".join(plain.writes)]
    assert cycle.response_complete


async def test_what_has_no_body_says_no_length() -> None:
    """RFC 9110, 8.6; and who says 204 and sends a body all the same has sent none."""
    transport = Transport()
    cycle = cycle_of(transport)
    assert not cycle.respond(204, HEADERS, b"{}")
    await cycle.send({"type": "http.response.start", "status": 204, "headers": HEADERS})
    with pytest.raises(RuntimeError):
        await cycle.send({"type": "http.response.body", "body": b"{}"})
    assert transport.writes == [
        b"HTTP/1.1 204 No Content\r\ncontent-type: application/json\r\nx-request-id: abc\r\n\r\n"
    ]


async def test_a_piece_of_a_stream_is_the_same() -> None:
    plain, at_once = Transport(), Transport()
    for transport in (plain, at_once):
        cycle = cycle_of(transport)
        if transport is plain:
            await cycle.send({"type": "http.response.start", "status": 200, "headers": HEADERS[:1]})
            await cycle.send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        else:
            assert cycle.begin(200, HEADERS[:1])
            assert cycle.write(b"data: 1\n\n")
        await cycle.send({"type": "http.response.body", "body": b"", "more_body": False})
    assert at_once.writes == plain.writes


@pytest.mark.parametrize(
    "headers", [[(b"a", b"b\r\nc: d")], [(b"a", b"b\nc: d")], [(b"a", b"b\rc: d")], [(b"a\r\nb", b"c")]]
)
async def test_a_header_that_would_become_two_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    transport = Transport()
    cycle = cycle_of(transport)
    assert not cycle.respond(200, headers, b"")
    assert not cycle.begin(200, headers)
    with pytest.raises(RuntimeError):
        await cycle.send({"type": "http.response.start", "status": 200, "headers": headers})
    await asyncio.sleep(0)
    assert transport.writes == []


@pytest.mark.parametrize("status", [103, 299, 600, 799, 999])
async def test_a_status_that_has_no_name_is_told_all_the_same(status: int) -> None:
    transport = Transport()
    assert cycle_of(transport).respond(status, HEADERS, b"{}")
    await asyncio.sleep(0)
    assert re.match(rb"HTTP/1.1 %d [A-Za-z ]*\r\n" % status, transport.writes[0])


async def test_what_is_out_of_the_ordinary_takes_the_long_way() -> None:
    paused = cycle_of(Transport())
    paused.connection.flow.pause_writing()
    gone = cycle_of(Transport())
    gone.disconnected = True
    for cycle in (cycle_of(Transport(), method=b"HEAD"), cycle_of(Transport(), keep_alive=False), paused, gone):
        assert not cycle.respond(200, HEADERS, b"{}")
        assert not cycle.begin(200, HEADERS[:1])
        assert not cycle.write(b"x")


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


async def test_pieces_are_written_in_their_place_and_in_their_order() -> None:
    box, transports = waiting("a", "b")
    box.write(cast(asyncio.Transport, transports["a"]), (b"head", b"body"))
    box.write(cast(asyncio.Transport, transports["a"]), b"3")
    await asyncio.sleep(0)
    assert [b"".join(one.writes) for one in transports.values()] == [b"0headbody3", b"1"]


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


@pytest.mark.parametrize("together", [1, 2])
async def test_who_moves_alone_writes_at_once_and_several_together(together: int) -> None:
    box, written = Outbox(), list[int]()
    transports = [Transport() for _ in range(together)]

    async def call(transport: Transport) -> None:
        box.first(partial(written.append, -1))
        box.write(cast(asyncio.Transport, transport), b"answer")
        written.append(sum(map(len, [one.writes for one in transports])))

    members = [COHORT.begin(call(transport)) for transport in transports]
    await asyncio.sleep(0)
    assert all(member.done() for member in members)
    assert written[:2] == ([-1, 1] if together == 1 else [0, 0])  # what has to come first, before
    await asyncio.sleep(0)
    assert [one.writes for one in transports] == [[b"answer"]] * together
    assert -1 in written


async def test_who_moves_alone_writes_behind_what_waits() -> None:
    box, transports = waiting("a")

    async def call() -> None:
        box.first(partial(box.write, cast(asyncio.Transport, transports["a"]), b"first"))
        box.write(cast(asyncio.Transport, transports["a"]), b"answer")
        assert transports["a"].writes == [b"first", b"0", b"answer"]

    member = COHORT.begin(call())
    await asyncio.sleep(0)
    assert member.done()


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

    def close(self) -> None:
        self.writes.append(b"closed")

    def abort(self) -> None:
        self.close()


ENDS: dict[str, Callable[[Connection], object]] = {
    "the server stops": lambda connection: connection.shutdown(math.inf),
    "the client says no more": Connection.eof_received,
    "the next answer is broken off": Connection.drop,
    "the next request is none": lambda connection: connection.refuse(bad_http().refusal),
    "it was idle for too long": lambda connection: connection.check_time(connection.since + 1000),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_an_answer_that_waits_is_written_before_its_connection_ends(end: Callable[[Connection], object]) -> None:
    transport = Ending()
    connection = connection_of(transport)
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
