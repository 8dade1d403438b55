"""Questions to the ledger: SQLite and PostgreSQL give the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from proxy.budgets.budget import compile_budgets
from proxy.config import model as config
from proxy.ids import Ids, began_at
from proxy.ledger.database import open_ledger
from proxy.ledger.planes.counters import budget_seeds
from proxy.reports import calls as queries
from proxy.reports import one_session
from proxy.reports import sessions as session_queries
from proxy.reports import spend as spending
from proxy.times import BadQuestion
from tests.support.made_up import HOUR_US, START, fill, made_up
from tests.support.postgres import PostgresServer

BYS = [
    [], ["team"], ["key", "model"], ["model", "provider", "upstream"], ["user", "customer"], ["customer", "model", "day"],
    ["agent", "hour"], ["hour"], ["day", "team"], ["session"], ["session", "team"], ["session", "model"],
    ["label.plan"], ["label.a.b-c", "team"], ["label.nobody"],
]  # fmt: skip
SPANS = [
    (None, None), (START + 5 * HOUR_US, None), (None, START + 30 * HOUR_US), (START + HOUR_US // 3, START + 50 * HOUR_US + 77),
    (START + 7 * HOUR_US + 1, START + 7 * HOUR_US + 1000), (START + 3 * HOUR_US, START + 3 * HOUR_US), (START + 90 * HOUR_US, None),
]  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[tuple[Engine, Engine]]:
    """The same ledger in both databases."""
    made = made_up(1500)
    with postgres.new_database() as url:
        engines = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/l.db"), open_ledger(url)
        for engine in engines:
            fill(engine, made)
        yield engines
        for engine in engines:
            engine.dispose()


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('calls')}/l.db")
    fill(engine, made_up(300))
    yield engine
    engine.dispose()


def by_group(items: list[spending.SpendRow], by: list[str]) -> dict[tuple[Any, ...], spending.SpendRow]:
    found = {tuple(item.group[name] for name in by): item for item in items}
    assert len(found) == len(items), "a group came twice"
    return found


@pytest.mark.needs("postgres")
@pytest.mark.parametrize("by", BYS, ids=",".join)
def test_what_was_spent_is_the_same_in_both(both: tuple[Engine, Engine], by: list[str]) -> None:
    for since, until in SPANS:
        answers = [spending.spend(engine, by, since, until) for engine in both]
        assert by_group(answers[0], by) == by_group(answers[1], by)
        costs = [item.cost_nanousd for item in answers[0]]
        assert costs == sorted(costs, reverse=True)
    assert sum(item.requests for item in spending.spend(both[0], by, None, None)) > 1000


@pytest.mark.needs("postgres")
def test_lists_are_the_same_in_both(both: tuple[Engine, Engine]) -> None:
    for filters in (
        {},
        {"team": "payments"},
        {"session": "session-3"},
        {"status": "unconfirmed", "model": "big"},
        {"agent": "x"},
    ):
        pages = [
            queries.requests(
                engine, limit=40, before=None, filters=filters, since=START + HOUR_US, until=START + 9 * HOUR_US
            )
            for engine in both
        ]
        assert pages[0] == pages[1]
        if pages[0]:
            last = pages[0][-1]["id"]
            more = [queries.requests(e, limit=40, before=last, filters=filters, since=None, until=None) for e in both]
            assert more[0] == more[1]
            assert queries.request(both[0], last) == queries.request(both[1], last) != []
    for since, until in SPANS:
        orders: tuple[session_queries.Order, ...] = ("latest", "cost")
        for order in orders:
            tops = [session_queries.sessions(e, limit=20, order=order, since=since, until=until) for e in both]
            assert tops[0] == tops[1]
    trees = [one_session.session(engine, "session-3") for engine in both]
    assert trees[0] == trees[1] is not None


@pytest.mark.needs("postgres")
def test_seeds_of_budgets_are_the_same_in_both(both: tuple[Engine, Engine]) -> None:
    rows = [
        config.Budget(name="company", limit_usd=Decimal(5), window="total"),
        config.Budget(name="each-session", per=("session",), limit_usd=Decimal(5), window="total"),
        config.Budget(name="hourly", per=("key",), limit_requests=100, window="hour"),
    ]
    now_s = (START + 7 * HOUR_US) / 1e6
    seeds = [budget_seeds(engine, compile_budgets(rows), now_s) for engine in both]
    ordered = [sorted(found, key=lambda seed: (seed["budget"], seed["group"])) for found in seeds]
    assert ordered[0] == ordered[1]
    assert {seed["budget"] for seed in ordered[0]} == {"company", "each-session", "hourly"}


def test_a_question_that_makes_no_sense_is_told(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/l.db")
    for by in (["weather"], ["label."], ["label.x'; DROP TABLE entries"], ["team", "hour "]):
        with pytest.raises(BadQuestion):
            spending.spend(engine, by, None, None)
    engine.dispose()


def test_an_id_says_when_it_was_made() -> None:
    at = 1_795_916_000_123_456
    assert began_at(Ids().new(at)) == 1_795_916_000_123_000
    assert [began_at(text) for text in ("", "req_1", "0" * 36, Ids().new(at) + "0", Ids().new(at).upper())] == [
        None
    ] * 5


def test_a_request_is_found_by_its_own_id_and_by_its_attempts(sqlite: Engine) -> None:
    rows = queries.requests(sqlite, limit=50, before=None, filters={}, since=None, until=None)
    for row in rows:
        assert [one["id"] for one in queries.request(sqlite, row["id"])] == [row["id"]]
        assert row["id"] in [one["id"] for one in queries.request(sqlite, row["request_id"])]


def test_the_latest_are_the_same_whether_the_span_ends_or_not(sqlite: Engine) -> None:
    ends = 4_102_444_800_000_000  # 2100
    spans = [(START + HOUR_US, None), (START + HOUR_US, ends)]
    walked = [queries.requests(sqlite, limit=30, before=None, filters={}, since=a, until=b) for a, b in spans]
    assert walked[0] == walked[1]
    assert all(row["started_at"] >= START + HOUR_US for row in walked[0])
