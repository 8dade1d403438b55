"""The contract of every budget store. A new store joins by one more fixture parameter."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from proxy.budgets.memory import MemoryStore
from proxy.budgets.redis.store import RedisStore
from proxy.budgets.store import ENDED_KEPT_S, Denied, Granted, Moved, Standing, Store, standing_of
from proxy.types import Claim
from tests.support.redis import RedisServer

NOW = time.time()  # a shared store goes by a clock of its own
LATER = NOW + 3600
PAST = NOW - 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.needs("redis-server"))])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    server: RedisServer = request.getfixturevalue("server")
    server.flush()
    shared = RedisStore(server.url, deadline_s=5)
    running = asyncio.create_task(shared.member.run())
    await shared.member.joined.wait()
    await shared.member.open(shared.epoch)
    yield shared
    running.cancel()
    await shared.member.close()


def claim(amount: int, *, budget: str = "b", group: str = "", limit: int = 100, hard: bool = True) -> Claim:
    return Claim(budget, group, 0, None, limit, amount, "usd", hard)


async def standing(store: Store, one: Claim) -> Standing:
    return (await store.standings_of([one]))[0]


async def test_reserves_up_to_the_limit_and_no_further(store: Store) -> None:
    assert isinstance(await store.reserve("a", [claim(60)], NOW, LATER), Granted)
    assert isinstance(await store.reserve("b", [claim(40)], NOW, LATER), Granted)
    assert isinstance(await store.reserve("c", [claim(1)], NOW, LATER), Denied)


async def test_takes_from_all_budgets_or_from_none(store: Store) -> None:
    """A refusal by one budget leaves nothing reserved in the others."""
    denied = await store.reserve("a", [claim(10, budget="wide"), claim(10, budget="narrow", limit=5)], NOW, LATER)
    assert isinstance(denied, Denied)
    assert [standing.budget for standing in denied.exceeded] == ["narrow"]
    assert isinstance(await store.reserve("b", [claim(100, budget="wide")], NOW, LATER), Granted)


async def test_tells_exceeded_from_busy(store: Store) -> None:
    """What would fit with nothing in flight is busy; what would not is exceeded."""
    await store.reserve("a", [claim(60)], NOW, LATER)
    busy = await store.reserve("b", [claim(60)], NOW, LATER)
    assert isinstance(busy, Denied)
    assert (len(busy.busy), len(busy.exceeded)) == (1, 0)
    await store.settle("a", [60])
    exceeded = await store.reserve("b", [claim(60)], NOW, LATER)
    assert isinstance(exceeded, Denied)
    assert (len(exceeded.busy), len(exceeded.exceeded)) == (0, 1)


async def test_settles_once_with_what_was_used(store: Store) -> None:
    await store.reserve("a", [claim(60)], NOW, LATER)
    assert await store.settle("a", [25]) == "settled"
    assert await store.settle("a", [25]) is None
    assert await store.release("a") is None
    assert isinstance(await store.reserve("b", [claim(75)], NOW, LATER), Granted)


async def test_releases_everything(store: Store) -> None:
    await store.reserve("a", [claim(100)], NOW, LATER)
    assert await store.release("a") == "released"
    assert isinstance(await store.reserve("b", [claim(100)], NOW, LATER), Granted)


async def test_the_same_id_reserves_once(store: Store) -> None:
    """A repeated reserve (its answer was lost) takes nothing more."""
    await store.reserve("a", [claim(60)], NOW, LATER)
    assert isinstance(await store.reserve("a", [claim(60)], NOW, LATER), Granted)
    assert isinstance(await store.reserve("b", [claim(40)], NOW, LATER), Granted)


async def test_a_soft_budget_counts_but_never_refuses(store: Store) -> None:
    granted = await store.reserve("a", [claim(150, hard=False)], NOW, LATER)
    assert isinstance(granted, Granted)
    assert granted.would_refuse == ("b",)


async def test_groups_have_counters_of_their_own(store: Store) -> None:
    await store.reserve("a", [claim(100, group="x")], NOW, LATER)
    assert isinstance(await store.reserve("b", [claim(100, group="y")], NOW, LATER), Granted)


async def test_waiting_ends_when_room_is_made(store: Store) -> None:
    await store.reserve("a", [claim(100)], NOW, LATER)
    assert isinstance(await store.reserve("b", [claim(50)], NOW, LATER), Denied)
    waiting = asyncio.create_task(store.wait_for_room("b", [claim(50)], timeout_s=5))
    await asyncio.sleep(0)
    await store.settle("a", [10])
    assert await waiting is True


async def test_waiting_ends_when_the_time_is_over(store: Store) -> None:
    await store.reserve("a", [claim(100)], NOW, LATER)
    assert isinstance(await store.reserve("b", [claim(50)], NOW, LATER), Denied)
    assert await store.wait_for_room("b", [claim(50)], timeout_s=0.01) is False


async def test_a_settlement_above_the_reservation_counts_whole(store: Store) -> None:
    """The bill is the bill: an overrun is settled whole, and the next call sees it."""
    await store.reserve("a", [claim(10)], NOW, LATER)
    await store.settle("a", [120])
    denied = await store.reserve("b", [claim(1)], NOW, LATER)
    assert isinstance(denied, Denied)
    assert denied.exceeded[0].spent == 120


async def test_a_claim_that_can_be_smaller_takes_what_is_left(store: Store) -> None:
    """All claims in USD are granted for the same, smallest amount."""
    await store.reserve("a", [claim(70)], NOW, LATER)
    await store.settle("a", [70])
    smaller = [claim(60)._replace(least=20), claim(60, budget="wide", limit=1000)._replace(least=20)]
    granted = await store.reserve("b", smaller, NOW, LATER)
    assert isinstance(granted, Granted)
    assert granted.nanousd == 30
    assert isinstance(await store.reserve("c", [claim(970, budget="wide", limit=1000)], NOW, LATER), Granted)


async def test_a_claim_is_not_granted_below_its_least(store: Store) -> None:
    await store.reserve("a", [claim(90)], NOW, LATER)
    busy = await store.reserve("b", [claim(60)._replace(least=20)], NOW, LATER)
    assert isinstance(busy, Denied)
    assert (len(busy.busy), len(busy.exceeded)) == (1, 0)
    await store.settle("a", [90])
    exceeded = await store.reserve("b", [claim(60)._replace(least=20)], NOW, LATER)
    assert isinstance(exceeded, Denied)
    assert (len(exceeded.busy), len(exceeded.exceeded)) == (0, 1)


async def test_windows_are_decided_by_the_stores_clock(store: Store) -> None:
    """A claim of a window that is over, or not there yet, takes nothing: the answer says what time it is."""
    now = time.time()  # NOW is when the tests began
    over = claim(10)._replace(window_start=int(now) - 120, window_end=int(now) - 60)
    early = claim(10)._replace(window_start=int(now) + 600, window_end=int(now) + 1200)
    runs = claim(10)._replace(window_start=int(now) - 60, window_end=int(now) + 600)
    for wrong in (over, early):
        moved = await store.reserve("a", [claim(10, budget="x"), wrong], now, LATER)
        assert isinstance(moved, Moved)
        assert abs(moved.now_s - now) < 60
    assert (await standing(store, claim(10, budget="x"))).reserved == 0
    assert isinstance(await store.reserve("a", [runs], now, LATER), Granted)


@pytest.mark.parametrize("store", [pytest.param("redis", marks=pytest.mark.needs("redis-server"))], indirect=True)
async def test_the_shared_stores_time_never_goes_back(store: Store, server: RedisServer) -> None:
    """Its machine's clock was an hour ahead: what ran then does not begin again."""
    server.say("SET", f"tm1:{store.epoch}:clock", f"{NOW + 3600:.6f}")
    over = claim(10)._replace(window_start=int(NOW) - 60, window_end=int(NOW) + 3500)
    moved = await store.reserve("a", [over], NOW, LATER)
    assert isinstance(moved, Moved)
    assert moved.now_s > NOW + 3599


