"""Leases by example: one thing that goes wrong in each. Any mixture of them: `test_leases_model.py`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from proxy.budgets.redis import leased
from proxy.budgets.redis.member import Value
from proxy.budgets.redis.store import LeasedEnd, RedisStore
from proxy.budgets.store import Granted, Standing
from proxy.types import Claim
from tests.contract.test_leases_model import LATER, Plane
from tests.support.redis import RedisServer

NOW = time.time()

pytestmark = pytest.mark.needs("redis-server")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
async def control(server: RedisServer) -> AsyncIterator[RedisStore]:
    server.flush()
    store = RedisStore(server.url, deadline_s=5)
    running = asyncio.create_task(store.member.run())
    await store.member.joined.wait()
    await store.member.open(store.epoch)
    yield store
    running.cancel()
    await store.member.close()


@pytest.fixture
async def plane(server: RedisServer, control: RedisStore) -> AsyncIterator[Plane]:
    """It has leased 200 of a budget of 10,000, of which nothing is in flight."""
    made = Plane(server.url, "run-1")
    await made.up()
    for name in map(str, range(10)):
        assert await made.store.reserve(name, [claim(10)], NOW, LATER)
        await made.store.release(name)
    made.store.leases.measure()
    assert await made.store._tell()
    yield made
    await made.end()


def claim(amount: int, limit: int = 10_000) -> Claim:
    return Claim("b", "", 0, None, limit, amount, "usd", True)


async def standing(control: RedisStore) -> tuple[int, int]:
    one: Standing = (await control.standings_of([claim(0)]))[0]
    return one.spent, one.reserved


async def calls(plane: Plane, names: str, amount: int = 10, used: int | None = 7) -> None:
    """They are granted out of the lease, and settled."""
    for name in names:
        before = plane.store.leased_calls
        assert isinstance(await plane.store.reserve(name, [claim(amount)], NOW, LATER), Granted)
        assert plane.store.leased_calls == before + 1
        if used is not None:
            assert await plane.store.settle(name, [used]) == "settled"


async def test_calls_are_granted_with_no_round_trip_and_told_together(plane: Plane, control: RedisStore) -> None:
    leased = (await standing(control))[1]
    assert leased == 200
    await calls(plane, "abcdef")
    assert await standing(control) == (0, leased)
    await plane.store._tell()
    assert (await standing(control))[0] == 42


async def test_a_load_that_begins_is_leased_without_waiting(
    server: RedisServer, control: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time between two reports is longer than this test: its end is not what brings the first lease."""
    monkeypatch.setattr(leased, "_REPORT_EVERY_S", 3600.0)
    made = Plane(server.url, "run-2")
    await made.up()
    keeping, number = asyncio.create_task(made.store._keep_leases()), 0
    async with asyncio.timeout(30):
        while not made.store.leased_calls:
            assert isinstance(await made.store.reserve(f"n{number}", [claim(10)], NOW, LATER), Granted)
            number += 1
    assert number >= 4
    keeping.cancel()
    await made.end()


async def test_what_is_used_is_used_up(plane: Plane) -> None:
    """200 are leased: 28 calls that cost 7 leave no room for one that may cost 10."""
    await calls(plane, "abcdefghijklmnopqrstuvwxyzAB")
    assert plane.store.leases.grant("C", [claim(10)], NOW, LATER, b"") is None


async def test_what_is_free_stays_free_while_others_take_all_the_rest(plane: Plane, control: RedisStore) -> None:
    assert isinstance(await control.reserve("theirs", [claim(9_800)], NOW, LATER), Granted)
    await calls(plane, "a")
    assert await plane.store._tell()
    assert await standing(control) == (7, 9_800 + 193)
    await calls(plane, "b")


async def test_a_report_whose_answer_is_lost_counts_once(plane: Plane, control: RedisStore) -> None:
    await calls(plane, "abc")
    plane.road.loses = "answer"
    assert not await plane.store._tell()
    await calls_in_between(plane)
    assert await plane.store._tell()
    assert (await standing(control))[0] == 21
    assert await plane.store._tell()
    assert (await standing(control))[0] == 28


async def calls_in_between(plane: Plane) -> None:
    await plane.up()
    await calls(plane, "x")


async def test_a_report_that_arrives_after_the_next_one_changes_nothing(plane: Plane, control: RedisStore) -> None:
    """A server that was frozen reads the old connection after the new one."""
    await calls(plane, "abc")
    report = plane.store.leases.report()
    assert report is not None
    assert await plane.store._tell()
    await calls(plane, "d")
    assert await plane.store._tell()
    before = await standing(control)
    await control.member.call("lease", control.epoch, *plane.store._words(report))
    assert await standing(control) == before


