"""Requests that begin as the one before on their connection did: recognised, they are the same requests as when they are parsed."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

from proxy.dataplane.application import Application
from proxy.downstream.connection import connecting
from proxy.downstream.cycle import Cycle
from proxy.downstream.timeouts import Limits
from tests.flow.house import KEY, Build, House, whole
from tests.flow.test_cycle import Transport, connection_of

FIELDS = b"Host: x\r\nUser-Agent: a\r\n"
BODIES = [b"", b"{}", b'{"a":"\r\ncontent-length: 3\r\n\r\nabc"}', b"x" * 11, b"y" * 1000, b"POST / HTTP/1.1\r\n\r\n"]


def asked(
    body: bytes, fields: bytes = FIELDS, length: bytes | None = None, line: bytes = b"POST /a?b HTTP/1.1"
) -> bytes:
    length = b"%d" % len(body) if length is None else length
    return b"%b\r\n%bContent-Length: %b\r\nAccept: */*\r\n\r\n%b" % (line, fields, length, body)


def requests(body: bytes) -> list[bytes]:
    """The same request in the usual way, most often, and in all others."""
    chunked = b"POST /a?b HTTP/1.1\r\n%btransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    return [
        *[asked(body)] * 12,
        asked(body, FIELDS + b"X-Other: 1\r\n"),
        asked(body, FIELDS.lower()),
        asked(body, FIELDS + b"Expect: 100-continue\r\n"),
        asked(body, FIELDS + b"Connection: keep-alive\r\n"),
        asked(body, FIELDS + b"X-Content-Length: 2\r\n"),
        asked(body, FIELDS + b"Content-Length: %d\r\n" % len(body)),
        asked(body, length=b"00%d" % len(body)),
        asked(body, length=b"  %d \t" % len(body)),
        asked(body, line=b"\r\nPOST /a?b HTTP/1.1"),
        asked(body, line=b"PUT /a HTTP/1.1"),
        asked(body) + asked(b"behind"),
        b"GET /c HTTP/1.1\r\nhost: x\r\n\r\n",
        chunked % (FIELDS, len(body), body) if body else asked(body),
    ]


LAST = [
    asked(b"{}", FIELDS + b"Connection: close\r\n"),
    asked(b"{}", line=b"POST /a?b HTTP/1.0"),
    asked(b"{}", length=b"x2"),
    asked(b"{}", length=b"9" * 30),
    asked(b"{}", length=b"-2"),
    asked(b"{}", length=b"+2"),
    asked(b"{}", length=b"2_0"),
    asked(b"{}", FIELDS + b"Upgrade: h2c\r\nConnection: Upgrade\r\n"),
    asked(b"{}") + b"noise",
    b"noise\r\n\r\n",
]


class _Watched:
    """A connection's parser. is_fed: whether it was given anything."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self.is_fed = False

    def feed_data(self, data: bytes) -> None:
        self.is_fed = True
        self._parser.feed_data(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)


async def _seen(pieces: list[bytes], *, recognises: bool) -> tuple[list[Any], bytes, bool, int]:
    """What an application sees of the requests in these reads of the socket, what is written, and how many were recognised."""
    seen: list[Any] = []
    recognised = 0

    async def serve(cycle: Cycle) -> None:
        body = cycle.take()
        while body is None or cycle.more_body:
            message = await cycle.receive()
            if message["type"] != "http.request":
                break
            body = (body or b"") + message["body"]
        request = (cycle.method, cycle.path, cycle.query, cycle.version, dict(cycle.headers), cycle.named, body)
        seen.append((*request, cycle.keep_alive, cycle.connection.part))  # type: ignore[attr-defined]
        cycle.respond(200, [(b"content-length", b"2")], b"ok")
        cycle.over()

    transport = Transport()
    connection = connection_of(transport, connecting(Limits(), serve=serve))
    if not recognises:
        connection.head_cache = None
    connection.parser = parser = _Watched(connection.parser)
    for piece in pieces:
        earlier, parser.is_fed = connection.cycle, False
        if not transport.closing:
            connection.data_received(piece)
        recognised += connection.cycle is not earlier and not parser.is_fed
        for _ in range(6):
            await asyncio.sleep(0)
    connection.connection_lost(None)
    return seen, b"".join(transport.writes), transport.closing, recognised