@pytest.mark.parametrize("store", [pytest.param("redis", marks=pytest.mark.needs("redis-server"))], indirect=True)
async def test_which_session_a_conversation_is_of_is_told_to_others_for_a_while(
    store: RedisStore, server: RedisServer
) -> None:
    store.note_session(["a", "b"], "s1")
    store.note_session(["b"], "s2")
    assert await store.noted_sessions(["b", "none", "a"]) == ["s2", None, "s1"]
    assert 3000 < int(server.say("TTL", "tm1:conversation:a").strip(":\r\n")) <= 3600


@pytest.mark.parametrize("store", [pytest.param("redis", marks=pytest.mark.needs("redis-server"))], indirect=True)
async def test_a_conversation_is_told_before_its_client_can_be(store: RedisStore, server: RedisServer) -> None:
    """An answer's end goes out in this turn of the loop: nothing of Redis need be waited for before it."""
    store.note_session(["a"], "s1")
    store.send_notes()
    assert "s1" in server.say("GET", "tm1:conversation:a")


@pytest.mark.parametrize("store", [pytest.param("redis", marks=pytest.mark.needs("redis-server"))], indirect=True)
async def test_what_is_no_command_is_not_sent_and_takes_no_others_answer(store: RedisStore) -> None:
    store.note_session(["a"], "s1")
    with pytest.raises(UnicodeEncodeError):
        store.note_session(["b", "half a pair: \ud800"], "s2")
    with pytest.raises(UnicodeEncodeError):
        await store.noted_sessions(["\ud800"])
    assert await store.noted_sessions(["a", "b"]) == ["s1", None]


