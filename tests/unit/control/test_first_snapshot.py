"""What data planes begin with is known without SQLAlchemy where nothing is left to do first, and is what the ledger says."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.control.first_snapshot import first_said
from proxy.control.runtime_settings import runtime_settings
from proxy.ledger.database import open_ledger, writing
from proxy.ledger.planes import keys, raises
from proxy.ledger.planes.counters import budget_seeds
from proxy.ledger.planes.definitions import definitions, take_definitions
from proxy.ledger.version import HEAD
from proxy.times import now_s
from tests.support.bought import bought
from tests.support.made_up import fill

OPENING = {"usd": "2.5", "at": "2026-01-01T00:00:00Z"}


def first_snapshot(config: Config) -> dict[str, Any] | None:
    first = first_said(config)
    return None if first is None else first.snapshot


def config_in(folder: Path, **changes: Any) -> Config:
    tree: dict[str, Any] = {
        "data_dir": str(folder / "data"),
        "ledger": f"sqlite:///{folder}/ledger.db",
        "keys": [{"name": "app", "key": "sk-app-0000-abcdefghijklmnop"}],
        "budgets": [
            {"name": "company", "limit_usd": 10, "window": "total", "opening": OPENING},
            {"name": "teams", "limit_usd": 5, "per": ["team"], "window": "total"},
            {"name": "today", "limit_usd": 5, "window": "day"},
        ],
    }
    return read_section(Config, tree | changes)


def defined(config: Config) -> dict[str, str]:
    engine = open_ledger(config.ledger)
    budgets = runtime_settings(engine).budgets(config)
    engine.dispose()
    return {budget.name: budget.definition for budget in budgets if budget.keys is None}


def a_month(folder: Path) -> Config:
    """A ledger in which keys, raises, definitions and spent money are, as a clean stop leaves it."""
    config, now = config_in(folder), now_s()
    engine = open_ledger(config.ledger)
    fill(engine, [bought(int((now - 60) * 1e6), "0.5")])
    limits = keys.limits_named("one", "7.25", "month", rpm=10)
    keys.create_key(engine, "one", team="shop", labels={"a": "b"}, models=["m"], limits=limits)
    keys.create_key(engine, "gone", limits=keys.limits_named("gone", None, tpm=1000))
    keys.revoke_key(engine, "gone")
    budgets = runtime_settings(engine).budgets(config)
    take_definitions(engine, budgets, now)
    spent = [["company", "", 0, "usd", 10**9], ["teams", "shop", 0, "usd", 10**9]]
    fill(engine, [bought(int(now * 1e6), "1", budgets=spent)])
    wanted = raises.RaiseRequest("teams", Decimal(1), "shop", now + 3600)
    raises.make_raise(engine, budgets, wanted, now_s=now, named=None)
    ended = raises.make_raise(engine, budgets, wanted, now_s=now, named=None)
    raises.end_raise(engine, ended["id"], now)
    engine.dispose()
    return config


def test_it_is_what_the_ledger_says(tmp_path: Path) -> None:
    config = a_month(tmp_path)
    engine = open_ledger(config.ledger)
    settings = runtime_settings(engine)
    seeds = budget_seeds(engine, settings.budgets(config), now_s())
    engine.dispose()

    assert first_snapshot(config) == settings.snapshot(seeds) | {"defined": defined(config), "early": True}
    assert {(seed["budget"], seed["group"], seed["spent"], seed["base"]) for seed in seeds} == {
        ("company", "", 4_000_000_000, 2_500_000_000),
        ("teams", "shop", 1_500_000_000, 500_000_000),
        ("today", "", 500_000_000, 500_000_000),
    }
    assert [key["key"] for key in settings.keys] == ["one"]
    assert len(settings.limits) == 2
    assert len(settings.raises) == 1


def test_of_shared_budgets_it_says_when_their_definitions_were_taken_and_not_what_is_spent(tmp_path: Path) -> None:
    a_month(tmp_path)
    config = config_in(tmp_path, store="redis://localhost")
    engine = open_ledger(config.ledger)
    settings, taken = runtime_settings(engine), definitions(engine)
    engine.dispose()

    first = first_said(config)
    assert first is not None
    assert first.snapshot == settings.snapshot() | {"early": True}
    assert first.counted.taken_at == {name: one.since for name, one in taken.items()}
    assert {"company", "teams", "today"} < {budget.name for budget in first.counted.budgets}


def test_there_may_be_more_budgets_than_a_question_takes(tmp_path: Path) -> None:
    budgets = [{"name": f"b{number}", "limit_usd": 1, "window": "day"} for number in range(1200)]
    config = config_in(tmp_path, budgets=budgets)
    engine = open_ledger(config.ledger)
    settings = runtime_settings(engine)
    take_definitions(engine, settings.budgets(config), now_s())
    fill(
        engine, [bought(int(now_s() * 1e6), "1", budgets=[["b1199", "", int(now_s()) // 86400 * 86400, "usd", 10**9]])]
    )
    seeds = budget_seeds(engine, settings.budgets(config), now_s())
    engine.dispose()

    snapshot = first_snapshot(config)
    assert snapshot is not None
    assert snapshot["seeds"] == seeds
    assert [(seed["budget"], seed["spent"]) for seed in seeds] == [("b1199", 10**9)]


def test_a_ledger_that_is_not_there_is_made_and_has_nothing(tmp_path: Path) -> None:
    budgets = [{"name": "company", "limit_usd": 10, "window": "total"}]
    config = config_in(tmp_path, budgets=budgets)
    snapshot = first_snapshot(config)

    assert (tmp_path / "ledger.db").stat().st_mode & 0o777 == 0o600
    assert snapshot is not None
    assert snapshot["seeds"] == snapshot["keys"] == []
    assert first_snapshot(config) == snapshot  # nothing is in it yet
    assert snapshot["defined"] == defined(config)


def execute(folder: Path, statement: str) -> None:
    engine = open_ledger(f"sqlite:///{folder}/ledger.db")
    with writing(engine).begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def a_job_that_runs(folder: Path) -> Config:
    columns = "id, digest, api, state, ended, created_at, deadline_at, revision, record"
    execute(folder, f"INSERT INTO jobs ({columns}) VALUES ('i', 'd', 'a', 'running', 0, 1, 2, 0, '{{}}')")
    return config_in(folder)


def at_version(version: str) -> Callable[[Path], Config]:
    def prepare(folder: Path) -> Config:
        execute(folder, f"UPDATE alembic_version SET version_num = '{version}'")
        return config_in(folder)

    return prepare


def no_ledger(folder: Path) -> Config:
    (folder / "ledger.db").write_bytes(b"this is no database, but text" * 100)
    return config_in(folder)


def anothers(folder: Path) -> Config:
    with sqlite3.connect(folder / "ledger.db") as database:
        database.execute("CREATE TABLE notes (text)")
    return config_in(folder)


def where_it_is(**changes: Any) -> Callable[[Path], Config]:
    return lambda folder: config_in(folder, **changes)


def without_a_key(folder: Path) -> Config:
    keys_gone = open_ledger(f"sqlite:///{folder}/ledger.db")
    keys.revoke_key(keys_gone, "one")
    keys_gone.dispose()
    return config_in(folder, keys=[])


SOMETHING_TO_DO = {
    "a job runs": a_job_that_runs,
    "an earlier version's": at_version("0001"),
    "a later version's": at_version(f"{int(HEAD) + 1:04}"),
    "another's database": anothers,
    "no database": no_ledger,
    "a budget defined anew": where_it_is(budgets=[{"name": "today", "limit_usd": 5, "window": "month"}]),
    "a budget that is new": where_it_is(budgets=[{"name": "new", "limit_usd": 5, "window": "month"}]),
    "no key": without_a_key,
    "in a folder that cannot be made": where_it_is(ledger="sqlite:////proc/none/ledger.db"),
    "in a server": where_it_is(ledger="postgresql://localhost/none"),
    "in memory": where_it_is(ledger="sqlite:///:memory:"),
    "with options": where_it_is(ledger="sqlite:///ledger.db?timeout=1"),
    "a capacity": where_it_is(capacity=[{"name": "c", "usd_per_hour": 1, "upstreams": ["u"]}]),
    "an export": where_it_is(exports=[{"name": "e", "type": "file", "path": "e.jsonl"}]),
}


@pytest.mark.parametrize("prepare", SOMETHING_TO_DO.values(), ids=SOMETHING_TO_DO)
def test_whatever_is_to_be_done_first_is_left_to_the_recorder(
    tmp_path: Path, prepare: Callable[[Path], Config]
) -> None:
    if prepare not in (no_ledger, anothers):
        a_month(tmp_path)
    config = prepare(tmp_path)

    assert first_snapshot(config) is None


def test_what_was_spent_before_a_first_start_is_left_to_the_recorder(tmp_path: Path) -> None:
    assert first_snapshot(config_in(tmp_path)) is None
