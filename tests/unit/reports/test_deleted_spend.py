"""Spend where old entries are deleted: what no group has any more is in the total, once."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from proxy.cli.main import app
from proxy.ledger.database import open_ledger
from proxy.ledger.recording.retention import delete_some
from proxy.reports.calendar import spend_and_other, spend_by, total_of
from proxy.times import DAY_US, HOUR_US
from tests.support.made_up import START, fill, made_up

_DAYS = 2 * DAY_US


@pytest.fixture(scope="module", params=["partly", "all"])
def ledger(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Of its first days some or all entries are deleted."""
    engine = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('deleted')}/ledger.db")
    fill(engine, made_up(300, hours=84))
    while delete_some(engine, 10, START + 12 * DAY_US) and request.param == "all":
        pass
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    "by", ["session", "session,model", "label.plan", "hour,session", "label.plan,customer", "month,session"]
)
@pytest.mark.parametrize("only", [{}, {"team": "search"}, {"model": "gpt-5-mini"}], ids=str)
@pytest.mark.parametrize("since", [None, START + 12 * HOUR_US, START + _DAYS])
def test_deleted_money_is_counted_once(ledger: Engine, by: str, only: dict[str, str], since: int | None) -> None:
    whole = total_of(spend_by(ledger, [], since, None, only=only))
    rows, other = spend_and_other(ledger, by.split(","), since, None, only=only)
    total = total_of(rows if other is None else [*rows, other])
    assert total == whole
    assert other is None or (other.requests > 0 and other.cost_nanousd >= 0)


@pytest.mark.parametrize("by", ["model", "customer", "user,model", "hour", "day,team", ""])
@pytest.mark.parametrize("since", [None, START + 12 * HOUR_US, START + 12 * HOUR_US + 1])
def test_where_the_sums_have_the_names_nothing_is_other(ledger: Engine, by: str, since: int | None) -> None:
    """Users' sums are of whole days, so that they may come to more than the total of some hours."""
    names = [name for name in by.split(",") if name]
    assert spend_and_other(ledger, names, since, None) == (spend_by(ledger, names, since, None), None)


def test_the_command_shows_the_rest_in_a_row(ledger: Engine, tmp_path: Path) -> None:
    config = tmp_path / "taximeter.yaml"
    config.write_text(f"ledger: {ledger.url}\n")
    asked = ["spend", "--since", "2026-11-23T12:00:00Z", "--until", "2026-12-01T00:00:00Z", "--config", str(config)]
    done = CliRunner().invoke(app, [*asked, "--by", "session", "--format", "csv"])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    whole = total_of(spend_by(ledger, [], START + 12 * HOUR_US, None))
    assert sum(int(row["requests"]) for row in rows) == whole.requests
    assert sum(Decimal(row["cost_usd"] or 0) for row in rows) == Decimal(whole.cost_nanousd) / 10**9
    assert [row["session"] for row in rows][-1] == "other"
    assert "is other" in done.stderr
