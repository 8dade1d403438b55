"""What a budget's counter begins with: what its calls have cost, and what was spent elsewhere before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.budgets.budget import Budget, compile_budgets
from proxy.config import model as config
from proxy.config.reading import read_section
from proxy.ledger.database import open_ledger
from proxy.ledger.planes.counters import budget_seeds, spent
from proxy.ledger.planes.definitions import take_definitions
from proxy.ledger.schema import budget_bases, budget_definitions
from proxy.money import NANO
from tests.support.bought import bought
from tests.support.made_up import fill, made_up

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def ledger(database: str) -> Iterator[Engine]:
    engine = open_ledger(database)
    yield engine
    engine.dispose()


def budget(**changes: Any) -> list[Budget]:
    opening = {"usd": "2.5", "at": "2026-11-29T06:00:00Z"}
    row = {"name": "b", "limit_usd": 10, "window": "day", "opening": opening} | changes
    return list(compile_budgets([read_section(config.Budget, row)]))


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


MANY: list[dict[str, Any]] = [
    {"name": "all", "window": "day"},
    {"name": "of a month", "window": "month"},
    {"name": "by model", "per": ["model"], "window": "day"},
    {"name": "of teams", "match": {"team": ["pay*", "research"]}, "per": ["key"], "window": "day"},
    {"name": "of one team", "match": {"team": ["payments", "payments"]}, "window": "day"},
    {"name": "of another team", "match": {"team": ["research"]}, "window": "day"},
    {"name": "of a key in a team", "match": {"key": ["s*"], "team": ["payments"]}, "window": "day"},
    {"name": "of none", "match": {"team": ["nobody's"]}, "window": "day"},
    {"name": "by label", "per": ["label.project", "team"], "window": "total"},
    {"name": "of a label", "match": {"label.project": ["alpha"]}, "window": "total"},
    {"name": "tokens", "limit_tokens": 9, "match": {"team": ["payments"]}, "window": "day"},
    {"name": "output", "limit_tokens": 9, "units": ["output"], "match": {"team": ["research"]}, "window": "day"},
    {"name": "requests", "limit_requests": 9, "per": ["session"], "window": "day"},
    {"name": "elsewhere", "window": "day", "timezone": "Pacific/Auckland"},
]


def many() -> list[Budget]:
    rows = [{} if "limit_tokens" in row or "limit_requests" in row else {"limit_usd": 9} for row in MANY]
    return list(compile_budgets([read_section(config.Budget, row | one) for row, one in zip(rows, MANY, strict=True)]))


def bases(engine: Engine) -> set[tuple[Any, ...]]:
    with engine.begin() as connection:
        found = {tuple(row) for row in connection.execute(sa.select(budget_bases))}
        connection.execute(sa.delete(budget_bases))
        connection.execute(sa.delete(budget_definitions))
    return found


def test_budgets_that_are_new_together_begin_with_what_each_begins_with_alone(ledger: Engine) -> None:
    marked = [bought(int((NOON - at) * 1e6), "0.5", labels={"project": "alpha"}) for at in (60, 120)]
    counted_in = [bought(int((NOON - 90) * 1e6), "0.25", budgets=[["all", "", int(NOON - 43_200), "usd", 7]])]
    fill(ledger, [*made_up(300, start=int((NOON - 60 * 3600) * 1e6)), *marked, *counted_in])
    budgets = many()
    for one in budgets:
        assert take_definitions(ledger, [one], NOON) == [one.name]
    alone = bases(ledger)

    assert take_definitions(ledger, budgets, NOON) == [one.name for one in budgets]
    together = bases(ledger)

    assert together == alone
    assert {row[0] for row in alone} == {one.name for one in budgets} - {"of none"}


def test_a_thousand_new_budgets_ask_no_more_of_the_entries_than_a_few(ledger: Engine) -> None:
    """Each asked for itself: three thousand took two minutes of CPU before the first call."""
    fill(ledger, made_up(30, start=int((NOON - 60 * 3600) * 1e6)))
    asked: list[str] = []
    sa.event.listen(ledger, "before_cursor_execute", lambda *said: asked.append(said[2]))

    def questions(count: int) -> int:
        rows = [
            {"name": f"b{number}", "limit_usd": 9, "window": "day", "match": {"customer": [f"c{number}"]}}
            for number in range(count)
        ]
        asked.clear()
        budgets = compile_budgets([read_section(config.Budget, row) for row in rows])
        assert len(take_definitions(ledger, budgets, NOON)) == count
        bases(ledger)
        return sum("FROM entries" in text for text in asked)

    assert questions(100) == questions(5) == 1
