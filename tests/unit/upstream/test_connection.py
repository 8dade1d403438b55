"""A chunk that comes by itself passes the parser by: what is taken, and what is a fault, stays the same."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from proxy.upstream import pool
from proxy.upstream.chunk_head import chunk_head
from proxy.upstream.connect import origin_of
from proxy.upstream.connection import Connection
from proxy.upstream.response import Response, UpstreamError

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
ODD = [
    b"3\r\nabcde", b"3\r\nabc\r-", b"5\r\nabc\r\n", b"3\r\nabcde\r\n", b"-3\r\nabc\r\n", b"+3\r\nabc\r\n", b"0x3\r\nabc\r\n", b"3_\r\nabc\r\n", b"\r\n", b"3", b"3\r\n",
    b"-" * 21, b"-" * 19 + b"\r\n", b"-" * 30 + b"\r\n", b"f\r\n" + b"x" * 14 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"abc\r\n",
]  # fmt: skip


class Owner:
    first_byte_timeout_s = idle_timeout_s = 30.0
    reuse_after_stream = True
    released = 0

    def release(self, _: Connection) -> None:
        self.released += 1

    def lost(self, _: Connection) -> None: ...


class Transport:
    closed = False

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def write(self, data: bytes) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def chunk(content: bytes, chance: random.Random) -> bytes:
    head = chance.choice([b"%x", b"%x", b"%x", b"%X", b"00%x", b"%x;a=b", b'%x;a="\\r\\n"'])
    return head % len(content) + b"\r\n" + content + b"\r\n"


def reads_of(chance: random.Random) -> list[bytes]:
    """The reads of one body: a chunk each, several, or cut anywhere; whole, with trailers, odd, or cut off."""
    sizes = [1, 2, 14, 15, 16, 17, 40, 254, 255, 256, 257, 4093, 4095, 4096, 70_000]
    chunks = [chunk(b"x" * chance.choice(sizes), chance) for _ in range(chance.randrange(12))]
    if chance.random() < 0.3:
        chunks.insert(chance.randrange(len(chunks) + 1), chance.choice(ODD))
    end = chance.choice([b"0\r\n\r\n", b"0\r\na: b\r\n\r\n", b"0\r\n", b""])
    if chance.random() < 0.5:
        return [HEAD, *chunks, end]
    whole, reads = HEAD + b"".join(chunks) + end, []
    while whole:
        size = chance.choice([1, 5, 30, len(chunks[0]) if chunks else 9, 5000])
        reads.append(whole[:size])
        whole = whole[size:]
    return reads


async def taken(reads: list[bytes], *, pumped: bool) -> tuple[bytes, str, int, int]:
    """What a reader got, how that ended, how often the connection was let go, and how many chunks came with their framing."""
    owner, framed_chunks, got = Owner(), 0, bytearray()
    connection = Connection(owner, asyncio.get_running_loop())
    connection.connection_made(Transport())  # type: ignore[arg-type]
    response = Response(connection)
    connection.response = response

    def sink(data: bytes, framed: bytes) -> bool:
        nonlocal framed_chunks
        if framed:
            framed_chunks += 1
            assert framed == b"%x\r\n%b\r\n" % (len(data), data)
        got.extend(data)
        return True

    async def read() -> str:
        try:
            if pumped:
                await response.pump(sink)
            while data := await response.read():
                got.extend(data)
        except UpstreamError as error:
            return error.kind
        return "whole"

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    for data in reads:
        if data and not connection._transport.is_closing():  # type: ignore[union-attr]
            connection.data_received(data)
    connection.connection_lost(None)
    ended = await reading
    return bytes(got), ended, owner.released, framed_chunks


async def test_what_is_taken_and_what_is_a_fault_stay_the_same() -> None:
    chance, by_themselves, ends = random.Random(5), 0, set()
    for _ in range(400):
        reads = reads_of(chance)
        *by_parser, _ = await taken(reads, pumped=False)
        *became, framed_chunks = await taken(reads, pumped=True)
        assert became == by_parser, reads
        by_themselves += framed_chunks
        ends.add(became[1])
    assert by_themselves > 200
    assert ends == {"whole", "reset", "protocol"}


async def test_a_stream_that_needs_no_parser_is_silent_from_its_last_chunk_on(monkeypatch: pytest.MonkeyPatch) -> None:
    at_s = 1000.0
    monkeypatch.setattr("proxy.upstream.connection.perf_counter", lambda: at_s)
    connection, got = Connection(Owner(), asyncio.get_running_loop()), []
    connection.connection_made(Transport())  # type: ignore[arg-type]
    response = connection.send(b"", b"")
    pumping = asyncio.create_task(response.pump(lambda data, framed: got.append((data, framed)) is None))
    await asyncio.sleep(0)
    connection.data_received(HEAD + b"1\r\na\r\n")
    for _ in range(5):
        at_s += 20.0
        connection.data_received(b"1\r\nb\r\n")
        connection._check_time()
    assert got == [(b"a", b""), *[(b"b", b"1\r\nb\r\n")] * 5]
    assert not pumping.done()

    at_s += Owner.idle_timeout_s
    connection._check_time()
    with pytest.raises(UpstreamError) as raised:
        await pumping
    assert raised.value.kind == "idle_timeout"


def test_a_chunk_is_known_by_its_size_and_the_last_is_none() -> None:
    for size in (*range(1, 400), 4094, 4095, 4096, 65_535, 65_536):
        whole = b"%x\r\n%b\r\n" % (size, b"-" * size)
        assert whole.startswith(chunk_head[len(whole)])
    made: Any = {len(b"%x\r\n\r\n" % size) + size for size in range(1, 70_000)}
    for size in {*range(70_000)} - made:  # 5, of the last chunk, and those that lie between two numbers of digits
        assert len(chunk_head[size]) > size


async def test_a_connection_that_is_lost_before_anything_is_sent_is_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def lost_at_once(_: object, factory: Callable[[], Connection]) -> None:
        connection = factory()
        connection.connection_made(Transport())  # type: ignore[arg-type]
        connection.connection_lost(None)

    monkeypatch.setattr(pool, "open_transport", lost_at_once)
    client = pool.UpstreamClient()
    client.add("up", origin_of("http://127.0.0.1:9/v1", {}), max_connections=1)
    for _ in range(2):  # its place is free again
        with pytest.raises(UpstreamError, match="at once") as raised:
            await client.send("up", b"", b"")
        assert (raised.value.kind, raised.value.sent) == ("connect", False)


async def test_what_was_lost_is_no_circle() -> None:
    owner = Owner()
    connection = Connection(owner, asyncio.get_running_loop())
    connection.connection_made(Transport())  # type: ignore[arg-type]
    left = weakref.ref(owner)
    gc.disable()
    try:
        connection.connection_lost(None)
        del owner, connection
        assert left() is None
    finally:
        gc.enable()


ANSWERS = [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", HEAD + b"2\r\nok\r\n0\r\n\r\n"]
BEHIND = [b"H", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nx: y", b"HTTP/1.1 500 No\r\ncontent-length: 9\r\n\r\n", ANSWERS[0], ANSWERS[1][:-7],
          b"HTTP/1.1 100 Continue\r\n\r\n", b"x", b"0\r\n\r\n"]  # fmt: skip


async def test_what_has_begun_behind_an_answer_is_the_beginning_of_no_other() -> None:
    for answer in ANSWERS:
        assert (await taken([answer], pumped=True))[:3] == (b"ok", "whole", 1)
        for behind in BEHIND:
            got, ended, released, _ = await taken([answer + behind], pumped=True)
            assert (got, ended, released) == (b"ok", "protocol", 0), (answer, behind)


async def test_a_connection_is_nobody_elses_before_the_whole_body_has_gone_its_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Connection] = []

    async def reach(_: object, factory: Callable[[], Connection]) -> None:
        made.append(factory())
        made[-1].connection_made(Transport())  # type: ignore[arg-type]

    async def answered(*, early: bool) -> AsyncIterator[bytes]:
        yield b"a"
        if early:
            made[-1].data_received(ANSWERS[0])
            other = await client._pools["up"].acquire("other")
            assert other is made[-1]
            assert len(made) == 2
        else:
            asyncio.get_running_loop().call_soon(made[-1].data_received, ANSWERS[0])
        yield b"b"

    async def lost() -> AsyncIterator[bytes]:
        yield b"a"
        made[-1].connection_lost(None)

    monkeypatch.setattr(pool, "open_transport", reach)
    for chunked in (True, False):
        client = pool.UpstreamClient()
        client.add("up", origin_of("http://127.0.0.1:9/v1", {}))
        made.clear()
        response = await client.upload("up", b"", answered(early=True), chunked=chunked)
        assert (response.status, await response.read(), made[0].usable) == (200, b"ok", False)
        made.clear()
        response = await client.upload("up", b"", answered(early=False), chunked=chunked)
        assert await response.read() == b"ok"
        assert await client._pools["up"].acquire("other") is made[0]  # it is used again
        made.clear()
        with pytest.raises(UpstreamError, match="closed the connection"):
            await client.upload("up", b"", lost(), chunked=chunked)