@pytest.mark.parametrize("store", [pytest.param("redis", marks=pytest.mark.needs("redis-server"))], indirect=True)
async def test_what_sessions_cost_takes_bounded_room_and_the_latest_are_known(
    store: RedisStore, server: RedisServer
) -> None:
    fill = "for i = 1, 50000 do redis.call('HSET', KEYS[1], ARGV[1] .. i, '7') end"
    name = f"tm1:{store.epoch}:sessions"
    assert await store.session_cost("t", "mine", 5) == 5
    server.say("EVAL", fill, "1", name, "a")
    assert await store.session_cost("t", "new", 1) == 1
    assert await store.session_cost("t", "mine", 5) == 10
    server.say("EVAL", fill, "1", name, "b")
    assert await store.session_cost("t", "mine", 5) == 15
    assert await store.session_cost("t", "newer", 1) == 1
    assert await store.session_cost("t", "new", 1) == 2
    for generation in ("c", "d"):
        server.say("EVAL", fill, "1", name, generation)
        await store.session_cost("t", generation, 1)
    assert await store.session_cost("t", "mine", 5) == 5
    kept = [int(server.say("HLEN", one).strip(":\r\n")) for one in (name, f"{name}:before")]
    assert sum(kept) < 110_000
    assert ":session:" not in server.say("KEYS", "*")
    # Told together, when there is room for two more: the bound holds between them too, and nobody's cost is lost by that.
    server.say("DEL", name, f"{name}:before")
    server.say("EVAL", fill.replace("50000", "49998"), "1", name, "e")
    together = [("e1", 1), ("x", 2), ("y", 3), ("e2", 4), ("z", 5), ("x", 6), ("e2", 7)]
    assert await store.add_to_sessions(together) == [8, 2, 3, 11, 5, 8, 18]
    assert [int(server.say("HLEN", one).strip(":\r\n")) for one in (name, f"{name}:before")] == [3, 49_998]


async def test_a_window_that_is_over_is_known_for_an_hour(store: Store) -> None:
    """A clock that is set back over its end must not let it be spent again."""
    lately = claim(0)._replace(window_start=int(NOW) - 120, window_end=int(NOW) - 60)
    long_ago = claim(0)._replace(window_start=int(NOW) - 8000, window_end=int(NOW) - 7000)
    for name, one in (("a", lately), ("b", long_ago)):
        await store.charge(name, [one], [70])
    if isinstance(store, RedisStore):
        await store.forget()  # by its own clock
    else:
        for _ in range(2):
            await store.forget_ended_windows(NOW)
    assert (await standing(store, lately)).spent == 70
    assert (await standing(store, long_ago)).spent == 0