async def test_what_costs_nothing_is_refused_where_a_budget_is_spent(plane: Plane, control: RedisStore) -> None:
    """Its lease is used up, and the store would refuse it, too."""
    await control.charge("theirs", [claim(20_000)], [20_000])
    await calls(plane, "abcdefghijklmnopqrst", used=10)
    assert plane.store.leases.grant("free", [claim(0)], NOW, LATER, b"") is None


async def test_a_report_that_is_lost_is_told_again(plane: Plane, control: RedisStore) -> None:
    await calls(plane, "abc")
    plane.road.loses = "request"
    assert not await plane.store._tell()
    await plane.up()
    assert await plane.store._tell()
    assert (await standing(control))[0] == 21


async def test_of_a_dead_plane_what_it_did_not_report_is_charged_and_the_rest_comes_back(
    plane: Plane, control: RedisStore
) -> None:
    reports = {}
    for name in "abcde":
        assert isinstance(await plane.store.reserve(name, [claim(10)], NOW, LATER), Granted)
        reports[name] = plane.store.lease(name).report
        await plane.store.settle(name, [7])
        if name == "c":
            await plane.store._tell()
    await plane.end()
    ends = [LeasedEnd(name, control.epoch, report or 0, [claim(7)]) for name, report in reports.items()]
    for _ in range(2):  # the recorder may read it twice
        await control.end_lease("run-1", ends, counted=False)
        assert (await standing(control))[0] == 35
    await control.end_lease("run-1", ends, counted=True)
    assert await standing(control) == (35, 0)


