"""Guards over several processes: one store counts what a single process would have counted, whoever sent a call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.budgets.redis.store import RedisStore
from proxy.budgets.store import GuardLimits, Seen
from tests.support.redis import RedisServer

pytestmark = pytest.mark.needs("redis-server")
ANY = GuardLimits(None, None, None, 0.0)


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[tuple[RedisServer, RedisStore, RedisStore]]:
    """Two processes' ends of one store."""
    with RedisServer(tmp_path) as server:
        ends = RedisStore(server.url, deadline_s=5), RedisStore(server.url, deadline_s=5)
        running = [asyncio.create_task(end.member.run()) for end in ends]
        await ends[0].member.joined.wait()
        await ends[0].member.open(ends[0].epoch)
        await asyncio.gather(*[end.member.ready.wait() for end in ends])
        yield server, *ends
        for task in running:
            task.cancel()
        for end in ends:
            await end.member.close()


async def test_calls_are_counted_up_to_the_limit_by_whoever_sends_them(
    stores: tuple[RedisServer, RedisStore, RedisStore],
) -> None:
    _, *ends = stores
    limits = ANY._replace(requests=10)
    asked = [end.guarded("s", "", limits) for _ in range(20) for end in ends]
    seen = [one.requests for one in await asyncio.gather(*asked) if one is not None]
    assert sorted(seen) == [*range(10), *[10] * 30], "ten passed, and no refused call is counted"
    assert await ends[0].guarded("other", "", limits) == Seen(0, 0, 0)


async def test_bills_of_a_minute_are_added_up(stores: tuple[RedisServer, RedisStore, RedisStore]) -> None:
    server, one, other = stores
    limits = ANY._replace(nanousd=100)
    for end in (one, other):
        assert await end.guarded("s", "", limits) == Seen(0, 0, 0)
    for end in (one, other):
        end.note_bill("s", 60)

    await other.guarded("s", "", limits)  # behind its bill, on the same connection
    assert await one.guarded("s", "", limits) == Seen(0, 120, 0)
    name = f"tm1:{one.epoch}:guard:bills:s"
    server.say(
        "EVAL", "for i, bill in ipairs({'1.5 60', '2.5 7'}) do redis.call('LPUSH', KEYS[1], bill) end", "1", name
    )
    server.say("INCRBY", f"tm1:{one.epoch}:guard:billed:s", "67")
    assert await other.guarded("s", "", limits) == Seen(0, 120, 0), "those of an earlier minute are forgotten"
    assert 0 < int(server.say("TTL", name).strip(":\r\n")) <= 60


async def test_the_same_request_is_counted_for_a_while(stores: tuple[RedisServer, RedisStore, RedisStore]) -> None:
    server, one, other = stores
    limits = ANY._replace(repeats=3, within_s=50.0)
    seen = [await end.guarded("s", "d1", limits) for end in (one, other, one, other, one)]
    assert [each.repeats for each in seen if each] == [0, 1, 2, 3, 3]
    assert await one.guarded("s", "d2", limits) == Seen(0, 0, 0)
    name = f"tm1:{one.epoch}:guard:seen:d1:s"
    server.say("LSET", name, "0", "1.000000")
    assert await one.guarded("s", "d1", limits) == Seen(0, 0, 2), "one of them is too old by now"
    assert 40 < int(server.say("TTL", name).strip(":\r\n")) <= 50


async def test_sessions_take_bounded_room_and_the_latest_are_known(
    stores: tuple[RedisServer, RedisStore, RedisStore],
) -> None:
    server, one, _ = stores
    limits = ANY._replace(requests=5)
    fill = "for i = 1, 50000 do redis.call('HSET', KEYS[1], ARGV[1] .. i, '4') end"
    name = f"tm1:{one.epoch}:guards"
    assert await one.guarded("mine", "", limits) == Seen(0, 0, 0)
    for generation in ("a", "b", "c"):
        server.say("EVAL", fill, "1", name, generation)
        await one.guarded(generation, "", limits)
    assert await one.guarded("mine", "", limits) == Seen(0, 0, 0), "it was quiet while 100,000 others came"
    assert await one.guarded("c7", "", limits) == Seen(4, 0, 0)
    assert await one.guarded("c7", "", limits) == Seen(5, 0, 0)
    kept = [int(server.say("HLEN", each).strip(":\r\n")) for each in (name, f"{name}:before")]
    assert sum(kept) < 110_000


async def test_an_earlier_epochs_process_counts_nothing(stores: tuple[RedisServer, RedisStore, RedisStore]) -> None:
    server, one, _ = stores
    server.say("SET", "tm1:epoch", "another open")
    with contextlib.suppress(Exception):
        await one.guarded("s", "", ANY._replace(requests=1))
    assert "guard" not in server.say("KEYS", "*")
