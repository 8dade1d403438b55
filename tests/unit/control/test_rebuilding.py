"""The control process's part in shared budgets: counters are rebuilt when everybody has reported, and lost ends are counted."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from proxy.budgets.budget import compile_budgets
from proxy.budgets.redis import member
from proxy.budgets.redis.member import Held
from proxy.budgets.redis.store import RedisStore
from proxy.budgets.store import Denied, Granted, StoreUnavailable
from proxy.cli.corrections import write_corrections
from proxy.config.checks import load_config
from proxy.config.model import Config
from proxy.control import rebuilding
from proxy.control.dropping import drop_groups
from proxy.control.rebuilding import SharedBudgets
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.corrections import repricing_of
from proxy.ledger.entries.entry import entry_of
from proxy.ledger.planes import instances
from proxy.ledger.planes.counters import ended_amounts, spent, sums
from proxy.ledger.planes.definitions import definitions, take_definitions
from proxy.ledger.recording.recorder import Recorder
from proxy.ledger.schema import budget_bases, budget_spend
from proxy.spool.writer import SpoolWriter
from proxy.times import now_s
from proxy.types import Claim
from tests.support.redis import RedisServer
from tests.support.spooled import Counts, append, intent, settle

pytestmark = pytest.mark.needs("redis-server")
B = {"name": "b", "limit_usd": "0.000001", "window": "total"}  # 1,000 nano-USD
NARROW = B | {"match": {"team": ["t"]}}
CLAIM = Claim("b", "", 0, None, 1000, 0, "usd", True)


class Instance:
    """One instance: its spool, its recorder, its part in the shared store."""

    def __init__(self, folder: Path, name: str, server: RedisServer, budgets: list[dict[str, Any]]) -> None:
        self.folder, self.name, self.server = folder, name, server
        self.spool = folder / name / "spool"
        self.spool.mkdir(parents=True, exist_ok=True)
        self.engine = open_ledger(f"sqlite:///{folder}/ledger.db")
        self.config = self.configured(budgets)
        self.shared = SharedBudgets(
            lambda: self.config, lambda: compile_budgets(self.config.budgets), self.engine, name
        )
        self.recorder = Recorder(self.engine, self.spool, instance=name, metrics=Counts(), gate=self.shared)
        self.shared.recorder = self.recorder
        self.tasks: list[asyncio.Task[Any]] = []
        self.recorder_may_step = asyncio.Event()
        self.recorder_may_step.set()

    def configured(self, budgets: list[dict[str, Any]]) -> Config:
        file = self.folder / f"{self.name}.yaml"
        file.write_text(yaml.safe_dump({"store": self.server.url, "budgets": budgets}))
        return load_config(file, {})[0]

    async def begin(self) -> None:
        await self.shared.heartbeat.beat()
        self.tasks = [asyncio.create_task(self.shared.run()), asyncio.create_task(self._ship())]

    async def _ship(self) -> None:
        while True:
            await self.recorder_may_step.wait()
            await asyncio.to_thread(self.recorder.step)
            await asyncio.sleep(0.01)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.shared.leave()

    async def opens(self, timeout_s: float = 5.0) -> None:
        await asyncio.wait_for(self.shared.store.member.ready.wait(), timeout_s)

    async def figures(self, claim: Claim = CLAIM) -> tuple[int, int]:
        (standing,) = await self.shared.store.standings_of([claim])
        return standing.spent, standing.reserved

    async def shipped(self, entries: int) -> None:
        query = sa.text("SELECT count(*) FROM entries")
        while True:
            with self.engine.connect() as connection:
                if (connection.execute(query).scalar() or 0) >= entries:
                    return
            await asyncio.sleep(0.01)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


@pytest.fixture
async def a(tmp_path: Path, server: RedisServer) -> AsyncIterator[Instance]:
    made = Instance(tmp_path, "a", server, [B])
    yield made
    await made.end()


def spend(instance: Instance, amount: int, budget: str = "b", table: sa.Table = budget_spend) -> None:
    with instance.engine.begin() as connection:
        row = {"budget": budget, "group": "", "window_start": 0, "measure": "usd", "amount": amount}
        connection.execute(sa.insert(table).values(row))


def says_base(instance: Instance, amount: int) -> None:
    """As the base of the definition in force, of a ledger without entries."""
    with instance.engine.begin() as connection:
        connection.execute(sa.delete(budget_bases))
    spend(instance, amount, table=budget_bases)


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        return await asyncio.wait_for(event.wait(), seconds)
    return False


async def data_plane(instance: Instance, worker: str) -> tuple[RedisStore, SpoolWriter, asyncio.Task[None]]:
    writer = SpoolWriter(instance.spool, worker)

    async def joined(_: str) -> None:
        await store.member.command("SADD", store.member.name("joined"), writer.run)

    store = RedisStore(
        instance.server.url,
        on_epoch=lambda epoch: append(writer, {"t": "epoch", "epoch": epoch}),
        on_joined=joined,
        deadline_s=1,
    )
    return store, writer, asyncio.create_task(store.member.run())


async def test_an_empty_store_is_filled_from_the_ledger(a: Instance) -> None:
    spend(a, 700)
    spend(a, 50, table=budget_bases)  # from before the budget was defined as it is
    await a.begin()
    await a.opens()
    assert await a.figures() == (750, 0)


async def test_who_waits_is_told_that_an_epoch_opens_and_that_another_begins(
    a: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks by himself within this test: not the data plane, nor the control process once it is at rest."""
    monkeypatch.setattr(member, "_PAUSE_S", 3600.0)
    monkeypatch.setattr(rebuilding, "_AT_REST_S", 3600.0)
    store, _, running = await data_plane(a, "w")
    await asyncio.wait_for(store.member.joined.wait(), 5)
    await a.begin()
    await asyncio.wait_for(store.member.ready.wait(), 5)
    first = store.epoch
    await a.shared.store.member.renew(first)
    async with asyncio.timeout(5):
        while store.epoch == first or not store.member.ready.is_set():
            await asyncio.sleep(0.01)
    assert store.epoch == a.shared.store.epoch
    running.cancel()
    await store.close()


