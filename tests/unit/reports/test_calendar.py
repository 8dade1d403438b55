"""Spend by calendar, filters and zones adds up to what the entries come to."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from proxy.cli.main import app
from proxy.ledger.database import open_ledger, writing
from proxy.ledger.schema import entries
from proxy.reports.calendar import PERIODS, spend_by, total_of
from proxy.reports.spend import spend
from proxy.times import BadQuestion
from tests.support.bought import bought
from tests.support.made_up import START, fill, made_up


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('calendar')}/ledger.db")
    fill(engine, made_up(600, hours=24 * 20))
    yield engine
    engine.dispose()


@pytest.mark.long
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata"])
@pytest.mark.parametrize("period", PERIODS)
def test_every_period_adds_up_and_time_goes_forward(ledger: Engine, period: str, zone: str) -> None:
    (whole,) = spend(ledger, [], None, None)
    rows = spend_by(ledger, [period, "team"], None, None, zone=ZoneInfo(zone))
    total = total_of(rows)

    assert (total.requests, total.cost_nanousd, total.usage) == (whole.requests, whole.cost_nanousd, whole.usage)
    times = [row.group[period] or "" for row in rows]
    assert times == sorted(times)
    assert len(set(times)) > 1


def test_a_day_begins_at_the_zone_s_midnight(ledger: Engine) -> None:
    berlin = spend_by(ledger, ["day"], None, None, zone=ZoneInfo("Europe/Berlin"))
    hours = spend_by(ledger, ["hour"], None, None, zone=ZoneInfo("Europe/Berlin"))
    by_day: dict[str, int] = {}
    for row in hours:
        day = (row.group["hour"] or "")[:10]
        by_day[day] = by_day.get(day, 0) + row.cost_nanousd

    assert {row.group["day"]: row.cost_nanousd for row in berlin} == by_day


@pytest.mark.parametrize("by", [[], ["model"], ["team"], ["day"], ["month", "model"]])
def test_a_filter_leaves_what_has_its_value(ledger: Engine, by: list[str]) -> None:
    (payments,) = [row for row in spend(ledger, ["team"], None, None) if row.group["team"] == "payments"]
    total = total_of(spend_by(ledger, by, None, None, only={"team": "payments"}))

    assert (total.requests, total.cost_nanousd, total.usage) == (
        payments.requests,
        payments.cost_nanousd,
        payments.usage,
    )


def test_nothing_that_fits_is_a_total_of_nothing(ledger: Engine) -> None:
    (row,) = spend_by(ledger, [], None, None, only={"team": "none of this name"})

    assert (row.requests, row.cost_nanousd, spend_by(ledger, ["model"], None, None, only={"team": "no"})) == (0, 0, [])


@pytest.mark.parametrize("by", [["day", "day"], ["weather"]])
def test_what_makes_no_sense_is_refused(ledger: Engine, by: list[str]) -> None:
    with pytest.raises(BadQuestion):
        spend_by(ledger, by, None, None)


def test_what_an_untrusted_client_claims_can_be_seen(ledger: Engine, tmp_path: Path) -> None:
    with writing(ledger).begin() as connection:
        connection.execute(
            sa.update(entries).values(untrusted_labels=json.dumps({"customer": "acme", "feature": "=1"}))
        )
    config = tmp_path / "taximeter.yaml"
    config.write_text(json.dumps({"ledger": str(ledger.url)}))
    arguments = ["spend", "--config", str(config), "--by", "claimed.customer,claimed.feature", "--format", "csv"]
    (row,) = csv.DictReader(io.StringIO(CliRunner().invoke(app, arguments).stdout))

    assert (row["claimed.customer"], row["claimed.feature"], row["share_percent"]) == ("acme", "'=1", "100.0")


def test_of_nothing_nobody_has_a_share(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/free.db")
    fill(engine, [bought(START, "0", model=model) for model in ("small", "smaller")])
    config = tmp_path / "taximeter.yaml"
    config.write_text(json.dumps({"ledger": str(engine.url)}))
    engine.dispose()
    arguments = ["spend", "--config", str(config), "--by", "model", "--since", "2026-11-01"]
    shown = CliRunner().invoke(app, arguments).stdout
    assert "total" in shown
    assert "0.0" not in shown
    (row, _) = csv.DictReader(io.StringIO(CliRunner().invoke(app, [*arguments, "--format", "csv"]).stdout))
    assert (row["cost_usd"], row["share_percent"]) == ("0", "")


def test_csv_has_a_column_for_each_unit_and_the_table_a_total(ledger: Engine, tmp_path: Path) -> None:
    config = tmp_path / "taximeter.yaml"
    config.write_text(json.dumps({"ledger": str(ledger.url)}))
    whole = ["spend", "--config", str(config)]
    rows = list(
        csv.DictReader(io.StringIO(CliRunner().invoke(app, [*whole, "--by", "model", "--format", "csv"]).stdout))
    )
    (total,) = spend(ledger, [], None, None)

    assert sum(int(row["input"]) for row in rows) == total.usage["input"]
    assert "usage" not in rows[0]
    table = CliRunner().invoke(app, [*whole, "--by", "month,team"]).stdout.splitlines()
    assert [("100.0" in line) for line in table if line.startswith("total ")] == [True]
    assert CliRunner().invoke(app, [*whole, "--timezone", "Mars/Base"]).exit_code == 2
    assert CliRunner().invoke(app, [*whole, "--only", "team"]).exit_code == 2
