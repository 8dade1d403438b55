"""Groups that Redis dropped because the ledger has all of them: whoever comes back finds what was spent, and no fresh limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from proxy.budgets.redis.store import RedisStore
from proxy.budgets.store import Denied, Granted, StoreUnavailable
from proxy.types import Claim
from tests.support.redis import RedisServer

NOW = time.time()
LATER = NOW + 3600
BUCKET = "usd:0:b"

pytestmark = pytest.mark.needs("redis-server")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


class Ledger:
    def __init__(self) -> None:
        self.sums: dict[str, int] = {}
        self.bases: dict[str, int] = {}
        self.away = False
        self.asked: list[str] = []

    async def recall(self, groups: Sequence[tuple[str, str]]) -> Sequence[tuple[int, int]]:
        if self.away:
            raise StoreUnavailable("away")
        self.asked += [group for _, group in groups]
        return [(self.sums.get(group, 0), self.bases.get(group, 0)) for _, group in groups]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def store(server: RedisServer, ledger: Ledger) -> AsyncIterator[RedisStore]:
    server.flush()
    made = RedisStore(server.url, deadline_s=5)
    made.member.recall = ledger.recall
    running = asyncio.create_task(made.member.run())
    await made.member.joined.wait()
    await made.member.open(made.epoch)
    await made.member.ready.wait()
    yield made
    running.cancel()
    await made.member.close()


def claim(amount: int, group: str = "s") -> Claim:
    return Claim("b", group, 0, None, 1000, amount, "usd", True)


async def spend(store: RedisStore, name: str, amount: int, group: str = "s") -> None:
    assert isinstance(await store.reserve(name, [claim(amount, group)], NOW, LATER), Granted)
    assert await store.settle(name, [amount]) == "settled"


async def drop(store: RedisStore, **sums: int) -> int:
    words = [word for pair in sums.items() for word in pair]
    return int((await store.member.call("drop", store.epoch, BUCKET, *words))[0])


async def fields(store: RedisStore) -> dict[str, int]:
    return (await store.counters(BUCKET))[0]


async def test_who_comes_back_has_what_was_left(store: RedisStore, ledger: Ledger) -> None:
    await spend(store, "1", 900)
    ledger.sums["s"] = 900
    assert await drop(store, s=900) == 1
    assert await fields(store) == {}
    assert isinstance(await store.reserve("2", [claim(200)], NOW, LATER), Denied)
    await spend(store, "3", 100)
    assert await fields(store) == {"s": 1000}
    assert ledger.asked == ["s"]


async def test_who_never_was_there_is_asked_for_once(store: RedisStore, ledger: Ledger) -> None:
    await spend(store, "1", 10)
    await drop(store, s=10)
    for number in range(3):
        await spend(store, f"new-{number}", 1, "new")
    assert ledger.asked == ["new"]
    assert await fields(store) == {"new": 3}


async def test_what_the_ledger_does_not_have_yet_stays(store: RedisStore) -> None:
    await spend(store, "1", 10)
    await store.reserve("2", [claim(5, "reserved")], NOW, LATER)
    assert await drop(store, s=9, reserved=0) == 0
    assert await fields(store) == {"s": 10, "reserved": 0}
    assert await store.settle("2", [4]) == "settled"
    assert (await fields(store))["reserved"] == 4


async def test_a_reservation_of_nothing_keeps_its_group_too(store: RedisStore) -> None:
    for name in "12":
        assert isinstance(await store.reserve(name, [claim(0)], NOW, LATER), Granted)
    assert await store.settle("1", [0]) == "settled"
    assert await drop(store, s=0) == 0
    assert await store.settle("2", [4]) == "settled"
    assert await fields(store) == {"s": 4}
    assert await drop(store, s=4) == 1


async def test_without_the_ledger_nothing_of_it_is_granted(store: RedisStore, ledger: Ledger) -> None:
    await spend(store, "1", 10)
    await spend(store, "2", 10, "here")
    await drop(store, s=10)
    ledger.away = True
    with pytest.raises(StoreUnavailable):
        await store.reserve("3", [claim(1)], NOW, LATER)
    await spend(store, "4", 1, "here")


async def test_what_is_charged_late_is_added_to_what_was(store: RedisStore, ledger: Ledger) -> None:
    await spend(store, "1", 10)
    ledger.sums["s"] = 10
    await drop(store, s=10)
    for _ in range(2):
        assert await store.charge("late", [claim(7)], [7]) in ("settled", None)
    assert await fields(store) == {"s": 17}


async def test_what_is_owed_and_charged_late_is_added_too(store: RedisStore, ledger: Ledger) -> None:
    await spend(store, "1", 10)
    ledger.sums["s"] = 10
    await drop(store, s=10)
    ledger.away = True
    await store.charge("late", [claim(7)], [7])
    assert await fields(store) == {}
    ledger.away = False
    await store.member.deliver()
    assert await fields(store) == {"s": 17}


async def test_a_refund_that_was_owed_and_is_in_what_the_ledger_said_is_not_counted_again(
    store: RedisStore, ledger: Ledger
) -> None:
    await spend(store, "1", 900)
    ledger.sums["s"] = 900
    await drop(store, s=900)
    store.member.owe(store.epoch, "charge", "refund", BUCKET, "s", "", -400)  # while the store was away
    ledger.sums["s"] = 500
    await spend(store, "2", 1)  # another process, which has it loaded before the refund is delivered
    await store.member.deliver()
    assert await fields(store) == {"s": 501}
    assert isinstance(await store.reserve("3", [claim(600)], NOW, LATER), Denied)


async def test_a_refund_that_is_in_what_the_ledger_says_is_not_counted_again(store: RedisStore, ledger: Ledger) -> None:
    await spend(store, "1", 900)
    ledger.sums["s"] = 500  # it is in the spool before it is told to Redis
    assert await drop(store, s=900) == 1
    assert await store.charge("refund", [claim(0)], [-400]) == "settled"
    (standing,) = await store.standings_of([claim(0)])
    assert standing.spent == 500


async def test_the_late_end_of_an_expired_call_that_the_ledger_had_is_not_counted_again(
    store: RedisStore, ledger: Ledger
) -> None:
    assert isinstance(await store.reserve("1", [claim(500)], NOW, NOW - 10, b"{}"), Granted)
    await store.sweep(NOW)
    await store.written([one.reservation_id for one in await store.expired()])
    assert await drop(store, s=500) == 1
    store.member.owe(store.epoch, "settle", "1", 400)
    ledger.sums["s"] = 400
    await spend(store, "2", 1)
    await store.member.deliver()
    assert await fields(store) == {"s": 401}


async def test_a_refund_to_a_budget_of_which_nothing_was_dropped_is_counted_however_late(store: RedisStore) -> None:
    await spend(store, "1", 900)
    store.member.owe(store.epoch, "charge", "refund", BUCKET, "s", "", -400)
    await store.member.deliver()
    assert await fields(store) == {"s": 500}


async def test_the_late_end_of_an_expired_call_makes_no_group_of_its_own(store: RedisStore, ledger: Ledger) -> None:
    """Half a sum would pass for the whole one."""
    assert isinstance(await store.reserve("1", [claim(500)], NOW, NOW - 10, b"{}"), Granted)
    await store.sweep(NOW)
    await store.written([one.reservation_id for one in await store.expired()])
    assert await drop(store, s=500) == 1
    assert await store.settle("1", [400]) == "expired"
    assert await fields(store) == {}
    ledger.sums["s"] = 400
    (standing,) = await store.standings_of([claim(0)])
    assert (standing.spent, standing.reserved) == (400, 0)


async def test_what_the_ledger_said_before_it_was_dropped_again_is_not_loaded(
    store: RedisStore, ledger: Ledger
) -> None:
    await spend(store, "1", 10)
    ledger.sums["s"] = 10
    await drop(store, s=10)
    meanwhile = ledger.recall

    async def slow(groups: Sequence[tuple[str, str]]) -> Sequence[int]:
        """Before the answer comes, another process loads it, spends, and it is dropped again."""
        sums = await meanwhile(groups)
        store.member.recall = meanwhile
        await spend(store, "2", 900)
        ledger.sums["s"] = 910
        assert await drop(store, s=910) == 1
        return sums

    store.member.recall = slow
    assert isinstance(await store.reserve("3", [claim(200)], NOW, LATER), Denied)
    assert await fields(store) == {"s": 910}


async def rebase(store: RedisStore, since: int, *rows: tuple[str, int, int]) -> None:
    await store.member.rebase(store.epoch, "open", BUCKET, since, rows)


async def test_the_base_of_a_definition_takes_the_place_of_the_one_before(store: RedisStore, ledger: Ledger) -> None:
    await spend(store, "1", 100)
    for since, base, spent in ((5, 300, 400), (5, 300, 400), (6, -20, 80), (5, 300, 80), (7, 0, 100)):
        await rebase(store, since, ("s", base, 0))
        assert await fields(store) == {"s": spent}
    await rebase(store, 8, ("s", 500, 100))  # all that the ledger counted is here
    assert await fields(store) == {"s": 600}
    await rebase(store, 9, ("s", 500, 130))  # what is from before this epoch is not
    assert await fields(store) == {"s": 630}
    ledger.sums["s"], ledger.bases["s"] = 630, 500
    await drop(store, s=630)
    await rebase(store, 10, ("s", 0, 130))
    assert await fields(store) == {}  # the ledger has all of it
    assert isinstance(await store.reserve("2", [claim(100)], NOW, LATER), Granted)
    await rebase(store, 11, ("s", 200, 130))
    assert await fields(store) == {"s": 330}


async def test_a_base_that_was_asked_for_before_the_budget_was_redefined_is_not_loaded(
    store: RedisStore, ledger: Ledger
) -> None:
    await spend(store, "1", 10)
    ledger.sums["s"] = 10
    await drop(store, s=10)
    recall = ledger.recall

    async def slow(groups: Sequence[tuple[str, str]]) -> Sequence[tuple[int, int]]:
        sums = await recall(groups)
        store.member.recall = recall
        ledger.sums["s"], ledger.bases["s"] = 910, 900
        await rebase(store, 5, ("s", 900, 10))
        return sums

    store.member.recall = slow
    assert isinstance(await store.reserve("2", [claim(100)], NOW, LATER), Denied)
    assert await fields(store) == {"s": 910}


async def test_a_window_that_began_with_another_ends_with_the_later_one(store: RedisStore) -> None:
    """A budget of a day becomes one of a month on the first; whoever has the old configuration still begins groups."""
    start, day, month = int(NOW) - 100, int(NOW) + 1000, int(NOW) + 9000
    bucket = f"usd:{start}:b"

    async def take(name: str, end: int) -> None:
        of_window = claim(10, name)._replace(window_start=start, window_end=end)
        assert isinstance(await store.reserve(name, [of_window], NOW, LATER), Granted)

    await take("1", day)
    assert await store.member.rebase(store.epoch, "open", bucket, 5, [], end=month)
    await take("2", day)
    await store.charge("3", [claim(10)._replace(window_start=start, window_end=day)], [10])
    assert await store.member.command("HGET", store.member.name("buckets"), bucket) == str(month)


async def test_a_reservation_that_is_restored_keeps_its_group(store: RedisStore) -> None:
    await store.restore("1", [claim(0)], [50], LATER, b"")
    await drop(store, s=0)
    assert await store.settle("1", [40]) == "settled"
    assert await fields(store) == {"s": 40}


async def test_a_lease_that_expired_and_is_heard_of_again_takes_nothing_from_a_group_that_was_dropped(
    store: RedisStore, ledger: Ledger
) -> None:
    """What was left of it would be less than nothing, and pass for all that was spent."""
    await spend(store, "1", 100)

    async def report(number: int, used: int, flying: int, lasts_s: float) -> None:
        words = ("run", number, repr(lasts_s), "0.5", BUCKET, "s", 0, "", 1000, used, flying, 0, 0)
        assert (await store.member.call("lease", store.epoch, *words))[0] == "leased"

    await report(1, 0, 60, -1.0)
    await store.sweep(NOW)
    assert await fields(store) == {"s": 160}
    ledger.sums["s"] = 160
    assert await drop(store, s=160) == 1
    await report(2, 60, 0, 99.0)
    assert await fields(store) == {}
    (standing,) = await store.standings_of([claim(0)])
    assert (standing.spent, standing.reserved) == (160, 0)
