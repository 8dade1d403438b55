"""Spoken sessions of two workers with one Redis: a budget is one, whoever serves a turn, and its end is every session's."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.gateway import gateway, server
from tests.support.processes import module_running
from tests.support.realtime_rig import KEY, POOR_KEY, RealtimeRig, config, nanousd, spent
from tests.support.redis import RedisServer


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RealtimeRig, RedisServer]]:
    folder = tmp_path_factory.mktemp("realtime-redis")
    bill = folder / "bill.jsonl"
    with (
        RedisServer(folder) as redis,
        module_running(folder, "tests.support.realtime_provider", "--bill", str(bill)) as port,
    ):
        url = f"http://127.0.0.1:{port}"
        own = config(folder, url, store=redis.url, server=server(busy_wait_s=0.2, realtime_idle_s=3))
        with gateway(folder, own, "--workers", "2") as made:
            yield RealtimeRig(made, url, bill), redis


def open_session(rig: RealtimeRig, name: str, key: str) -> Any:
    headers = {"authorization": f"Bearer {key}", "x-taximeter-session-id": name}
    url = f"{rig.url.replace('http', 'ws')}/v1/realtime?model=gpt-realtime"
    return connect(url, additional_headers=headers, compression=None)


async def turns(rig: RealtimeRig, name: str, key: str, most: int) -> tuple[int, str]:
    """So many turns, or as many as there are; how many, and what ended it."""
    done = 0
    content = [{"type": "input_text", "text": json.dumps({"text": 20, "audio": 100})}]
    item = {"type": "message", "role": "user", "content": content}
    try:
        async with open_session(rig, name, key) as socket:
            while done < most:
                await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
                await socket.send(json.dumps({"type": "response.create"}))
                while (event := json.loads(await socket.recv()))["type"] != "response.done":
                    if event["type"] == "error":
                        return done, event["error"]["code"]
                done += 1
    except InvalidStatus as refused:
        return done, json.loads(refused.response.body or b"{}")["error"]["code"]
    except ConnectionClosed as closed:  # before its error was read
        return done, closed.rcvd.reason if closed.rcvd is not None else "lost"
    return done, "left"


async def test_sessions_of_two_workers_never_pass_one_budget(rig: tuple[RealtimeRig, RedisServer]) -> None:
    """$0.40, of which a turn holds a quarter of a dollar: eight sessions race for it."""
    made, _ = rig
    before = len(made.lines())
    ends = await asyncio.gather(*[turns(made, f"race{n}", POOR_KEY, 40) for n in range(8)])
    assert {why for _, why in ends} <= {"budget_exceeded", "budget_busy"}
    total = sum(done for done, _ in ends)
    assert total >= 2
    billed = nanousd(made.lines()[before:])
    entries = [entry for n in range(8) for entry in made.ended(f"race{n}", ends[n][0]) if entry["status"] == "settled"]
    assert (len(entries), spent(entries)) == (total, billed)
    assert len({entry["instance"] for entry in entries}) == 1
    (poor,) = [one for one in made.get("/api/budgets")["items"] if one["name"] == "poor"]
    assert Decimal(poor["spent_usd"]) * 10**9 == billed <= Decimal("0.40") * 10**9
    assert made.reserved() == 0


async def test_a_session_in_which_nothing_is_said_is_closed(rig: tuple[RealtimeRig, RedisServer]) -> None:
    made, _ = rig
    async with open_session(made, "idle", KEY) as socket:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.recv()
    assert (socket.close_code, socket.close_reason) == (1008, "nothing was said for 3 s")
    assert made.reserved() == 0
    assert [entry for entry in made.entries("idle") if entry["status"] != "void"] == []


async def test_a_turn_that_cannot_be_reserved_ends_the_session_and_what_was_said_is_counted(
    rig: tuple[RealtimeRig, RedisServer],
) -> None:
    """Redis dies in the middle. What it forgot is rebuilt from the ledger, and no turn is missing."""
    made, redis = rig
    before = len(made.lines())
    talking = asyncio.create_task(turns(made, "cut", KEY, 10_000))
    while len(made.lines()) < before + 3:
        assert not talking.done(), f"it ended before Redis did: {talking.result()}"
        await asyncio.sleep(0.02)
    redis.down()
    done, why = await talking
    assert why == "budget_store_unavailable"
    redis.up()
    entries = [entry for entry in made.ended("cut", done) if entry["status"] == "settled"]
    assert spent(entries) == nanousd(made.lines()[before:])
    while (again := await turns(made, "again", KEY, 1))[1] == "budget_store_unavailable":
        await asyncio.sleep(0.1)
    assert again == (1, "left")
    assert made.gateway.verified()["ok"]