async def test_a_request_that_is_recognised_is_the_one_that_is_parsed() -> None:
    hits = 0
    for seed in range(150):
        chance = random.Random(seed)
        sent = [chance.choice(requests(chance.choice(BODIES))) for _ in range(7)]
        if chance.random() < 0.5:
            sent += [asked(b"{}"), chance.choice(LAST), asked(b"{}")]
        pieces = []
        for data in sent:
            cut = chance.randrange(1, len(data)) if chance.random() < 0.15 else len(data)
            pieces += [part for part in (data[:cut], data[cut:]) if part]
        parsed = await _seen(pieces, recognises=False)
        recognised = await _seen(pieces, recognises=True)
        assert _meant(recognised) == _meant(parsed), (seed, pieces)
        hits += recognised[3]
    assert hits > 150


async def test_a_body_that_lacks_its_last_byte_is_waited_for() -> None:
    """Of each length round those whose digits are one more: what is there of it could as well be all of a shorter one."""
    for length in [*range(120), 998, 999, 1000, 1001, 9999, 10_000, 10_001, 99_999, 100_000]:
        for cut in (1, 2, 3):
            data = asked(b"x" * length)
            pieces = [asked(b"{}"), data[:-cut], data[-cut:], asked(b"behind")]
            parsed = await _seen(pieces, recognises=False)
            assert await _seen(pieces, recognises=True) == (*parsed[:3], 1), (length, cut)


def _meant(seen: tuple[list[Any], bytes, bool, int]) -> Any:
    """A length by its value: `007` is 7."""
    requests, written, closed, _ = seen
    for request in requests:
        for named in (request[4], request[5]):
            if b"content-length" in named:
                named[b"content-length"] = int(named[b"content-length"])
    return requests, written, closed


async def test_of_a_client_whose_heads_differ_none_is_learned_for_ever() -> None:
    pieces = [asked(b"{}", FIELDS + b"traceparent: %d\r\n" % number) for number in range(9)]
    pieces += [asked(b"{}"), asked(b"{}")]
    assert (await _seen(pieces, recognises=True))[3] == 0


async def ask(connection: Any, house: House, key: str) -> bytes:
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    house.answers.append(whole())
    connection.transport.writes.clear()
    path = b"POST /v1/chat/completions HTTP/1.1"
    connection.data_received(asked(body, b"host: x\r\nauthorization: Bearer %b\r\n" % key.encode(), line=path))
    async with asyncio.timeout(10):
        while not connection.transport.writes:
            await asyncio.sleep(0)
    return b"".join(connection.transport.writes)[:12]


async def test_a_key_is_looked_up_again_in_each_request_and_may_change_on_a_connection(build: Build) -> None:
    house = build()
    keys = house.plane.keys
    identity = keys.identify({b"authorization": b"Bearer " + KEY.encode()}, 0)
    connection = connection_of(Transport(), connecting(Limits(), serve=Application(house.plane).serve))
    assert [await ask(connection, house, KEY) for _ in range(3)] == [b"HTTP/1.1 200"] * 3
    assert connection.head_cache.head is not None
    assert await ask(connection, house, KEY + "x") == b"HTTP/1.1 401"
    assert await ask(connection, house, KEY) == b"HTTP/1.1 200"
    keys.replace_configured_keys([replace(identity, team="other")])
    assert await ask(connection, house, KEY) == b"HTTP/1.1 200"
    assert [record["team"] for record in house.records() if record["t"] == "intent"] == ["t"] * 4 + ["other"]
    keys.replace_configured_keys([])
    assert await ask(connection, house, KEY) == b"HTTP/1.1 401"
    keys.replace_configured_keys([identity])
    assert await ask(connection, house, KEY) == b"HTTP/1.1 200"
