"""The page's questions to the ledger agree with the API's, are bounded, and use an index."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.budgets.budget import compile_budgets
from proxy.ledger.database import open_ledger
from proxy.reports import calls as queries
from proxy.reports import overview
from proxy.reports.overview import Spent
from proxy.reports.spend import spend
from proxy.times import DAY_US, HOUR_US, MINUTE_US
from tests.support import day
from tests.support.made_up import fill

NOW_US = time.time_ns() // 1000


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('overview')}/ledger.db")
    fill(engine, list(day.history(NOW_US, list(compile_budgets(())), "here")), batch=1000)
    yield engine
    engine.dispose()


def total(parts: Iterator[Spent]) -> tuple[int, int, int]:
    found = list(parts)
    return sum(p.cost_nanousd for p in found), sum(p.calls for p in found), sum(p.unpriced for p in found)


@pytest.mark.parametrize(("step_us", "steps"), [(MINUTE_US, 60), (HOUR_US, 24)])
def test_time_is_whole_stretches_without_gaps(ledger: Engine, step_us: int, steps: int) -> None:
    found = overview.spent_by_time(ledger, NOW_US, step_us, steps)
    assert len(found) == steps
    starts = list(found)
    assert starts == list(range(starts[0], starts[0] + steps * step_us, step_us))
    assert starts[-1] <= NOW_US < starts[-1] + step_us
    (wanted,) = spend(ledger, [], starts[0], None)
    assert total(iter(found.values())) == (wanted.cost_nanousd, wanted.requests, wanted.unpriced_requests)
    assert wanted.requests > 0


@pytest.mark.parametrize("by", ["model", "team"])
def test_the_dearest_are_the_apis(ledger: Engine, by: str) -> None:
    since = NOW_US - DAY_US
    wanted = [
        (item.group[by], Spent(item.cost_nanousd, item.requests, item.unpriced_requests))
        for item in spend(ledger, [by], since, None)
    ]
    assert len(wanted) > 3
    assert overview.dearest(ledger, by, since, 100) == wanted
    assert overview.dearest(ledger, by, since, 3) == wanted[:3]


def test_the_dearest_sessions(ledger: Engine) -> None:
    found = overview.dearest_sessions(ledger, NOW_US - DAY_US, 5)
    assert len(found) == 5
    spent = {item.group["session"]: item for item in spend(ledger, ["session"], NOW_US - DAY_US, None)}
    assert [one.cost_nanousd for one in found] == sorted((item.cost_nanousd for item in spent.values()), reverse=True)[
        :5
    ]
    for one in found:
        assert one.calls == spent[one.session].requests
        assert (one.team, one.agent) == ("research", "claude-code")


def test_void_calls_count_nowhere_and_corrections_only_as_money(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/l.db")
    entry = next(iter(day.history(NOW_US, list(compile_budgets(())), "here")))
    changes: list[dict[str, object]] = [
        {"id": "1"},
        {"id": "2", "status": "void", "cost_nanousd": 0},
        {"id": "3", "kind": "correction", "corrects_id": "1", "cost_nanousd": -30},
        {"id": "4", "cost_nanousd": None},
    ]
    row = entry.row._replace(started_at=NOW_US, cost_nanousd=100)
    fill(engine, [entry.with_row(row._replace(**change)) for change in changes])  # type: ignore[arg-type]  # of any field
    assert overview.spent_by_time(engine, NOW_US, MINUTE_US, 1) == {NOW_US - NOW_US % MINUTE_US: Spent(70, 2, 1)}
    assert [spent for _, spent in overview.dearest(engine, "team", NOW_US, 9)] == [Spent(70, 2, 1)]
    (session,) = overview.dearest_sessions(engine, NOW_US, 9)
    assert (session.calls, session.cost_nanousd) == (2, 70)
    engine.dispose()


def test_no_question_reads_the_whole_ledger(ledger: Engine) -> None:
    """Every statement that the page runs finds its rows by an index: a ledger of years costs what a day costs."""
    statements: list[tuple[str, object]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement != "BEGIN":
            statements.append((statement, parameters))

    sa.event.listen(ledger, "before_cursor_execute", note)
    overview.spent_by_time(ledger, NOW_US, MINUTE_US, 60)
    overview.dearest(ledger, "model", NOW_US - HOUR_US, 8)
    overview.dearest_sessions(ledger, NOW_US - HOUR_US, 8)
    queries.requests(ledger, limit=25, before=None, filters={}, since=None, until=None)
    sa.event.remove(ledger, "before_cursor_execute", note)
    assert len(statements) > 4
    with ledger.connect() as connection:
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all() for text, values in statements]  # type: ignore[arg-type]
    told = [" ".join(str(row[3]) for row in plan) for plan in plans]
    assert not [plan for plan in told[:-1] if re.search(r"SCAN (entries|spend_)", plan)], told
    assert "entries_started_at" in told[0]
    assert "sqlite_autoindex_entries_1" in told[-1], told
    assert "TEMP B-TREE" not in told[-1], told