async def test_a_reservation_that_expires_is_charged_whole(store: Store) -> None:
    await store.reserve("a", [claim(60), claim(10, budget="other")], NOW, PAST, b'{"id":"a"}')
    assert await store.sweep(NOW) == 1
    assert await store.sweep(NOW) == 0
    now = await standing(store, claim(0))
    assert (now.spent, now.reserved) == (60, 0)
    (gone,) = await store.expired()
    assert (gone.reservation_id, gone.nanousd, gone.record) == ("a", None, b'{"id":"a"}')
    assert gone.charged == (("b", "", 0, "usd", 60), ("other", "", 0, "usd", 10))


async def test_an_expired_reservation_is_told_until_it_is_written(store: Store) -> None:
    await store.reserve("a", [claim(60)], NOW, PAST)
    await store.sweep(NOW)
    assert len(await store.expired()) == 1
    await store.written(["a"])
    assert await store.expired() == []
    assert await store.settle("a", [25]) == "expired"


async def test_the_next_reservation_finds_what_expired(store: Store) -> None:
    """Nobody has to sweep for the counters to be right."""
    await store.reserve("a", [claim(100)], NOW, PAST)
    denied = await store.reserve("b", [claim(1)], NOW, LATER)
    assert isinstance(denied, Denied)
    assert [one.spent for one in denied.exceeded] == [100]


async def test_a_late_settlement_corrects_what_expired_once(store: Store) -> None:
    await store.reserve("a", [claim(60)], NOW, PAST)
    await store.sweep(NOW)
    assert await store.settle("a", [25]) == "expired"
    assert await store.settle("a", [25]) is None
    now = await standing(store, claim(0))
    assert (now.spent, now.reserved) == (25, 0)


async def test_a_late_release_takes_the_charge_back(store: Store) -> None:
    await store.reserve("a", [claim(60)], NOW, PAST)
    await store.sweep(NOW)
    assert await store.release("a") == "expired"
    assert (await standing(store, claim(0))).spent == 0


async def test_an_id_that_was_released_first_never_reserves(store: Store) -> None:
    """A reservation whose answer never came is released; should it arrive after that, nobody would ever end it."""
    assert await store.release("a") is None
    assert await store.reserve("a", [claim(60)], NOW, LATER) == Denied((), ())
    assert (await standing(store, claim(0))).reserved == 0


async def test_what_was_never_reserved_can_be_charged_once(store: Store) -> None:
    assert await store.charge("a", [claim(60)], [25]) == "settled"
    assert await store.charge("a", [claim(60)], [25]) is None
    assert await store.reserve("a", [claim(60)], NOW, LATER) == Denied((), ())
    assert (await standing(store, claim(0))).spent == 25


async def test_charging_ends_a_reservation_once(store: Store) -> None:
    await store.reserve("a", [claim(60)], NOW, LATER)
    assert await store.charge("a", [claim(60)], [60]) == "settled"
    assert await store.charge("a", [claim(60)], [60]) is None
    assert await store.settle("a", [60]) is None
    now = await standing(store, claim(0))
    assert (now.spent, now.reserved) == (60, 0)


async def test_a_measure_has_counters_of_its_own(store: Store) -> None:
    await store.reserve("a", [claim(100)], NOW, LATER)
    tokens = claim(100)._replace(measure="tokens")
    assert isinstance(await store.reserve("b", [tokens], NOW, LATER), Granted)


async def test_the_largest_limit_is_exact_to_the_nano_dollar(store: Store) -> None:
    """9,000,000 USD, just below what a double holds; what is in flight may add up to more than that."""
    largest = 9_000_000 * 10**9
    await store.reserve("a", [claim(largest - 1, limit=largest)], NOW, LATER)
    await store.settle("a", [largest - 1])
    assert isinstance(await store.reserve("b", [claim(2, limit=largest)], NOW, LATER), Denied)
    assert isinstance(await store.reserve("c", [claim(1, limit=largest)], NOW, LATER), Granted)
    assert isinstance(await store.reserve("d", [claim(1, limit=largest)], NOW, LATER), Denied)


