"""The shared store before the ledger is open: who may count in it at once, and a first epoch that is opened with nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.budgets.budget import compile_budgets
from proxy.budgets.redis.store import RedisStore
from proxy.budgets.store import Granted
from proxy.control import first_epoch as subject
from proxy.control.first_epoch import FirstEpoch, first_epoch
from proxy.control.first_snapshot import Counted
from proxy.ledger.planes.definitions import definitions, take_definitions
from proxy.times import now_s
from tests.support.redis import RedisServer
from tests.support.spooled import append, intent, settle
from tests.unit.control.test_rebuilding import CLAIM, NARROW, B, Instance, data_plane

pytestmark = pytest.mark.needs("redis-server")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no store that is away."""
    monkeypatch.setattr(subject, "_ANSWERS_S", 60.0)
    monkeypatch.setattr(subject, "_JOINED_S", 60.0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


@pytest.fixture
async def a(tmp_path: Path, server: RedisServer) -> AsyncIterator[Instance]:
    made = Instance(tmp_path, "a", server, [B])
    yield made
    await made.end()


@asynccontextmanager
async def looked(instance: Instance, *, new: bool = False) -> AsyncIterator[FirstEpoch]:
    """As a start does it whose spool is empty. new: the ledger is."""
    budgets = compile_budgets(instance.config.budgets)
    taken = {name: one.since for name, one in definitions(instance.engine).items()}
    async with first_epoch(instance.config, Counted(budgets, None if new else taken)) as epoch:
        yield epoch


async def stopped(a: Instance) -> None:
    """It has served with its budgets as they are, and was stopped."""
    take_definitions(a.engine, compile_budgets(a.config.budgets), now_s())
    await a.begin()
    await a.opens()
    await a.shared.seed()
    await a.end()


async def test_where_nothing_was_ever_spent_the_first_epoch_opens_and_counts_once(a: Instance) -> None:
    """What is spent before the ledger is open, and what it says then of the same calls, is one sum."""
    store, writer, running = await data_plane(a, "w")
    async with looked(a, new=True) as epoch:
        assert await epoch.is_of_this_ledger()
        assert not store.member.ready.is_set()
        await epoch.open(a.spool, 1)
    await asyncio.wait_for(store.member.ready.wait(), 5)
    one = intent(budgets=[["b", "", 0, "usd", 300]])
    append(writer, one)
    granted = await store.reserve(one["id"], [CLAIM._replace(amount=300)], time.time(), time.time() + 99, b"{}")
    assert isinstance(granted, Granted)
    append(writer, settle(one, 100, epoch=store.epoch))
    await store.settle(one["id"], [100])

    take_definitions(a.engine, compile_budgets(a.config.budgets), now_s())
    await a.begin()
    await a.shipped(1)
    await a.shared.seed()
    assert await a.figures() == (100, 0)
    assert a.shared.store.epoch == store.epoch
    running.cancel()
    await store.close()


@pytest.mark.parametrize("joins", [0, 1], ids=["none", "one of two"])
async def test_it_waits_for_each_data_plane(a: Instance, monkeypatch: pytest.MonkeyPatch, joins: int) -> None:
    """One that has not joined could have served without the store, and told nobody."""
    monkeypatch.setattr(subject, "_JOINED_S", 0.3)
    planes: Sequence[tuple[RedisStore, object, asyncio.Task[None]]] = [
        await data_plane(a, f"w{number}") for number in range(joins)
    ]
    async with looked(a, new=True) as epoch:
        assert await epoch.is_of_this_ledger()
        await epoch.open(a.spool, 2)
    assert "recovering" in a.server.say("GET", "tm1:epoch")
    for store, _, running in planes:
        running.cancel()
        await store.close()


async def test_an_epoch_that_goes_on_by_the_same_definitions_can_be_counted_in(a: Instance) -> None:
    await stopped(a)
    before = a.server.say("GET", "tm1:epoch")
    assert " open " in before
    async with looked(a) as epoch:
        assert await epoch.is_of_this_ledger()
        await epoch.open(a.spool, 1)
    assert a.server.say("GET", "tm1:epoch") == before


async def test_an_epoch_whose_counters_are_not_those_of_the_definitions_is_left_alone(a: Instance) -> None:
    await stopped(a)
    a.config = a.configured([NARROW])
    take_definitions(a.engine, compile_budgets(a.config.budgets), now_s())  # and Redis was not told
    async with looked(a) as epoch:
        assert not await epoch.is_of_this_ledger()


async def test_an_epoch_that_has_counted_is_not_a_new_ledgers(a: Instance) -> None:
    await stopped(a)
    async with looked(a, new=True) as epoch:
        assert not await epoch.is_of_this_ledger()


async def test_an_epoch_that_is_to_be_made_of_a_ledger_is_left_alone(a: Instance) -> None:
    take_definitions(a.engine, compile_budgets(a.config.budgets), now_s())
    async with looked(a) as epoch:
        assert not await epoch.is_of_this_ledger()


async def test_a_store_that_is_away_is_not_waited_for(a: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_ANSWERS_S", 0.2)
    a.server.down()
    async with looked(a) as epoch:
        assert not await epoch.is_of_this_ledger()
    a.server.up()
