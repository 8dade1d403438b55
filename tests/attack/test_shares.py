"""One key cannot shut out the others: of calls, of bytes, of connections to an upstream, of streams that are drained."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.shares import Shares
from proxy.upstream.pool import UpstreamClient
from proxy.upstream.response import UpstreamError
from proxy.upstream.turns import Turns
from tests.flow.house import CHAT, KEY, USAGE, Answer, Asking, Build, House, Line, whole
from tests.flow.test_hangups import event, talk

OTHER = "sk-other-0123456789abcdef"
TWO_KEYS = {"keys": [{"name": "a", "key": KEY, "team": "a"}, {"name": "b", "key": OTHER, "team": "b"}]}


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans(), st.integers(1, 40)), max_size=300))
def test_whatever_others_hold_a_newcomer_finds_something(moves: list[tuple[str, bool, int]]) -> None:
    shares = Shares(1000, lambda: False)
    held: dict[str, int] = {}
    for holder, takes, amount in moves:
        if takes and shares.take(holder, amount) == "granted":
            held[holder] = held.get(holder, 0) + amount
        elif not takes and held.get(holder, 0) >= amount:
            shares.give(holder, amount)
            held[holder] -= amount
        assert shares.total == sum(held.values()) <= 1000
    assert shares.take("new") == "granted"


@pytest.mark.parametrize(("holders", "each"), [(1, 800), (2, 444), (3, 307), (10, 97)])
def test_what_greedy_holders_get(holders: int, each: int) -> None:
    shares = Shares(1000, lambda: False)
    got = dict.fromkeys(range(holders), 0)
    for _ in range(1000):
        for holder in got:
            got[holder] += shares.take(str(holder)) == "granted"
    assert all(abs(count - each) <= holders for count in got.values())


def test_who_is_alone_may_have_all_and_no_more() -> None:
    shares = Shares(10, lambda: True)
    assert [shares.take("a") for _ in range(11)] == ["granted"] * 10 + ["full"]


def test_a_bound_for_each_holds_for_who_is_alone_too() -> None:
    shares = Shares(10, lambda: True, most_each=2)
    assert [shares.take("a") for _ in range(3)] == ["granted", "granted", "own share"]


# Calls and their bytes


class Slow:
    """A request whose body comes in pieces, as the test says."""

    def __init__(self, house: House, key: str, body: bytes) -> None:
        self.pieces: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()
        self.body = body
        self.sent: list[dict[str, Any]] = []
        self.task = asyncio.create_task(self._run(house, key))

    async def _run(self, house: House, key: str) -> None:
        from proxy.dataplane.application import Application  # noqa: PLC0415

        class Piecemeal(Asking):
            async def receive(_) -> dict[str, Any]:  # noqa: N805 - `self` is the whole of it
                piece, more = await self.pieces.get()
                return {"type": "http.request", "body": piece, "more_body": more}

        asking = Piecemeal(Line(), "/v1/chat/completions", b"", {b"authorization": f"Bearer {key}".encode()}, b"")
        self.sent = asking.messages
        await Application(house.plane).serve(cast(Any, asking))

    async def part(self, size: int) -> None:
        """Let so much of the body arrive, and be taken."""
        self.pieces.put_nowait((self.body[:size], True))
        self.body = self.body[size:]
        while not self.pieces.empty() and not self.task.done():
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def rest(self) -> int:
        self.pieces.put_nowait((self.body, False))
        await self.task
        return self.status

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def code(self) -> str:
        return str(orjson.loads(b"".join(one.get("body", b"") for one in self.sent[1:]))["error"]["code"])


def large(size: int) -> bytes:
    return orjson.dumps(CHAT | {"messages": [{"role": "user", "content": "x" * size}]})


async def test_bodies_that_trickle_leave_room_for_others(build: Build) -> None:
    house = build(**TWO_KEYS, server={"max_inflight_mb": 1, "max_body_mb": 1})
    slow = [Slow(house, KEY, large(300_000)) for _ in range(4)]
    for one in slow:
        await one.part(290_000)
    assert [one.code for one in slow if one.sent] == ["too_many_in_flight"] * 2
    assert {one.status for one in slow if one.sent} == {429}
    house.answers.append(whole())
    other = Slow(house, OTHER, large(20_000))
    assert await other.rest() == 200
    for one in slow:
        if not one.sent:
            house.answers.append(whole())
            assert await one.rest() == 200
    assert house.plane.load.bytes.total == 0


async def test_calls_that_never_end_leave_room_for_others(build: Build) -> None:
    house = build(**TWO_KEYS, server={"max_connections": 10})
    slow = [Slow(house, KEY, large(10)) for _ in range(12)]
    for one in slow:
        await one.part(5)
    assert len([one for one in slow if one.sent]) == 4
    told = await house.ask(key=OTHER)
    assert told.status == 200
    for one in slow:
        one.task.cancel()
    await asyncio.gather(*(one.task for one in slow), return_exceptions=True)
    assert house.plane.load.calls.total == 0


async def test_an_operator_can_bound_each_keys_calls(build: Build) -> None:
    house = build(server={"max_calls_per_key": 1})
    slow = Slow(house, KEY, large(10))
    await slow.part(5)
    told = await house.ask()
    assert (told.status, told.code, told.headers["retry-after"]) == (429, "too_many_in_flight", "1")
    assert house.sent == []
    house.answers = [whole()]
    assert await slow.rest() == 200


# Connections to an upstream


@pytest.fixture
def turns() -> Turns:
    return Turns(5, lambda: False)


async def test_a_pool_that_one_key_fills_has_a_place_for_another(turns: Turns) -> None:
    taken = [asyncio.create_task(turns.take("a", 10)) for _ in range(8)]
    await asyncio.sleep(0)
    assert sum(task.done() for task in taken) == 4
    await turns.take("b", 0)
    turns.give("b")
    for task in taken:
        task.cancel()
    await asyncio.gather(*taken, return_exceptions=True)
    assert turns.waiting == 0


async def test_who_waits_is_served_in_order_and_no_place_is_lost(turns: Turns) -> None:
    """Among them waiters that are cancelled at the very moment at which their turn comes."""
    order: list[int] = []

    async def wait(number: int) -> None:
        await turns.take("a", 10)
        order.append(number)
        await asyncio.sleep(0)
        turns.give("a")

    for _ in range(4):
        await turns.take("a", 0)
    waiting = [asyncio.create_task(wait(number)) for number in range(20)]
    await asyncio.sleep(0)
    turns.give("a")
    waiting[0].cancel()
    for _ in range(3):
        turns.give("a")
    await asyncio.gather(*waiting, return_exceptions=True)
    assert order == list(range(1, 20))
    assert turns.waiting == turns._shares.total == 0


async def test_a_key_that_fills_a_pool_waits_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    client = UpstreamClient(lambda: False)
    origin: Any = type("Origin", (), {"tls": False})()
    client.add("up", origin, max_connections=2, connect_timeout_s=0.01)
    await client._pools["up"].turns.take("a", 0)
    with pytest.raises(UpstreamError, match="for this key") as failed:
        await client.send("up", b"", b"", holder="a")
    assert not failed.value.sent


# Streams that are read to their end for clients that left


async def test_many_hangups_of_one_key_leave_anothers_to_be_charged_exactly(build: Build) -> None:
    house = build(**TWO_KEYS)
    lines = [Line() for _ in range(205)]
    answers = [talk(line, event(), event(), waits=True) for line in lines]
    calls = [
        asyncio.create_task(house.ask(answer, stream=True, line=line, max_tokens=1))
        for answer, line in zip(answers, lines, strict=True)
    ]
    while sum(call.done() for call in calls) < 45:
        await asyncio.sleep(0)
    assert house.plane.load.drains.total == 160
    line = Line()
    last: Answer = talk(line, event(), event(usage=USAGE, last=True), b"data: [DONE]\n\n")
    await house.ask(last, stream=True, line=line, key=OTHER, max_tokens=3000)
    end = house.records()[-1]
    assert (end["status"], end["usage"]) == ("settled", {"input": 20, "output": 10})
    for one in answers:
        one.abort()
    await asyncio.gather(*calls)
    assert house.plane.load.drains.total == 0