async def test_nothing_opens_before_every_living_instance_has_reported(tmp_path: Path, a: Instance) -> None:
    b = Instance(tmp_path, "b", a.server, [B])
    await b.shared.heartbeat.beat()  # it lives, and says nothing yet
    await a.begin()
    with pytest.raises(TimeoutError):
        await a.opens(0.6)
    await b.begin()
    await a.opens()
    await b.opens()
    await b.end()


async def test_who_was_silent_for_longer_than_a_reservation_stands_is_not_waited_for(a: Instance) -> None:
    long_ago = time.time() - a.config.server.max_call_s - 60
    instances.beat(a.engine, "gone", int(long_ago * 1e6))
    await a.begin()
    await a.opens()
    assert await a.figures() == (0, 0)


async def test_an_instance_that_left_is_not_waited_for(tmp_path: Path, a: Instance) -> None:
    b = Instance(tmp_path, "b", a.server, [B])
    await b.shared.heartbeat.beat()
    await b.end()
    await a.begin()
    await a.opens()
    assert await a.figures() == (0, 0)


async def test_a_flush_costs_no_settlement_and_no_reservation(a: Instance) -> None:
    """What was settled before comes from the ledger, what is open from its data plane, what settles later counts once."""
    await a.begin()
    store, writer, running = await data_plane(a, "w")
    await asyncio.wait_for(store.member.ready.wait(), 5)
    first, second = intent(budgets=[["b", "", 0, "usd", 300]]), intent(budgets=[["b", "", 0, "usd", 400]])
    for one, amount in ((first, 300), (second, 400)):
        append(writer, one)
        granted = await store.reserve(one["id"], [CLAIM._replace(amount=amount)], time.time(), time.time() + 99, b"{}")
        assert isinstance(granted, Granted)
    append(writer, settle(first, 100, epoch=store.epoch))
    await store.settle(first["id"], [100])
    a.server.flush()
    before = store.epoch
    while store.epoch == before:
        await asyncio.sleep(0.01)
        await asyncio.gather(store.sweep(0), return_exceptions=True)
    append(writer, settle(second, 50, epoch=store.epoch))  # while the counters are being rebuilt
    await store.settle(second["id"], [50])
    await asyncio.wait_for(store.member.ready.wait(), 5)
    await a.shipped(2)
    assert await a.figures() == (150, 0)
    denied = await store.reserve("c", [CLAIM._replace(amount=851)], time.time(), time.time() + 99, b"{}")
    assert isinstance(denied, Denied)
    running.cancel()
    await store.member.close()


async def test_a_flush_while_a_batch_is_being_committed_loses_nothing_of_it(a: Instance) -> None:
    """The ledger is slow: what stands before the marker is read, and not in its sums yet."""
    await a.begin()
    store, writer, running = await data_plane(a, "w")
    await asyncio.wait_for(store.member.ready.wait(), 5)
    a.recorder_may_step.clear()
    for amount in (100, 200, 300):
        one = intent(budgets=[["b", "", 0, "usd", amount]])
        append(writer, one)
        await store.reserve(one["id"], [CLAIM._replace(amount=amount)], time.time(), time.time() + 99, b"{}")
        append(writer, settle(one, amount, epoch=store.epoch))
        await store.settle(one["id"], [amount])
    a.server.flush()
    before = store.epoch
    while store.epoch == before:
        await asyncio.sleep(0.01)
        await asyncio.gather(store.sweep(0), return_exceptions=True)
    await asyncio.wait_for(store.member.joined.wait(), 5)
    with a.engine.connect().execution_options(writes=True) as busy, busy.begin():
        a.recorder_may_step.set()  # it reads all of it, and the marker behind it
        opened_too_early = await is_set_within(store.member.ready, 1)
    assert not opened_too_early
    await asyncio.wait_for(store.member.ready.wait(), 10)
    assert await a.figures() == (600, 0)
    running.cancel()
    await store.member.close()


