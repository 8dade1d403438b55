"""Repriced entries in the counters of a data plane that runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from proxy.budgets.budget import compile_budgets
from proxy.budgets.memory import MemoryStore
from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.dataplane.repricings import charge_repricings
from proxy.times import now_s


@pytest.mark.parametrize("known_before", [True, False])
async def test_a_running_window_gets_the_difference_once_and_others_nothing(known_before: bool) -> None:
    rows: list[dict[str, Any]] = [
        {"name": "day", "limit_usd": 10, "window": "day"}, {"name": "calls", "limit_requests": 5, "window": "total"},
    ]  # fmt: skip
    budgets = compile_budgets(read_section(Config, {"budgets": rows}).budgets)
    start = budgets[0].window_now(now_s())[0]
    store = MemoryStore()
    plane: Any = SimpleNamespace(store=store, configured=SimpleNamespace(budgets=SimpleNamespace(budgets=budgets)))
    if known_before:
        await charge_repricings(plane, [["earlier", [["day", "", start, "usd", 900]]]])
    amounts = [["day", "", start, "usd", -100], ["day", "", start - 86_400, "usd", 7], ["gone", "", 0, "usd", 5]]

    for _ in range(2):  # a control process that comes back may tell it again
        await charge_repricings(plane, [["c", [*amounts, ["calls", "", 0, "usd", 5]]]])

    (standing,) = store.standings()
    assert (standing.budget, standing.spent, standing.limit) == ("day", 800 if known_before else -100, 10_000_000_000)
