"""What the data plane tells of budgets with many counters: the fullest, and how many there are."""

from __future__ import annotations

import random

from proxy.budgets.memory import MemoryStore
from proxy.budgets.store import Standing

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