async def test_a_flush_during_a_rebuild_does_not_take_the_sums_of_the_first(
    a: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sums were read before what stands before the second marker was in the ledger."""
    await a.begin()
    store, writer, running = await data_plane(a, "w")
    await asyncio.wait_for(store.member.ready.wait(), 5)
    reading, go_on = threading.Event(), threading.Event()

    def slow(*question: Any) -> dict[str, Any]:
        found = sums(*question)
        if not reading.is_set():
            reading.set()
            go_on.wait(10)
        return found

    monkeypatch.setattr(rebuilding, "sums", slow)
    a.server.flush()
    await asyncio.gather(store.sweep(0), return_exceptions=True)
    assert await asyncio.to_thread(reading.wait, 10)
    a.recorder_may_step.clear()
    first = store.epoch
    one = intent(budgets=[["b", "", 0, "usd", 400]])
    append(writer, one, settle(one, 400, epoch=first))  # begun before, ended in the epoch that is being rebuilt
    a.server.flush()
    while store.epoch == first or a.shared.store.epoch == first:
        await asyncio.sleep(0.01)
        await asyncio.gather(store.sweep(0), a.shared.store.sweep(0), return_exceptions=True)
    await asyncio.wait_for(store.member.joined.wait(), 5)
    go_on.set()
    opened_too_early = await is_set_within(store.member.ready, 1)
    a.recorder_may_step.set()
    assert not opened_too_early
    await asyncio.wait_for(store.member.ready.wait(), 10)
    assert await a.figures() == (400, 0)
    running.cancel()
    await store.member.close()


async def test_a_ledger_that_is_an_older_copy_gets_what_it_lacks_and_then_counters_are_made_of_it(a: Instance) -> None:
    """What was counted in an earlier epoch, and is shipped again, must not be counted twice."""
    await a.begin()
    store, writer, running = await data_plane(a, "w")
    await asyncio.wait_for(store.member.ready.wait(), 5)

    async def spend_some(amount: int) -> None:
        one = intent(budgets=[["b", "", 0, "usd", amount]])
        append(writer, one)
        await store.reserve(one["id"], [CLAIM._replace(amount=amount)], time.time(), time.time() + 99, b"{}")
        append(writer, settle(one, amount, epoch=store.epoch))
        await store.settle(one["id"], [amount])

    async def next_epoch(before: str) -> None:
        while store.epoch == before or not store.member.ready.is_set():
            await asyncio.sleep(0.01)
            await asyncio.gather(store.sweep(0), return_exceptions=True)

    await spend_some(100)
    await a.shipped(1)
    a.recorder_may_step.clear()
    await asyncio.sleep(0.1)  # the step that runs, if one does
    a.engine.dispose()
    older = a.folder / "older.db"
    shutil.copy(a.folder / "ledger.db", older)
    a.recorder_may_step.set()
    await spend_some(200)
    await a.shipped(2)
    first = store.epoch
    a.server.flush()
    await next_epoch(first)
    assert await a.figures() == (300, 0)
    a.recorder_may_step.clear()
    await asyncio.sleep(0.1)
    a.engine.dispose()
    for ending in ("-wal", "-shm"):
        (a.folder / f"ledger.db{ending}").unlink(missing_ok=True)
    shutil.move(older, a.folder / "ledger.db")
    second = store.epoch
    a.recorder_may_step.set()
    await spend_some(50)
    await next_epoch(second)
    await a.shipped(3)
    assert await a.figures() == (350, 0)
    running.cancel()
    await store.member.close()


async def test_what_a_crash_left_is_counted_where_it_was_reserved(a: Instance) -> None:
    await a.begin()
    store, writer, running = await data_plane(a, "w")
    await asyncio.wait_for(store.member.ready.wait(), 5)
    lost, told = intent(budgets=[["b", "", 0, "usd", 300]]), intent(budgets=[["b", "", 0, "usd", 200]])
    for one, amount in ((lost, 300), (told, 200)):
        append(writer, one)
        await store.reserve(one["id"], [CLAIM._replace(amount=amount)], time.time(), time.time() + 99, b"{}")
    append(writer, settle(told, 20, epoch=store.epoch))  # killed before the store heard of it
    running.cancel()
    store.member._hang_up()
    writer.close()
    await a.shipped(2)
    for _ in range(200):
        if await a.figures() == (320, 0):
            break
        await asyncio.sleep(0.01)
    assert await a.figures() == (320, 0)


async def test_an_end_in_the_ledger_that_the_store_never_heard_is_told_when_both_planes_had_died(
    tmp_path: Path, a: Instance, server: RedisServer
) -> None:
    """Whoever begins again reads nothing of it any more: the checkpoint is behind it."""
    await a.begin()
    store, writer, running = await data_plane(a, "w")
    await asyncio.wait_for(store.member.ready.wait(), 5)
    ended, runs = intent(budgets=[["b", "", 0, "usd", 200]]), intent(budgets=[["b", "", 0, "usd", 30]])
    for one, amount in ((ended, 200), (runs, 30)):
        append(writer, one)
        await store.reserve(one["id"], [CLAIM._replace(amount=amount)], time.time(), time.time() + 99, b"{}")
    append(writer, settle(ended, 20, epoch=store.epoch))
    await a.shipped(1)
    assert await a.figures() == (0, 230)
    await a.end()
    running.cancel()
    store.member._hang_up()
    writer.close()
    again = Instance(tmp_path, "a", server, [B])
    await again.begin()
    await again.opens()
    await again.shipped(2)
    while (await again.figures())[1]:
        await asyncio.sleep(0.01)
    assert await again.figures() == (50, 0)
    with again.engine.begin() as connection:  # a job's entry is there from its beginning
        assert ended_amounts(again.engine, [ended["id"]]) == {ended["id"]: [20]}
        connection.execute(sa.text("UPDATE entries SET status = 'running' WHERE id = :id"), {"id": ended["id"]})
    assert ended_amounts(again.engine, [ended["id"]]) == {}
    await again.end()


async def test_a_new_budget_is_seeded_once(a: Instance) -> None:
    await a.begin()
    await a.opens()
    spend(a, 500, "new")
    a.config = a.configured([B, B | {"name": "new"}])
    await a.shared.seed()
    await a.shared.seed()
    assert await a.figures(CLAIM._replace(budget="new")) == (500, 0)


async def test_standings_are_the_stores(a: Instance) -> None:
    await a.begin()
    await a.opens()
    claim = CLAIM._replace(amount=10)
    await a.shared.store.reserve("x", [claim], time.time(), time.time() + 99, b"{}")
    await a.shared.store.charge("y", [claim], [7])
    (row,) = await a.shared.standings()
    assert (row["budget"], row["limit"], row["spent"], row["reserved"]) == ("b", 1000, 7, 10)


async def test_the_keys_of_an_epoch_that_is_over_are_dropped(a: Instance) -> None:
    """Conversations are no epoch's: another worker goes on with one that was under way."""
    a.server.say("SET", "tm1:old:s:x", "1")
    a.server.say("SET", "mine", "1")
    store, _, running = await data_plane(a, "w")
    await asyncio.wait_for(store.member.joined.wait(), 60)
    store.note_session(["name"], "session")
    await a.begin()
    await a.opens()
    while "tm1:old" in a.server.say("KEYS", "*"):
        await asyncio.sleep(0.01)
    assert "mine" in a.server.say("KEYS", "*")
    assert await store.noted_sessions(["name"]) == ["session"]
    running.cancel()
    await store.close()


def sessions(a: Instance, count: int) -> None:
    """So many are in the ledger, each with what its number says."""
    with a.engine.begin() as connection:
        rows = [
            {"budget": "s", "group": f"s-{n}", "window_start": 0, "measure": "usd", "amount": n} for n in range(count)
        ]
        connection.execute(budget_spend.insert(), rows)


SESSIONS = B | {"name": "s", "per": ["session"]}


async def fields(a: Instance) -> int:
    member = a.shared.store.member
    return int(await member.command("HLEN", member.name("s:usd:0:s")))


async def test_groups_without_an_end_do_not_pile_up_in_redis(a: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the ledger has all of are dropped, and what is told of all is as before; who comes back has what was left."""
    monkeypatch.setattr(rebuilding, "MOST_GROUPS", 1000)
    a.config = a.configured([SESSIONS])
    sessions(a, 900)
    await a.begin()
    await a.opens()
    claim = CLAIM._replace(budget="s", amount=1)
    for number in range(200):  # what the ledger does not have yet
        await a.shared.store.charge(f"new-{number}", [claim._replace(group=f"new-{number}")], [5])
    assert await fields(a) == 1100
    before = await a.shared._read_standings()
    assert await drop_groups(a.shared.store, a.engine, 1000) >= 600
    assert 200 <= await fields(a) <= 500
    assert sorted(map(str, await a.shared._read_standings())) == sorted(map(str, before))
    assert await a.figures(claim._replace(group="s-899")) == (899, 0)
    busy = claim._replace(group="s-898", amount=200)
    assert isinstance(await a.shared.store.reserve("x", [busy], time.time(), time.time() + 99, b"{}"), Denied)
    assert await drop_groups(a.shared.store, a.engine, 1000) == 0


async def test_a_new_epoch_has_those_that_are_in_use_and_asks_the_ledger_for_the_others(
    a: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "MOST_GROUPS", 1000)
    a.config = a.configured([SESSIONS])
    sessions(a, 1500)
    running = CLAIM._replace(budget="s", group="s-700", amount=250)
    await a.begin()
    a.shared.store.member.held["x"] = Held([running], [250], None, time.time() + 99, b"{}")
    await a.opens()
    assert await a.figures(running) == (700, 250)
    assert await fields(a) == 1
    assert await a.shared.store.settle("x", [100]) == "settled"
    assert await a.figures(running) == (800, 0)
    assert await a.figures(running._replace(group="s-999")) == (999, 0)
    assert len(await a.shared._read_standings()) == 1500
    await a.shared.seed()
    assert await a.figures(running._replace(group="s-999")) == (999, 0)


async def test_a_budget_that_is_redefined_before_the_store_is_reached_begins_with_what_the_ledger_says(
    a: Instance, tmp_path: Path, server: RedisServer
) -> None:
    """At a start nobody has a connection yet: it is asked for again, and not given up."""
    await a.begin()
    await a.opens()
    assert await a.figures() == (0, 0)
    await a.end()
    again = Instance(tmp_path, "a", server, [NARROW])
    assert take_definitions(a.engine, again.shared._budgets(), now_s()) == ["b"]
    spend(a, 300, table=budget_bases)  # which counts in it as it is defined now
    await again.shared.heartbeat.beat()
    seeding = asyncio.create_task(again.shared.seed())
    await asyncio.sleep(0)  # it is refused once
    await again.begin()
    await again.opens()
    await asyncio.wait_for(seeding, 5)
    assert await again.figures() == (300, 0)
    await again.end()


async def spend_unshipped(instance: Instance, store: RedisStore, amount: int) -> None:
    """A call that the store knows to its end, and the ledger not yet."""
    one = intent(budgets=[["b", "", 0, "usd", amount]])
    await store.reserve(one["id"], [CLAIM._replace(amount=amount)], time.time(), time.time() + 99, b"{}")
    await store.settle(one["id"], [amount])


@pytest.mark.parametrize("rebuilt_by", ["itself", "another"])
async def test_what_is_counted_before_the_first_definitions_are_seeded_stays(
    a: Instance, tmp_path: Path, server: RedisServer, rebuilt_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a first start every budget is new, and calls do not wait: a store that loses replies comes to it late."""
    b = Instance(tmp_path, "b", server, [B])
    assert take_definitions(a.engine, a.shared._budgets(), now_s()) == ["b"]
    seed = a.shared._seed
    if rebuilt_by == "another":

        async def later(epoch: str, budgets: Any, at_s: float, state: str) -> None:
            if state == "recovering":
                raise StoreUnavailable
            await seed(epoch, budgets, at_s, state)

        monkeypatch.setattr(a.shared, "_seed", later)
        await b.begin()
    await a.begin()
    store, _, running = await data_plane(a, "w")
    await asyncio.wait_for(store.member.ready.wait(), 5)
    await spend_unshipped(a, store, 100)
    await asyncio.wait_for(a.shared.seed(), 5)
    await a.opens()
    assert await a.figures() == (100, 0)
    running.cancel()
    await store.member.close()
    await b.end()


async def test_a_definition_that_comes_later_is_seeded_once(a: Instance) -> None:
    take_definitions(a.engine, a.shared._budgets(), now_s())
    await a.begin()
    await a.opens()
    a.config = a.configured([B | {"per": ["team"]}])
    assert take_definitions(a.engine, a.shared._budgets(), now_s()) == ["b"]
    spend(a, 300, table=budget_bases)
    await a.shared.seed()
    assert await a.figures() == (300, 0)
    await a.shared.store.charge("x", [CLAIM], [100])
    await a.shared.seed()  # the last answer of the first time was lost, for example
    assert await a.figures() == (400, 0)


async def test_nothing_goes_of_what_is_being_added_up(a: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget that is redefined during a rebuild waits for its end."""
    spend(a, 700)
    added, go_on = asyncio.Event(), asyncio.Event()
    member = a.shared.store.member
    member_open = member.open

    async def late(*opened: Any) -> bool:
        added.set()
        await go_on.wait()
        return await member_open(*opened)

    monkeypatch.setattr(member, "open", late)
    await a.begin()
    await asyncio.wait_for(added.wait(), 5)
    seeding = asyncio.create_task(a.shared.seed())
    await asyncio.sleep(0.05)
    assert not seeding.done()
    assert await a.shared.store.counters("usd:0:b") == ({"": 700}, {})
    go_on.set()
    await asyncio.wait_for(seeding, 5)
    await a.opens()
    assert await a.figures() == (700, 0)


async def test_a_redefined_budget_keeps_what_the_ledger_does_not_know_yet(a: Instance) -> None:
    take_definitions(a.engine, a.shared._budgets(), now_s())
    await a.begin()
    await a.opens()
    store, _, running = await data_plane(a, "w")
    await asyncio.wait_for(store.member.ready.wait(), 5)
    await spend_unshipped(a, store, 100)
    a.config = a.configured([NARROW])
    assert take_definitions(a.engine, a.shared._budgets(), now_s()) == ["b"]
    spend(a, 300, table=budget_bases)
    await a.shared.seed()
    await a.shared.seed()
    assert await a.figures() == (400, 0)
    a.config = a.configured([B])
    assert take_definitions(a.engine, a.shared._budgets(), now_s()) == ["b"]  # which has no base: nothing was shipped
    await a.shared.seed()
    assert await a.figures() == (100, 0)
    running.cancel()
    await store.member.close()


async def test_a_group_that_was_dropped_gets_the_base_of_the_definition_that_is_in_force(
    a: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked the ledger before the budget was redefined, and gets its answer later, asks again."""
    monkeypatch.setattr(rebuilding, "MOST_GROUPS", 1000)
    a.config = a.configured([SESSIONS])
    sessions(a, 1500)
    take_definitions(a.engine, a.shared._budgets(), now_s())
    with a.engine.begin() as connection:
        connection.execute(sa.delete(budget_bases))  # as if its entries had been there
    await a.begin()
    await a.opens()
    member, asked = a.shared.store.member, asyncio.Event()
    recall, answered = member.recall, asyncio.Event()
    assert recall is not None

    async def late(groups: Any) -> Any:
        sums = await recall(groups)
        member.recall = recall
        asked.set()
        await answered.wait()
        return sums

    member.recall = late
    claim = CLAIM._replace(budget="s", group="s-999")
    charging = asyncio.create_task(a.shared.store.charge("x", [claim], [7]))
    await asked.wait()
    a.config = a.configured([SESSIONS | {"match": {"team": ["t"]}}])
    assert take_definitions(a.engine, a.shared._budgets(), now_s()) == ["s"]
    with a.engine.begin() as connection:
        connection.execute(sa.update(budget_bases).values(amount=-900))
    await a.shared.seed()
    answered.set()
    await charging
    assert await a.figures(claim) == (106, 0)
    await a.shared.seed()
    assert await a.figures(claim) == (106, 0)


async def test_counters_of_an_earlier_version_take_the_bases_that_they_have(a: Instance) -> None:
    """It noted which definition they were made of, and no bases; where that is another one, everything is rebuilt."""
    take_definitions(a.engine, a.shared._budgets(), now_s())
    spend(a, 300, table=budget_bases)
    await a.begin()
    await a.opens()
    member, since = a.shared.store.member, definitions(a.engine)["b"].since
    for definition in (since, since - 1):
        await member.command("DEL", member.name("seeded"), member.name("defined"), member.name("b:usd:0:b"))
        await member.command("SADD", member.name("seeded"), "usd:b", f"usd:b\ndefined {definition}")
        first = member.epoch
        await a.shared.seed()
        assert await a.figures() == (300, 0)
        assert (member.epoch == first) == (definition == since)


async def test_an_epoch_is_made_once_though_an_earlier_version_is_at_it_too(
    a: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During an upgrade: it puts in the same sums, in parts of the same names, and notes no bases."""
    take_definitions(a.engine, a.shared._budgets(), now_s())
    spend(a, 700)
    spend(a, 50, table=budget_bases)
    member, since = a.shared.store.member, definitions(a.engine)["b"].since
    add_up = rebuilding.add_up
    epochs: list[str] = []

    async def older_first(*question: Any) -> Any:
        epoch = question[1]
        epochs.append(epoch)
        noted = ("usd:b\n0", f"usd:b\ndefined {since}") if len(epochs) == 2 else ("usd:b\n0",)
        if len(epochs) < 3:
            await member.command("SADD", member.name("seeded", epoch), *noted)
            await member.command("HINCRBY", member.name("s:usd:0:b", epoch), "", 750)
        return await add_up(*question)

    monkeypatch.setattr(rebuilding, "add_up", older_first)
    await a.begin()
    await a.opens()
    assert len(set(epochs)) == 2  # nobody can tell which base the first one had
    assert await a.figures() == (750, 0)
    a.config = a.configured([NARROW])
    assert take_definitions(a.engine, a.shared._budgets(), now_s()) == ["b"]
    says_base(a, -400)
    await a.shared.seed()
    assert await a.figures() == (300, 0)


async def test_an_earlier_version_that_reloads_in_an_epoch_of_this_one_finds_its_marks(a: Instance) -> None:
    """It would put in all sums once more. Where it redefines a budget, which drops the counters, its base is taken over."""
    take_definitions(a.engine, a.shared._budgets(), now_s())
    spend(a, 700)
    await a.begin()
    await a.opens()
    member = a.shared.store.member
    marks = set(await member.command("SMEMBERS", member.name("seeded")))
    assert {"usd:b", "usd:b\n0"} <= marks
    a.config = a.configured([NARROW])
    assert take_definitions(a.engine, a.shared._budgets(), now_s()) == ["b"]
    says_base(a, -200)
    await member.command("SREM", member.name("seeded"), "usd:b", "usd:b\n0")
    await member.command("UNLINK", member.name("s:usd:0:b"))
    await member.command("HINCRBY", member.name("s:usd:0:b"), "", 500)
    await member.command("SADD", member.name("seeded"), "usd:b", f"usd:b\ndefined {definitions(a.engine)['b'].since}")
    await a.shared.seed()
    assert await a.figures() == (500, 0)
    a.config = a.configured([B])
    assert take_definitions(a.engine, a.shared._budgets(), now_s()) == ["b"]
    says_base(a, 0)
    await a.shared.seed()
    assert await a.figures() == (700, 0)


async def test_a_budget_that_comes_back_in_its_window_has_what_the_ledger_says(a: Instance) -> None:
    """Its definition is older than the window, and the store was filled while no configuration had it."""
    days = {"window": "day"}
    a.config = a.configured([B | days])
    take_definitions(a.engine, a.shared._budgets(), now_s() - 3 * 86_400)
    (budget,) = a.shared._budgets()
    start, end = budget.window_now(now_s())
    a.config = a.configured([])
    await a.begin()
    await a.opens()
    with a.engine.begin() as connection:
        row = {"budget": "b", "group": "", "window_start": start, "measure": "usd", "amount": 700}
        connection.execute(sa.insert(budget_spend).values(row))
    a.config = a.configured([B | days])
    assert take_definitions(a.engine, a.shared._budgets(), now_s()) == []
    for _ in range(2):
        await a.shared.seed()
        assert await a.figures(CLAIM._replace(window_start=start, window_end=end)) == (700, 0)


async def test_who_comes_with_an_earlier_definition_notes_nothing(a: Instance) -> None:
    """The one with the later may be stopped in the middle, and is followed by another that has all of it to do."""
    a.config = a.configured([])
    await a.begin()
    await a.opens()
    a.config = a.configured([B])
    assert take_definitions(a.engine, a.shared._budgets(), now_s()) == ["b"]
    spend(a, 700)
    member, since = a.shared.store.member, definitions(a.engine)["b"].since
    await member.command("HSET", member.name("defined"), "usd:0:b", since + 1)
    await a.shared.seed()
    assert await a.figures() == (0, 0)
    await member.command("HDEL", member.name("defined"), "usd:0:b")
    await a.shared.seed()
    assert await a.figures() == (700, 0)


DEFINITIONS: list[dict[str, Any]] = [
    {}, {"match": {"team": ["t"]}}, {"per": ["team"]}, {"window": "day"}, {"window": "day", "per": ["team"]},
    {"opening": {"usd": "0.0000003", "at": "2026-01-01T00:00:00Z"}},
]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
async def test_counters_are_the_ledgers_whoever_redefines_a_budget_when(
    tmp_path: Path, a: Instance, server: RedisServer, seed: int
) -> None:
    """Two instances that reload apart from each other, one of them stopped in the middle; calls, some of them shipped."""
    chance = random.Random(seed)
    limit = {"limit_usd": "9"}
    instances = [a, Instance(tmp_path, "b", server, [B])]
    planes = []
    for one in instances:
        one.config = one.configured([B | limit])
        one.recorder_may_step.clear()
        take_definitions(one.engine, one.shared._budgets(), now_s())
        one.tasks = [asyncio.create_task(one.shared.run())]
        await one.shared.heartbeat.beat()
        planes.append(await data_plane(one, "w"))

    async def ship(one: Instance) -> None:
        while await asyncio.to_thread(one.recorder.step):
            pass

    async def ships(one: Instance) -> None:
        await asyncio.wait_for(asyncio.gather(*[plane[0].member.joined.wait() for plane in planes]), 5)
        shared = one.shared  # what stands behind the marker is shipped once it is passed
        while not (shared.store.member.ready.is_set() and shared.store.epoch in shared._passed):
            await ship(one)
            await asyncio.sleep(0.01)

    async def call(one: Instance, store: RedisStore, writer: SpoolWriter) -> None:
        (budget,) = one.shared._budgets()
        team, amount = chance.choice("tu"), chance.randrange(1, 1000)
        if not budget.matches({"team": team}):
            return
        start, end = budget.window_now(now_s())
        claim = Claim("b", budget.group({"team": team}), start, end, 10**12, amount, "usd", True)
        stated = [["b", claim.group, start, "usd", amount]]
        begun = intent(team=team, budgets=stated, started_at=int(now_s() * 1e6))
        append(writer, begun)
        assert isinstance(await store.reserve(begun["id"], [claim], now_s(), now_s() + 99, b"{}"), Granted)
        append(writer, settle(begun, amount, budgets=stated, epoch=store.epoch))
        await store.settle(begun["id"], [amount])

    async def redefine(one: Instance, definition: dict[str, Any]) -> None:
        one.config = one.configured([B | limit | definition])
        for _ in range(chance.randrange(3)):
            await call(one, *planes[instances.index(one)][:2])
        await ship(one)
        take_definitions(one.engine, one.shared._budgets(), now_s())
        for _ in range(chance.randrange(3)):
            await call(*chance.choice([(one, *plane[:2]) for one, plane in zip(instances, planes, strict=True)]))

    await asyncio.wait_for(asyncio.gather(*map(ships, instances)), 10)
    for plane in planes:
        await asyncio.wait_for(plane[0].member.ready.wait(), 5)
    for step in range(60):
        number = chance.randrange(2)
        one = instances[number]
        act = chance.choice(["call", "call", "call", "ship", "redefine"])
        if act == "call":
            await call(one, *planes[number][:2])
        elif act == "ship":
            await ship(one)
        else:
            await redefine(one, chance.choice(DEFINITIONS))
            seeding = asyncio.create_task(one.shared.seed())
            if chance.random() < 0.5:
                for _ in range(chance.randrange(30)):
                    await asyncio.sleep(0)
                seeding.cancel()
            await asyncio.gather(seeding, return_exceptions=True)
        if step % 20 == 19:
            last = chance.choice(DEFINITIONS)
            for one in instances:
                await redefine(one, last)
                await one.shared.seed()
            for one in instances:
                await ship(one)
            (budget,) = a.shared._budgets()
            start, _ = budget.window_now(now_s())
            of_ledger = spent(a.engine, "b", "usd", start)
            of_store, reserved = await a.shared.store.counters(f"usd:{start}:b")
            assert ({g: v for g, v in of_store.items() if v}, reserved) == (
                {g: v for g, v in of_ledger.items() if v},
                {},
            )
    for store, _, running in planes:
        running.cancel()
        await store.member.close()
    await instances[1].end()


async def test_a_jobs_group_is_in_use_too(a: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its end, which is not in the ledger yet, would be counted nowhere."""
    job = SimpleNamespace(
        id="j", deadline_at=(time.time() + 99) * 1e6, intent={"budgets": [["s", "s-700", 0, "usd", 250]]}
    )
    monkeypatch.setattr(rebuilding, "MOST_GROUPS", 1000)
    monkeypatch.setattr(rebuilding, "running_jobs", lambda _: [job])
    monkeypatch.setattr(rebuilding, "job_of", lambda row: row)
    a.config = a.configured([SESSIONS])
    sessions(a, 1500)
    await a.begin()
    await a.opens()
    group = CLAIM._replace(budget="s", group="s-700")
    assert (await a.shared.store.counters("usd:0:s")) == ({"s-700": 700}, {"s-700": 250})
    assert await a.shared.store.settle("j", [100]) == "settled"
    assert await a.figures(group) == (800, 0)


def left_behind(instance: Instance, amount: int) -> None:
    """A run that is over, with a call that went on without its budgets; it has no marker of any epoch."""
    writer = SpoolWriter(instance.spool, "gone")
    one = intent(budgets=[["b", "", 0, "usd", amount]])
    append(writer, one, settle(one, amount, budgets=[["b", "", 0, "usd", amount]], flags=["budget_unverified"]))
    writer.close()


async def is_counted(instance: Instance, entries: int, amount: int) -> None:
    """In the ledger and in Redis, once."""
    await asyncio.wait_for(instance.shipped(entries), 60)
    while list(instance.spool.glob("*.spool")):
        await asyncio.sleep(0.01)
    await instance.shared.store.member.deliver()
    assert (await instance.figures(), spent(instance.engine, "b", "usd", 0)) == ((amount, 0), {"": amount})


async def test_what_is_shipped_as_soon_as_an_epoch_is_open_is_counted_in_it(
    a: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorder took it for one that is still being made of the ledger, until somebody looked again."""
    a.recorder_may_step.clear()
    member_open = a.shared.store.member.open

    async def opened(*known: Any) -> Any:
        said = await member_open(*known)
        left_behind(a, 300)
        await asyncio.to_thread(a.recorder.step)
        return said

    monkeypatch.setattr(a.shared.store.member, "open", opened)
    await a.begin()
    await a.opens(60)
    a.recorder_may_step.set()
    await is_counted(a, 1, 300)


async def test_a_run_that_comes_once_the_sums_are_read_is_counted(a: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command's corrections, a worker that started while Redis was away: there is no marker to hold it at."""

    def late(*question: Any) -> Any:
        found = sums(*question)
        left_behind(a, 300)
        a.recorder.step()
        return found

    a.recorder_may_step.clear()
    monkeypatch.setattr(rebuilding, "sums", late)
    await a.begin()
    await a.opens(60)
    a.recorder_may_step.set()
    await is_counted(a, 1, 300)


async def test_an_instance_that_comes_once_the_sums_are_read_has_them_read_again(
    tmp_path: Path, a: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ships what a crash left there, and nobody waited for it: it was not there to be waited for."""
    b = Instance(tmp_path, "b", a.server, [B])
    left_behind(b, 300)
    loop, came = asyncio.get_running_loop(), []

    def late(*question: Any) -> Any:
        found = sums(*question)
        if not came:
            came.append(b)
            asyncio.run_coroutine_threadsafe(b.begin(), loop).result(60)
            asyncio.run_coroutine_threadsafe(b.shipped(1), loop).result(60)
        return found

    monkeypatch.setattr(rebuilding, "sums", late)
    await a.begin()
    await a.opens(60)
    await b.opens(60)
    await is_counted(a, 1, 300)
    await b.end()


async def test_an_instance_that_comes_back_in_an_epoch_that_it_has_reported_in_ships_behind_it(
    tmp_path: Path, a: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = Instance(tmp_path, "b", a.server, [B])
    await b.shared.heartbeat.beat()
    await a.begin()
    member = a.shared.store.member
    while not member.epoch or not await member.command("SCARD", member.name("reported")):
        await asyncio.sleep(0.01)
    for task in a.tasks:
        task.cancel()
    await asyncio.gather(*a.tasks, return_exceptions=True)
    again = Instance(tmp_path, "a", a.server, [B])
    loop, came = asyncio.get_running_loop(), []

    def late(*question: Any) -> Any:
        found = sums(*question)
        if not came:
            came.append(again)
            left_behind(again, 300)
            asyncio.run_coroutine_threadsafe(again.begin(), loop).result(60)
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(again.shipped(1), loop).result(0.5)
        return found

    monkeypatch.setattr(rebuilding, "sums", late)
    await b.begin()
    await b.opens(60)
    await again.opens(60)
    await is_counted(again, 1, 300)
    await again.end()
    await b.end()


async def test_what_is_being_told_when_another_epoch_begins_is_told_to_that_no_more(
    a: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a command's many corrections the first were told; the sums of the next epoch have all of them."""
    await a.begin()
    await a.opens(60)
    member, first = a.shared.store.member, a.shared.store.epoch
    call = member.call

    async def told(verb: str, *arguments: Any, **options: Any) -> Any:
        answer = await call(verb, *arguments, **options)
        if verb == "charge" and member.epoch == first:
            await member.renew(first)
            while member.epoch == first:
                await asyncio.sleep(0)
        return answer

    monkeypatch.setattr(member, "call", told)
    a.recorder_may_step.clear()
    await asyncio.sleep(0.1)
    for _ in range(3):
        left_behind(a, 100)
    a.recorder_may_step.set()
    await asyncio.wait_for(a.shipped(3), 60)
    await a.opens(60)
    await is_counted(a, 3, 300)


async def test_what_the_ledger_has_already_is_not_counted_once_more(a: Instance) -> None:
    """Two commands found the same correction; the counters were made of the ledger between them."""
    await a.begin()
    await a.opens(60)
    one = intent(budgets=[["b", "", 0, "usd", 300]])
    for number in range(2):
        writer = SpoolWriter(a.spool, "gone")
        append(writer, one, settle(one, 300, budgets=[["b", "", 0, "usd", 300]], flags=["budget_unverified"]))
        writer.close()
        await is_counted(a, 1, 300)
        if not number:
            before = a.shared.store.epoch
            a.server.flush()
            while a.shared.store.epoch == before:
                await asyncio.sleep(0.01)
                await asyncio.gather(a.shared.store.sweep(0), return_exceptions=True)
            await a.opens(60)


async def test_what_a_worker_reserved_for_nothing_is_released_though_it_was_killed_before(a: Instance) -> None:
    """It stood until its deadline, and was charged whole then."""
    await a.begin()
    store, writer, running = await data_plane(a, "w")
    await asyncio.wait_for(store.member.ready.wait(), 60)
    one = intent(budgets=[["b", "", 0, "usd", 300]])
    append(writer, one)
    await store.reserve(one["id"], [CLAIM._replace(amount=300)], time.time(), time.time() + 99, b"{}")
    append(writer, {"t": "unused", "id": one["id"], "at": 1, "epoch": store.epoch})
    running.cancel()
    store.member._hang_up()
    writer.close()
    await asyncio.wait_for(a.shipped(1), 60)
    await a.shared.store.member.deliver()
    assert (await a.figures(), spent(a.engine, "b", "usd", 0)) == ((0, 0), {})


async def test_corrections_that_a_command_writes_while_the_server_is_stopped_reach_its_budgets(
    a: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They went into the ledger alone, and Redis counted without them until it was rebuilt."""
    await a.begin()
    await a.opens(60)
    data = a.folder / "a"
    data.chmod(0o700)
    settings = replace(a.config, data_dir=str(data), ledger=str(a.engine.url))
    one: Any = intent()
    ended: Any = settle(one, 400)
    charged = entry_of(one, ended, "a").row
    correction = repricing_of(charged._asdict(), {"cost_lines": None, "price_version": "v"}, 650, 400, 0)
    a.recorder_may_step.clear()
    await asyncio.sleep(0.1)
    for _ in range(2):  # the second time by somebody who does not see that the first waits
        write_corrections(settings, a.engine, [correction], "reprice")
    a.recorder_may_step.set()
    await a.shipped(1)
    while list(a.spool.glob("*.spool")):
        await asyncio.sleep(0.01)
    assert await a.figures() == (250, 0)
    assert spent(a.engine, "b", "usd", 0) == {"": 250}