async def test_no_end_of_a_dead_plane_is_charged_in_an_epoch_that_begins_meanwhile(
    plane: Plane, control: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sums that it is made of have them."""
    await calls(plane, "abc")
    report = plane.store.leases.reported + 1
    await plane.end()
    ends = [LeasedEnd(name, control.epoch, report, [claim(7)]) for name in "abc"]
    member, first = control.member, control.epoch
    call = member.call

    async def charged(verb: str, *arguments: Value, late: bool = False) -> Any:
        answer = await call(verb, *arguments, late=late)
        if verb == "charge" and member.epoch == first:
            await member.renew(first)
            await _joins(control)
        return answer

    monkeypatch.setattr(member, "call", charged)
    await control.end_lease("run-1", ends, counted=False)
    await member.open(control.epoch)
    assert await standing(control) == (0, 0)


async def test_a_lease_that_is_not_heard_of_is_charged_until_it_is(plane: Plane, control: RedisStore) -> None:
    leased = (await standing(control))[1]
    await calls(plane, "a")
    member = control.member
    ends_at = float(await member.command("ZSCORE", member.name("leases"), "lease:run-1"))
    assert NOW + 3600 < ends_at < time.time() + 3620
    await member.command("ZADD", member.name("leases"), 0, "lease:run-1")
    await control.sweep(0)
    assert await standing(control) == (leased, 0)
    assert await plane.store._tell()
    spent, reserved = await standing(control)
    assert spent == 7
    assert reserved > 0


async def test_a_call_that_outlives_its_deadline_gets_a_reservation_and_expires(
    plane: Plane, control: RedisStore
) -> None:
    await calls(plane, "a", used=None)
    await plane.store.sweep(LATER + 1)
    assert "a" not in plane.store.leases
    await plane.store._tell()
    assert (await standing(control))[1] >= 10
    assert await plane.store.settle("a", [7]) == "settled"
    assert (await standing(control))[0] == 7


async def test_what_was_free_is_given_back_when_nobody_calls(plane: Plane, control: RedisStore) -> None:
    for _ in range(8):
        plane.store.leases.measure()
        await plane.store._tell()
    assert await standing(control) == (0, 0)


async def test_a_call_for_which_only_our_own_lease_leaves_no_room_is_granted(plane: Plane) -> None:
    """Another's reservation is in the way of nothing here: what is free of our own is given back at once."""
    assert isinstance(await plane.store.reserve("big", [claim(10_000)], NOW, LATER), Granted)


async def test_near_the_end_of_a_window_the_store_is_asked(plane: Plane) -> None:
    day = claim(10)._replace(window_start=int(NOW) - 100, window_end=int(NOW) + 1000)
    for name in map(str, range(10)):
        assert await plane.store.reserve(name, [day], NOW, LATER)
        await plane.store.release(name)
    plane.store.leases.measure()
    assert await plane.store._tell()
    assert plane.store.leases.grant("a", [day], NOW, LATER, b"") is not None
    assert plane.store.leases.grant("b", [day._replace(window_end=int(NOW) + 1)], NOW, LATER, b"") is None
    assert plane.store.leases.grant("c", [day], NOW - 100, LATER - 1000, b"") is None


async def test_what_redis_forgot_is_restored_call_by_call(plane: Plane, control: RedisStore) -> None:
    await calls(plane, "a", used=None)
    await control.member.renew(control.epoch)
    await asyncio.wait_for(_joins(control), 5)
    await asyncio.wait_for(_same_epoch(plane, control), 5)  # nothing calls: it is told
    await control.member.open(control.epoch)
    assert await standing(control) == (0, 10)
    assert await plane.store.settle("a", [7]) == "settled"
    assert await standing(control) == (7, 0)


async def _joins(control: RedisStore) -> None:
    before = control.epoch
    while control.epoch == before or not control.member.joined.is_set():
        await control.member.state()
        await asyncio.sleep(0.01)


async def _same_epoch(plane: Plane, control: RedisStore) -> None:
    while plane.store.epoch != control.epoch or not plane.store.member.joined.is_set():
        await asyncio.sleep(0.01)


async def test_what_a_session_costs_is_known_to_all_with_few_round_trips(plane: Plane, control: RedisStore) -> None:
    asked = _count(plane)
    assert [await plane.store.session_cost("t", "s", 10) for _ in range(20)] == list(range(10, 201, 10))
    assert await control.session_cost("t", "s", 5) == 15  # what was not told yet
    assert len(asked) == 1
    await plane.store._tell_sessions()
    assert await control.session_cost("t", "s", 0) == 205
    assert await plane.store.session_cost("t", "s", 1) == 206


async def test_a_session_of_one_call_is_told_without_waiting(plane: Plane, control: RedisStore) -> None:
    asked = _count(plane)
    assert [await plane.store.session_cost("t", f"s{n}", 7, alone=True) for n in range(50)] == [None] * 50
    assert asked == []
    await plane.store._tell_sessions()
    assert len(asked) == 1
    assert await control.session_cost("t", "s49", 0) == 7


def _count(plane: Plane) -> list[str]:
    """Grows by a verb with each script that is called."""
    asked: list[str] = []
    call = plane.store.member.call

    async def counted(verb: str, *arguments: Value) -> Any:
        asked.append(verb)
        return await call(verb, *arguments)

    plane.store.member.call = counted  # type: ignore[method-assign]
    return asked


async def test_an_intent_is_on_disk_before_redis_is_asked_and_may_wait_where_it_is_not(
    plane: Plane, control: RedisStore
) -> None:
    """What is granted out of a lease is gone with its process; what Redis has reserved is not."""
    kept: list[tuple[int, int]] = []

    def keep() -> None:
        kept.append((plane.store.leased_calls, plane.store.asked_calls))

    await plane.store.reserve("leased", [claim(10)], NOW, LATER, b"{}", keep)
    assert not kept
    leased, asked = plane.store.leased_calls, plane.store.asked_calls
    await plane.store.reserve("too much for it", [claim(500)], NOW, LATER, b"{}", keep)
    assert kept == [(leased, asked)]


async def test_nothing_is_reserved_for_a_call_that_the_disk_refused(plane: Plane, control: RedisStore) -> None:
    before = await standing(control)

    def keep() -> None:
        raise OSError

    with pytest.raises(OSError):
        await plane.store.reserve("a", [claim(500)], NOW, LATER, b"{}", keep)
    assert await standing(control) == before


async def test_the_disk_has_an_end_before_redis_is_told(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a crash would leave an INTENT without an end, and a counter that has both."""
    events: list[str] = []
    call = plane.store.member.call

    async def noted(verb: str, *arguments: Value) -> Any:
        events.append(verb)
        return await call(verb, *arguments)

    monkeypatch.setattr(plane.store.member, "call", noted)
    monkeypatch.setattr(plane.store, "_before_report", lambda: events.append("disk"))
    await calls(plane, "a", used=None)
    assert plane.store.ends_here("a")
    await plane.store.settle("a", [7])
    assert not plane.store.ends_here("a")
    assert events == []
    await plane.store._tell()
    assert events == ["disk", "lease"]
