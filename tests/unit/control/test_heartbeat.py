"""Which instances live: one that leaves, one whose machine's clock is wrong, and one that stood still for longer than others wait."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.budgets.store import StoreUnavailable
from proxy.control.heartbeat import Heartbeat
from proxy.ledger.database import open_ledger
from proxy.ledger.planes import instances
from tests.support.redis import RedisServer
from tests.support.spooled import append, intent, settle
from tests.unit.control.test_rebuilding import CLAIM, B, Instance, data_plane

pytestmark = pytest.mark.needs("redis-server")


@pytest.fixture
async def a(tmp_path: Path) -> AsyncIterator[Instance]:
    with RedisServer(tmp_path) as server:
        made = Instance(tmp_path, "a", server, [B])
        yield made
        await made.end()


async def freeze(one: Instance) -> None:
    """It was heard of last long ago."""
    one.recorder_may_step.clear()
    one.tasks[0].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await one.tasks[0]
    long_ago = time.time() - one.config.server.max_call_s - 60
    instances.beat(one.engine, one.name, int(long_ago * 1e6))


@pytest.mark.parametrize("has_shipped", [True, False])
async def test_what_it_ships_behind_an_epoch_that_was_opened_without_it_is_counted_there(
    tmp_path: Path,
    a: Instance,
    has_shipped: bool,
) -> None:
    b = Instance(tmp_path, "b", a.server, [B])
    await asyncio.gather(a.begin(), b.begin())
    store, writer, running = await data_plane(b, "w")
    await asyncio.wait_for(store.member.ready.wait(), 5)
    calls = [intent(budgets=[["b", "", 0, "usd", amount]]) for amount in (100, 300)]
    for one, amount in zip(calls, (100, 300), strict=True):
        append(writer, one)
        await store.reserve(one["id"], [CLAIM._replace(amount=amount)], time.time(), time.time() + 99, b"{}")
    if has_shipped:
        append(writer, settle(calls[0], 100, epoch=store.epoch))
        await store.settle(calls[0]["id"], [100])
        await b.shipped(1)
    await freeze(b)
    append(writer, settle(calls[1], 300, epoch=store.epoch))
    await store.settle(calls[1]["id"], [300])
    running.cancel()
    await store.member.close()
    before = a.shared.store.epoch
    a.server.flush()
    async with asyncio.timeout(10):
        while a.shared.store.epoch == before or not a.shared.store.member.ready.is_set():
            await asyncio.gather(a.shared.store.sweep(0), return_exceptions=True)
            await asyncio.sleep(0.01)
    b.recorder_may_step.set()  # it goes on where it stood, and knows of nothing yet
    await asyncio.sleep(0.1)
    b.tasks[0] = asyncio.create_task(b.shared.run())
    await b.shipped(2 if has_shipped else 1)
    figures, expected = (0, 0), (400 if has_shipped else 300, 0)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while figures != expected:
                await asyncio.sleep(0.05)
                with contextlib.suppress(StoreUnavailable):  # it is rebuilt once more
                    figures = await a.figures()
    assert figures == expected
    await b.end()


async def test_a_heartbeat_that_is_on_its_way_is_not_heard_behind_the_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a stopped instance would be waited for, by all who rebuild, until its last reservation would be over."""
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    heartbeat, beat, may_go_on = Heartbeat(engine, "a"), instances.beat, threading.Event()
    await heartbeat.beat()
    late = threading.Event()

    def slow(*said: object) -> None:
        late.set()
        may_go_on.wait(10)
        beat(*said)  # type: ignore[arg-type]

    monkeypatch.setattr(instances, "beat", slow)
    beating = asyncio.create_task(heartbeat.beat())
    assert await asyncio.to_thread(late.wait, 10)
    beating.cancel()  # its thread goes on
    leaving = asyncio.create_task(heartbeat.leave())
    done, _ = await asyncio.wait([leaving], timeout=0.2)
    assert not done
    may_go_on.set()
    await leaving
    assert instances.heard_since(engine, 0) == set()
    await heartbeat.beat()
    assert instances.heard_since(engine, 0) == set()
    engine.dispose()


def test_who_lives_is_told_by_the_database_servers_clock(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a virtual machine which was restored may be hours behind; instances that share a file share a machine."""
    monkeypatch.setattr(instances, "now_us", lambda: 0)
    engine = open_ledger(database)
    shared = instances.shared_now_us(engine) / 1e6
    assert abs(shared - (time.time() if engine.dialect.name == "postgresql" else 0)) < 3600
    engine.dispose()
