"""Customers who cost more than they pay: counted by plan, and told once a month."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.control.alerts import Alerts
from proxy.control.plan_watch import PlanWatch
from proxy.ledger.database import open_ledger
from proxy.ledger.schema import alerts
from tests.support.bought import bought
from tests.support.made_up import fill

NOVEMBER = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 1_000_000
DAY_US = 86_400_000_000


def test_who_passes_the_plans_revenue_is_told_once_a_month(tmp_path: Path) -> None:
    plans = [
        {"name": "pro", "match": {"label.plan": "pro"}, "usd_per_month": 1, "fee": "0.1"},
        {"name": "rest", "usd_per_month": 50},
    ]
    config = read_section(Config, {"plans": plans})
    engine = open_ledger(f"sqlite:///{tmp_path}/l.db")
    told = Alerts(engine, "i", lambda: config, lambda: ())
    watch = PlanWatch(engine, lambda: config, told)
    pro = {"labels": {"plan": "pro"}}
    fill(engine, [bought(NOVEMBER, "0.91", customer="acme", **pro), bought(NOVEMBER, "0.9", customer="even", **pro)])

    for _ in range(2):
        watch.look(NOVEMBER + DAY_US)
    watch.look(NOVEMBER + 40 * DAY_US)  # nobody called in December

    with engine.connect() as connection:
        (row,) = connection.execute(sa.select(alerts)).mappings()
    assert (row["kind"], row["group"], row["detail"]) == ("plan_loss", "acme", "pro")
    assert row["text"] == (
        "Customer acme passed its plan's revenue: $0.91 of cost in 2026-11, $0.9 are left of what plan pro brings in."
    )
    assert watch.at_loss == {"pro": 0, "rest": 0}
    engine.dispose()


def test_what_cannot_be_imported_ends_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first plans may come with a reload, when Taximeter's files are another version's."""
    config = read_section(Config, {"plans": [{"name": "pro", "usd_per_month": 1}]})
    engine = open_ledger(f"sqlite:///{tmp_path}/l.db")
    watch = PlanWatch(engine, lambda: config, Alerts(engine, "i", lambda: config, lambda: ()))
    monkeypatch.setitem(sys.modules, "proxy.reports.margin.margin", None)

    watch.look(NOVEMBER + DAY_US)

    assert watch.at_loss == {}
    engine.dispose()


def test_the_count_is_of_the_running_month(tmp_path: Path) -> None:
    config = read_section(Config, {"plans": [{"name": "pro", "usd_per_month": 1}]})
    engine = open_ledger(f"sqlite:///{tmp_path}/l.db")
    watch = PlanWatch(engine, lambda: config, Alerts(engine, "i", lambda: config, lambda: ()))
    fill(engine, [bought(NOVEMBER, "2", customer=name) for name in ("a", "b", None)])

    watch.look(NOVEMBER + DAY_US)

    assert watch.at_loss == {"pro": 2}
    engine.dispose()
