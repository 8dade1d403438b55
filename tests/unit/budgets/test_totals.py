"""What a budget's groups come to together, which is all that a scrape asks for."""

from __future__ import annotations

import random
from typing import Any

from proxy.budgets.budget import Raise, compile_budgets
from proxy.budgets.memory import MemoryStore
from proxy.budgets.store import Standing
from proxy.config import model as config
from proxy.config.reading import read_section

NOW_S = 1_800_000_000.0


def test_totals_are_the_sums_over_all_groups_the_idle_ones_too() -> None:
    row: dict[str, Any] = {
        "name": "each",
        "per": ["session"],
        "limit_usd": "1",
        "window": "total",
        "overrides": {"g1": "10", "g2": "0.000000001"},
        "alert_at": [0.5, 1.0],
    }
    (budget,) = compile_budgets([read_section(config.Budget, row)], [Raise("each", "g3", 10**9, None)])
    chance = random.Random(5)
    spent = {f"g{number}": chance.randrange(2 * 10**9) for number in range(1000)} | {"g2": 1, "g3": 15 * 10**8}
    store = MemoryStore(most_counters=100)
    for group, amount in spent.items():
        store.seed(Standing("each", group, 0, None, "usd", 10**9, amount, 0))

    (totals,) = store.totals([budget], NOW_S)

    limits = dict.fromkeys(spent, 10**9) | {"g1": 10**10, "g2": 1, "g3": 2 * 10**9}
    over = [sum(amount >= limits[group] * share for group, amount in spent.items()) for share in (0.5, 1.0)]
    assert totals.as_message() == {"budget": "each", "spent": sum(spent.values()), "reserved": 0, "over": over}
    assert len(store.standings()) < 1000  # most of them idle


def test_a_budget_without_counters_has_spent_nothing() -> None:
    (budget,) = compile_budgets([read_section(config.Budget, {"name": "b", "limit_usd": "1", "window": "day"})], [])
    (totals,) = MemoryStore().totals([budget], NOW_S)
    assert (totals.spent, totals.reserved) == (0, 0)