async def test_counters_stay_exact_beyond_doubles(store: Store) -> None:
    """A soft budget can be passed without end."""
    large = 2**53 - 1
    for number in range(3):
        await store.reserve(f"a{number}", [claim(large, hard=False)], NOW, LATER)
        await store.settle(f"a{number}", [large])
    assert (await standing(store, claim(0))).spent == 3 * large
    await store.reserve("b", [claim(1, hard=False)], NOW, LATER)
    await store.settle("b", [1])
    assert (await standing(store, claim(0))).spent == 3 * large + 1


async def test_names_may_be_anything(store: Store) -> None:
    odd = [claim(5, budget="a:b\x00 ü", group="x\ny:z"), claim(5, budget="c", group="")]
    await store.reserve("a", odd, NOW, LATER)
    await store.settle("a", [3, 4])
    assert [one.spent for one in await store.standings_of(odd)] == [3, 4]


async def test_the_oldest_waits_least(store: Store) -> None:
    """Room for one: who came first gets it, and nobody else is woken for nothing."""
    await store.reserve("0", [claim(100)], NOW, LATER)
    woken: list[str] = []

    async def wait(name: str) -> None:
        assert isinstance(await store.reserve(name, [claim(60)], NOW, LATER), Denied)
        waits.release()
        while not isinstance(await store.reserve(name, [claim(60)], NOW, LATER), Granted):
            assert await store.wait_for_room(name, [claim(60)], timeout_s=5)
            woken.append(name)

    waits = asyncio.Semaphore(0)
    waiting = {name: asyncio.create_task(wait(name)) for name in ("3", "1", "2")}
    for _ in waiting:
        await waits.acquire()
    await asyncio.sleep(0.05)  # until the second refusal is there too
    for holder, following in (("0", "1"), ("1", "2"), ("2", "3")):
        await store.settle(holder, [0])
        await asyncio.wait_for(waiting[following], 5)
    assert woken == ["1", "2", "3"]


async def test_who_can_never_fit_is_told_at_once(store: Store) -> None:
    await store.reserve("a", [claim(100)], NOW, LATER)
    assert isinstance(await store.reserve("b", [claim(50)], NOW, LATER), Denied)
    waiting = asyncio.create_task(store.wait_for_room("b", [claim(50)], timeout_s=5))
    await asyncio.sleep(0)
    await store.settle("a", [90])
    assert await waiting is True
    denied = await store.reserve("b", [claim(50)], NOW, LATER)
    assert isinstance(denied, Denied)
    assert denied.exceeded


async def test_a_turn_that_is_not_used_is_passed_on(store: Store) -> None:
    """Whoever was woken leaves without reserving: the next one that fits must not wait for another settlement."""
    await store.reserve("0", [claim(100)], NOW, LATER)
    for name in ("1", "2"):
        assert isinstance(await store.reserve(name, [claim(80)], NOW, LATER), Denied)
    first = asyncio.create_task(store.wait_for_room("1", [claim(80)], timeout_s=5))
    second = asyncio.create_task(store.wait_for_room("2", [claim(80)], timeout_s=5))
    await asyncio.sleep(0)
    await store.settle("0", [10])
    assert await first is True
    await asyncio.sleep(0.01)
    assert not second.done()
    again = asyncio.create_task(store.wait_for_room("1", [claim(80)], timeout_s=5))  # another budget was in its way
    assert await second is True
    again.cancel()


@pytest.fixture
def crowded() -> MemoryStore:
    """A memory store that keeps three counters whole."""
    return MemoryStore(most_counters=3)


def session(name: str, amount: int) -> list[Claim]:
    return [claim(amount, budget="every-session", group=name)]


async def test_an_idle_lifetime_budget_is_never_reset(crowded: MemoryStore) -> None:
    for number in range(20):
        await crowded.reserve(f"a{number}", session(f"s{number}", 60), NOW, LATER)
        await crowded.settle(f"a{number}", [60])
    assert len(crowded._counters) == 3
    assert (await standing(crowded, session("s0", 0)[0])).spent == 60
    assert isinstance(await crowded.reserve("b", session("s0", 41), NOW, LATER), Denied)
    assert isinstance(await crowded.reserve("c", session("s0", 40), NOW, LATER), Granted)
    assert sum(one.spent for one in crowded.standings()) == 20 * 60


