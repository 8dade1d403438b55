"""What a budget's counter begins with: what its calls have cost, and what was spent elsewhere before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from proxy.budgets.budget import Budget, compile_budgets
from proxy.config import model as config
from proxy.ledger.counters import budget_seeds, spent
from proxy.ledger.database import open_ledger
from proxy.ledger.definitions import take_definitions
from proxy.money import NANO
from tests.support.bought import bought
from tests.support.made_up import fill

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def ledger(database: str) -> Iterator[Engine]:
    engine = open_ledger(database)
    yield engine
    engine.dispose()


def budget(**changes: Any) -> list[Budget]:
    opening = {"usd": "2.5", "at": "2026-11-29T06:00:00Z"}
    row = {"name": "b", "limit_usd": 10, "window": "day", "opening": opening} | changes
    return list(compile_budgets([config.Budget.model_validate(row)]))


def counters(engine: Engine, budgets: list[Budget], now_s: float) -> dict[str, float]:
    assert take_definitions(engine, budgets, now_s) in (["b"], [])
    seeds = {row["group"]: row["spent"] / NANO for row in budget_seeds(engine, budgets, now_s)}
    start, _ = budgets[0].window_now(now_s)
    assert {group: amount / NANO for group, amount in spent(engine, "b", "usd", start).items()} == seeds
    return seeds


def test_what_was_spent_elsewhere_counts_in_its_window(ledger: Engine) -> None:
    fill(ledger, [bought(int((NOON - 60) * 1e6), "0.75")])

    assert counters(ledger, budget(), NOON) == {"": 3.25}
    assert counters(ledger, budget(), NOON + 1) == {"": 3.25}  # taken once
    assert counters(ledger, budget(), NOON + 86_400) == {}
    assert counters(ledger, budget(window="month"), NOON + 2 * 86_400) == {}
    assert counters(ledger, budget(window="total"), NOON + 400 * 86_400) == {"": 3.25}


def test_another_opening_is_another_definition(ledger: Engine) -> None:
    assert counters(ledger, budget(), NOON) == {"": 2.5}
    assert counters(ledger, budget(opening={"usd": "4", "at": "2026-11-29T06:00:00Z"}), NOON) == {"": 4}
    assert counters(ledger, budget(opening=None), NOON) == {"": 0}
    assert budget(opening=None)[0].definition == budget(opening=None, limit_usd=20, action="warn")[0].definition
