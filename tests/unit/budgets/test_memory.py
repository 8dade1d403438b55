"""What the data plane tells of budgets with many counters: the fullest, and how many there are."""

from __future__ import annotations

import random

from proxy.budgets.memory import MemoryStore
from proxy.budgets.store import Standing
from proxy.types import Claim

NOW_S = 1_800_000_000.0


def store_of(standings: list[Standing]) -> MemoryStore:
    store = MemoryStore()
    for standing in standings:
        store.seed(standing)
    return store


def test_the_fullest_are_those_that_sorting_finds() -> None:
    chance = random.Random(3)
    groups = [
        Standing("each", f"g{number}", 0, None, "usd", 10**9, chance.randrange(10**9), 0) for number in range(1000)
    ]
    alone = Standing("all", "", 0, None, "usd", 10**9, 5, 0)
    found, counts = store_of([*groups, alone]).fullest(3, NOW_S)
    wanted = sorted(groups, key=lambda standing: -standing.spent)[:3]
    assert {standing.group: standing for standing in found} == {one.group: one for one in (*wanted, alone)}
    assert counts == {"each": 1000, "all": 1}


def test_windows_that_are_over_are_left_out() -> None:
    over = Standing("b", "", 0, int(NOW_S), "usd", 10, 9, 0)
    current = Standing("b", "", int(NOW_S), int(NOW_S) + 60, "usd", 10, 1, 0)
    assert store_of([over, current]).fullest(3, NOW_S) == ([current], {"b": 1})


def test_a_base_takes_the_place_of_the_one_before_of_idle_counters_too() -> None:
    store = MemoryStore(most_counters=1)
    first, other = (Standing("b", group, 0, None, "usd", 10**9, 100, 0) for group in ("s", "t"))
    store.seed(first, 40)
    store.seed(other, 0)  # the first one is idle now
    for base, spent in ((300, 360), (300, 360), (-20, 40), (0, 60), (7, 67)):
        for standing in (first, other):
            store.seed(standing._replace(spent=1), base)
        found = [store.standings("b", group) for group in ("s", "t")]
        assert [[one.spent for one in standings] for standings in found] == [[spent], [spent + 40]]
    assert store.begin_anew("b", "usd", 0, None)
    assert sorted(one.spent for one in store.standings("b")) == [67, 107]
    assert store.begin_anew("b", "usd", 60, 120)
    assert store.standings("b") == []


async def test_a_budget_of_a_month_that_was_one_of_a_day_on_the_first_is_not_over_with_the_day() -> None:
    day, month, store = 86_400, 30 * 86_400, MemoryStore()
    store.seed(Standing("b", "", 0, day, "usd", 10**9, 70, 0))
    await store.forget_ended_windows(day)  # as groups are put aside that are many
    store.seed(Standing("b", "busy", 0, day, "usd", 10**9, 35, 0))
    assert store.begin_anew("b", "usd", 0, month)
    late = Claim("b", "late", 0, day, 10**9, 0, "usd", True)
    await store.charge("x", [late], [5])  # of a call that began before
    for now in (day, 2 * day, 3 * day):
        await store.forget_ended_windows(now)
    assert sum(one.spent for one in store.standings("b")) == 110
    await store.forget_ended_windows(month + day)
    assert store.standings("b") == []