async def test_a_counter_in_use_is_not_idle(crowded: MemoryStore) -> None:
    await crowded.reserve("open", session("open", 60), NOW, LATER)
    for number in range(20):
        await crowded.reserve(f"a{number}", session(f"s{number}", 60), NOW, LATER)
        await crowded.settle(f"a{number}", [60])
    assert (await standing(crowded, session("open", 0)[0])).reserved == 60
    await crowded.settle("open", [10])
    assert (await standing(crowded, session("open", 0)[0])).spent == 10


async def test_what_expired_is_corrected_though_its_counter_is_idle(crowded: MemoryStore) -> None:
    await crowded.reserve("late", session("late", 60), NOW, PAST)
    await crowded.sweep(NOW)
    for number in range(20):
        await crowded.reserve(f"a{number}", session(f"s{number}", 1), NOW, LATER)
        await crowded.release(f"a{number}")
    assert await crowded.settle("late", [10]) == "expired"
    assert (await standing(crowded, session("late", 0)[0])).spent == 10


async def test_one_group_is_asked_for_idle_or_not(crowded: MemoryStore) -> None:
    for number in range(20):
        await crowded.charge(f"a{number}", session(f"s{number}", 60), [60 + number])
    for number in (0, 19):
        (one,) = crowded.standings(group=f"s{number}")
        assert (one.budget, one.group, one.spent, one.reserved) == ("every-session", f"s{number}", 60 + number, 0)
    assert crowded.standings(group="nobody") == []
    assert crowded.standings("another") == []
    assert sorted(crowded.standings("every-session")) == sorted(crowded.standings())


async def test_idle_counters_go_with_their_window(crowded: MemoryStore) -> None:
    minute = [claim(1)._replace(group=str(n), window_start=int(NOW) - 30, window_end=int(NOW) + 30) for n in range(9)]
    for number, one in enumerate(minute):
        await crowded.charge(f"a{number}", [one], [1])
    assert sum(one.spent for one in crowded.standings()) == 9
    await crowded.forget_ended_windows(NOW + 31)
    assert sum(one.spent for one in crowded.standings()) == 9
    assert crowded.fullest(9, NOW + 31) == ([], {})
    await crowded.forget_ended_windows(NOW + 30 + ENDED_KEPT_S)
    assert crowded.standings() == []


async def test_a_seed_does_not_overrule_what_an_idle_counter_knows(crowded: MemoryStore) -> None:
    for number in range(9):
        await crowded.charge(f"a{number}", session(f"s{number}", 0), [7])
    crowded.seed(standing_of(session("s0", 0)[0], 99))
    assert (await standing(crowded, session("s0", 0)[0])).spent == 7


async def test_what_an_earlier_life_reserved_is_put_back_once(store: Store) -> None:
    """A job's reservation outlives the process that made it; it counts against the limit, and ends as any other."""
    for _ in range(2):
        await store.restore("job", [claim(80)], [80], LATER, b"{}")
    assert (await standing(store, claim(0))).reserved == 80
    assert isinstance(await store.reserve("other", [claim(30)], NOW, LATER), Denied)
    assert await store.charge("job", [claim(80)], [25]) == "settled"
    await store.restore("job", [claim(80)], [80], LATER, b"{}")
    assert await store.charge("job", [claim(80)], [25]) is None
    stands = await standing(store, claim(0))
    assert (stands.spent, stands.reserved) == (25, 0)


async def test_what_is_put_back_too_late_is_charged_whole_and_told(store: Store) -> None:
    await store.restore("job", [claim(80)], [80], PAST, b"{}")
    assert await store.sweep(time.time()) == 1
    assert [(one.reservation_id, one.charged[0][-1]) for one in await store.expired()] == [("job", 80)]


async def test_a_change_of_what_was_charged_counts_once(store: Store) -> None:
    """What a provider gives back after the end, under an id of its own."""
    await store.charge("job", [claim(80)], [60])
    for _ in range(2):
        await store.charge("change", [claim(80)], [-20])
    assert (await standing(store, claim(0))).spent == 40
