"""The contract of every budget store. A new store joins by one more fixture parameter."""

from __future__ import annotations

import asyncio

import pytest

from proxy.budgets.memory import MemoryStore
from proxy.budgets.store import Denied, Granted, Store
from proxy.types import Claim

NOW = 1_764_000_000.0
LATER = NOW + 3600


@pytest.fixture(params=["memory"])
def store(request: pytest.FixtureRequest) -> Store:
    return MemoryStore()


def claim(amount: int, *, budget: str = "b", group: str = "", limit: int = 100, hard: bool = True) -> Claim:
    return Claim(budget, group, 0, None, limit, amount, "usd", hard)


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
    waiting = asyncio.create_task(store.wait_for_room([claim(50)], timeout_s=5))
    await asyncio.sleep(0)
    await store.settle("a", [10])
    assert await waiting is True


async def test_waiting_ends_when_the_time_is_over(store: Store) -> None:
    await store.reserve("a", [claim(100)], NOW, LATER)
    assert await store.wait_for_room([claim(50)], timeout_s=0.01) is False


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
