"""Retention: old entries go, what they came to stays, and the audit can tell at every moment."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.budgets.budget import compile_budgets
from proxy.config import model as config
from proxy.ledger.audit.difference import Difference
from proxy.ledger.audit.verify import verify
from proxy.ledger.database import open_ledger
from proxy.ledger.planes.counters import budget_seeds
from proxy.ledger.recording.retention import delete_some
from proxy.ledger.schema import entries
from proxy.reports.spend import entries_since, spend
from proxy.times import DAY_US, HOUR_US
from tests.support.gateway import gateway, server
from tests.support.made_up import START, fill, made_up
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until

KEPT = START + 2 * DAY_US  # of three days and a half
NOW = KEPT + 10 * DAY_US + HOUR_US
BUDGETS = compile_budgets([config.Budget(name="company", limit_usd=Decimal(5), window="total")])


@pytest.fixture(scope="module")
def filled(shared_database: str) -> str:
    engine = open_ledger(shared_database)
    fill(engine, made_up(600, hours=84))
    engine.dispose()
    return shared_database


@pytest.fixture
def ledger(filled: str, copy_of: Callable[[str], str]) -> Iterator[Engine]:
    engine = open_ledger(copy_of(filled))
    yield engine
    engine.dispose()


def count(engine: Engine, *where: Any) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(entries).where(*where)).scalar_one())


def audited(engine: Engine) -> Difference | None:
    with tempfile.TemporaryDirectory() as scratch:
        return verify(engine.url.render_as_string(hide_password=False), Path(scratch)).difference


def test_old_entries_go_some_at_a_time_and_the_audit_holds_at_each_step(ledger: Engine) -> None:
    old, kept = count(ledger, entries.c.started_at < KEPT), count(ledger, entries.c.started_at >= KEPT)
    assert min(old, kept) > 100
    sizes = []
    while size := delete_some(ledger, 10, NOW, at_once=150):
        sizes.append(size)
        assert audited(ledger) is None
    assert (sum(sizes), max(sizes)) == (old, 150)
    assert (count(ledger), count(ledger, entries.c.started_at >= KEPT)) == (kept, kept)
    assert entries_since(ledger) == KEPT


def test_what_was_spent_stays(ledger: Engine) -> None:
    """Reports and lifetime budgets are those of before."""
    questions: list[tuple[list[str], int | None, int | None]] = [
        ([], None, None), (["team", "model"], None, None), (["key", "hour"], START + 3 * HOUR_US, START + 70 * HOUR_US),
        (["customer"], None, None), (["customer", "user"], START + DAY_US, KEPT + 7777), (["day"], START, None),
        (["session"], None, None), (["model"], KEPT + 1234, KEPT + 5 * HOUR_US + 99), (["label.plan"], KEPT + 1, None),
    ]  # fmt: skip
    before = [spend(ledger, *question) for question in questions]
    seeds = budget_seeds(ledger, BUDGETS, NOW / 1e6)
    while delete_some(ledger, 10, NOW):
        pass
    assert [spend(ledger, *question) for question in questions] == before
    assert budget_seeds(ledger, BUDGETS, NOW / 1e6) == seeds != []


def test_of_deleted_times_whole_hours_are_known(ledger: Engine) -> None:
    wider = spend(ledger, ["model"], START + 5 * HOUR_US, START + 9 * HOUR_US)
    days = spend(ledger, ["customer"], START, START + DAY_US)
    while delete_some(ledger, 10, NOW):
        pass
    assert spend(ledger, ["model"], START + 5 * HOUR_US + 1, START + 8 * HOUR_US + 1) == wider
    assert spend(ledger, ["customer"], START + 1, START + DAY_US - 1) == days
    assert spend(ledger, ["model"], START + 1, START + 1) == []


def test_what_comes_late_counts_and_goes(ledger: Engine) -> None:
    """An entry of a deleted day: from a spool that waited for a database."""
    while delete_some(ledger, 10, NOW):
        pass
    spent = spend(ledger, [], None, None)[0].cost_nanousd
    late = [entry for entry in made_up(40, seed=9, hours=24) if entry.row.kind == "attempt"]
    fill(ledger, late)
    assert audited(ledger) is None
    assert spend(ledger, [], None, None)[0].cost_nanousd == spent + sum(e.row.cost_nanousd or 0 for e in late)
    while delete_some(ledger, 10, NOW):
        pass
    assert audited(ledger) is None
    assert count(ledger, entries.c.started_at < KEPT) == 0


def test_a_counter_that_is_wrong_is_still_found(ledger: Engine) -> None:
    while delete_some(ledger, 10, NOW):
        pass
    with ledger.begin() as connection:
        connection.execute(sa.text("UPDATE budget_spend SET amount = amount + 1 WHERE budget = 'company'"))
    difference = audited(ledger)
    assert difference is not None
    assert difference.where.startswith("budget_spend budget=company")


def test_a_longer_retention_brings_nothing_back(ledger: Engine) -> None:
    while delete_some(ledger, 10, NOW):
        pass
    assert delete_some(ledger, 1000, NOW) == 0
    assert entries_since(ledger) == KEPT


@pytest.mark.needs("postgres")
def test_instances_that_delete_at_once_retire_each_entry_once(postgres: PostgresServer) -> None:
    with postgres.ledger() as url:
        engine = open_ledger(url)
        fill(engine, made_up(600, hours=84))
        old = count(engine, entries.c.started_at < KEPT)
        deleted: list[int] = []

        def delete() -> None:
            while count(engine, entries.c.started_at < KEPT):
                deleted.append(delete_some(engine, 10, NOW, at_once=20))

        threads = [threading.Thread(target=delete) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(deleted) == old
        assert audited(engine) is None
        engine.dispose()


@pytest.mark.long
def test_the_server_deletes_by_itself(tmp_path: Path) -> None:
    settings = {
        "server": server(),
        "ledger": f"sqlite:///{tmp_path}/ledger.db",
        "ledger_retention_days": 3,
        "data_dir": str(tmp_path / "data"),
        "upstreams": {"u": {"base_url": "http://127.0.0.1:9/v1"}},
        "models": {"m": {"upstream": "u"}},
    }
    engine = open_ledger(str(settings["ledger"]))
    days_ago = (time.time_ns() // 1000 // DAY_US - 5) * DAY_US
    fill(engine, made_up(500, hours=119, start=days_ago))
    with gateway(tmp_path, settings) as running:
        kept = days_ago + 2 * DAY_US
        wait_until("old entries are deleted", lambda: count(engine, entries.c.started_at < kept) == 0, 20)
        assert count(engine) > 200
        assert running.verified()["ok"] is True
    engine.dispose()
