"""What a process does when its Redis is away, slow, or not the one that it was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.budgets.redis.store import RedisStore
from proxy.budgets.store import Denied, Granted, StoreUnavailable
from proxy.types import Claim
from tests.support.redis import RedisServer

pytestmark = pytest.mark.needs("redis-server")
LATER = time.time() + 3600


def claim(amount: int, limit: int = 100) -> Claim:
    return Claim("b", "", 0, None, limit, amount, "usd", True)


class Peer:
    """A process at the store, with what it was told of epochs."""

    def __init__(self, server: RedisServer, deadline_s: float) -> None:
        self.epochs: list[str] = []
        self.store = RedisStore(server.url, on_epoch=self.epochs.append, deadline_s=deadline_s)
        self.member = self.store.member
        self.running = asyncio.create_task(self.member.run())

    async def reserve(self, name: str, amount: int) -> object:
        return await self.store.reserve(name, [claim(amount)], time.time(), LATER, b"{}")

    async def figures(self) -> tuple[int, int]:
        (standing,) = await self.store.standings_of([claim(0)])
        return standing.spent, standing.reserved

    async def joins(self, count: int) -> None:
        """Until it has joined that many epochs, the last one whole."""
        while len(self.epochs) < count or not self.member.joined.is_set():
            await asyncio.sleep(0.005)


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
async def peer(redis: RedisServer) -> AsyncIterator[Peer]:
    made = await _open(redis, 0.2)
    yield made
    made.running.cancel()
    await made.member.close()


async def _open(redis: RedisServer, deadline_s: float) -> Peer:
    made = Peer(redis, deadline_s)
    await made.joins(1)
    await made.member.open(made.member.epoch)
    return made


async def test_nothing_is_granted_before_the_counters_are_rebuilt(redis: RedisServer) -> None:
    peer = Peer(redis, 1)
    await peer.joins(1)
    with pytest.raises(StoreUnavailable):
        await peer.reserve("a", 1)
    await peer.member.seed(peer.member.epoch, "recovering", "part", "usd:0:b", None, [("", 70, 0)])
    await peer.member.seed(peer.member.epoch, "recovering", "part", "usd:0:b", None, [("", 70, 0)])
    await peer.member.open(peer.member.epoch)
    assert isinstance(await peer.reserve("a", 31), Denied)
    assert isinstance(await peer.reserve("b", 30), Granted)
    peer.running.cancel()
    await peer.member.close()


async def test_a_frozen_store_costs_each_call_its_deadline_once_and_then_nothing(redis: RedisServer) -> None:
    peer = await _open(redis, 0.05)
    redis.freeze()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await peer.reserve("a", 1)
    waited = time.monotonic() - began
    with pytest.raises(StoreUnavailable):
        await peer.reserve("b", 1)
    assert time.monotonic() - began - waited < 0.01
    assert 0.03 < waited < 1
    redis.thaw()
    await asyncio.wait_for(peer.member.ready.wait(), 5)
    assert peer.epochs == [peer.member.epoch]  # nothing was lost: the same epoch goes on
    assert await peer.figures() == (0, 0)  # whether or not "a" arrived after all
    peer.running.cancel()
    await peer.member.close()


async def test_ends_that_could_not_be_delivered_are_delivered_later(redis: RedisServer, peer: Peer) -> None:
    for name in ("a", "b"):
        await peer.reserve(name, 30)
    redis.freeze()
    assert await peer.store.settle("a", [20]) is None
    assert await peer.store.release("b") is None
    assert await peer.store.charge("c", [claim(5)], [5]) is None
    redis.thaw()
    await asyncio.wait_for(peer.member.ready.wait(), 5)
    assert await peer.figures() == (25, 0)


@pytest.mark.parametrize("trouble", ["flushed", "restarted"])
async def test_open_reservations_go_into_the_new_epoch(redis: RedisServer, peer: Peer, trouble: str) -> None:
    """A store that forgot is not asked until it is rebuilt; what is open is put there again, and settles there once."""
    await peer.reserve("a", 30)
    await peer.reserve("b", 20)
    await peer.store.settle("b", [20])
    if trouble == "flushed":
        redis.flush()
    else:
        redis.down()
        redis.up()
    with pytest.raises(StoreUnavailable):
        await peer.reserve("c", 1)  # what is lost is noticed at the latest by the next verb
    await peer.joins(2)
    assert not peer.member.ready.is_set()
    await peer.member.seed(peer.member.epoch, "recovering", "ledger", "usd:0:b", None, [("", 20, 0)])
    await peer.member.open(peer.member.epoch)
    assert await peer.figures() == (20, 30)
    assert await peer.store.settle("a", [25]) == "settled"
    assert await peer.figures() == (45, 0)


async def test_a_saved_copy_that_is_older_is_not_believed(tmp_path: Path) -> None:
    """As after a fail-over to a replica that lagged: the keys are there, but not all that was acknowledged."""
    with RedisServer(tmp_path) as redis:
        peer = await _open(redis, 0.2)
        redis.say("SAVE")
        await peer.reserve("a", 100)
        await peer.store.settle("a", [100])
        redis.down()
        redis.up()
        await peer.joins(2)
        await peer.member.seed(peer.member.epoch, "recovering", "ledger", "usd:0:b", None, [("", 100, 0)])
        await peer.member.open(peer.member.epoch)
        assert isinstance(await peer.reserve("b", 1), Denied)
        peer.running.cancel()
        await peer.member.close()


async def test_what_is_settled_while_it_is_restored_counts_once(redis: RedisServer, peer: Peer) -> None:
    """Many are open when the epoch changes; some end before they are put into the new one."""
    for number in range(400):
        await peer.store.reserve(f"r{number}", [claim(1, limit=1000)], time.time(), LATER, b"{}")
    redis.flush()
    while len(peer.epochs) < 2:
        with pytest.raises(StoreUnavailable):
            await peer.reserve("x", 1)
        await asyncio.sleep(0)
    for number in range(0, 400, 2):
        await peer.store.settle(f"r{number}", [1])
    await peer.joins(2)
    await peer.member.open(peer.member.epoch)
    await peer.member.deliver()
    assert await peer.figures() == (200, 200)


async def test_scripts_that_were_flushed_are_loaded_again(redis: RedisServer, peer: Peer) -> None:
    redis.say("SCRIPT", "FLUSH")
    assert isinstance(await peer.reserve("a", 1), Granted)


async def test_a_server_that_may_evict_is_not_used(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--save", "", "--maxmemory-policy", "allkeys-lru") as redis:
        peer = Peer(redis, 0.2)
        await asyncio.sleep(0.3)
        assert not peer.member.joined.is_set()
        with pytest.raises(StoreUnavailable):
            await peer.reserve("a", 1)
        peer.running.cancel()
        await peer.member.close()


async def test_room_that_another_process_makes_wakes_who_waits_here(redis: RedisServer, peer: Peer) -> None:
    other = Peer(redis, 1)
    await other.joins(1)
    await asyncio.wait_for(other.member.ready.wait(), 5)
    await other.reserve("a", 100)
    assert isinstance(await peer.reserve("b", 50), Denied)
    waiting = asyncio.create_task(peer.store.wait_for_room("b", [claim(50)], timeout_s=5))
    await other.store.settle("a", [10])
    assert await waiting is True
    assert isinstance(await peer.reserve("b", 50), Granted)
    other.running.cancel()
    await other.member.close()


async def test_two_processes_never_grant_more_than_the_limit(redis: RedisServer, peer: Peer) -> None:
    other = Peer(redis, 1)
    await other.joins(1)
    await asyncio.wait_for(other.member.ready.wait(), 5)
    answers = await asyncio.gather(*[(peer, other)[n % 2].reserve(f"r{n}", 3) for n in range(200)])
    assert sum(isinstance(answer, Granted) for answer in answers) == 33
    other.running.cancel()
    await other.member.close()


async def test_what_a_session_has_cost_is_known_to_all(redis: RedisServer, peer: Peer) -> None:
    other = Peer(redis, 1)
    await other.joins(1)
    assert await peer.store.session_cost("t", "s", 40) == 40
    assert await other.store.session_cost("t", "s", 2) == 42
    assert await other.store.session_cost("other", "s", 1) == 1
    other.running.cancel()
    await other.member.close()
