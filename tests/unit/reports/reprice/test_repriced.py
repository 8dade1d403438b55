"""Wrong and missing prices, mended by corrections: sums, budgets, metrics and the audit agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from pricing.load import load_book
from pricing.operator import parse_rows
from proxy.cli.main import app
from proxy.control.metrics.series import MetricState
from proxy.ledger.audit.verify import verify
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.corrections import record_of
from proxy.ledger.entries.entry import Entry
from proxy.ledger.planes.instances import name_of
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.pairing import Pairing
from proxy.ledger.recording.shipping import Positions, Shipper
from proxy.ledger.schema import budget_spend
from proxy.reports.calls import requests
from proxy.reports.reprice.repriced import Repricing, reprice
from proxy.reports.spend import spend
from proxy.spool.frames import Position
from proxy.spool.reader import SpoolReader, runs
from proxy.spool.writer import SpoolWriter
from tests.support.bought import bought, with_row
from tests.support.made_up import START, fill

PRICES = [{"provider": "openai", "model": "small", "input": "2", "output": "10"}]
BOOK = load_book().with_operator(parse_rows(PRICES)[0])
RIGHT = 3_000_000  # 1,000 tokens in at 2, 100 out at 10 USD a million


def entries() -> list[Entry]:
    """One right, one too dear, one without a price, one that the provider priced, one whose price a batch explains."""
    made = [
        bought(START, "0.003"),
        bought(START, "0.5"),
        bought(START, None),
        bought(START, "0.7"),
        bought(START, None, model="x", model_requested="x"),
    ]
    made[3] = with_row(made[3], cost_source="provider")
    return made


@pytest.fixture
def ledger(database: str) -> Any:
    engine = open_ledger(database)
    fill(engine, entries())
    yield engine
    engine.dispose()


def found(engine: Engine) -> Repricing:
    return reprice(engine, BOOK, START, START + 86_400_000_000)


def apply(engine: Engine, repricing: Repricing) -> None:
    shipper = Shipper(engine, "i", MetricState.load(engine, "i"))
    shipper.ship(Batch(entries=[item.correction for item in repricing.items]), Positions([], []))


def test_what_is_wrong_or_missing_is_found_and_nothing_else(ledger: Engine) -> None:
    repricing = found(ledger)

    assert sorted((item.old, item.new) for item in repricing.items if item.old) == [(500_000_000, RIGHT)]
    assert [(item.new, item.why) for item in repricing.items if item.old is None] == [(RIGHT, "it had no price")]
    assert repricing.left_out == {"the provider stated its cost": 1, "without a price still": 1}
    assert repricing.looked_at == 5


def test_a_correction_is_in_every_sum_and_the_audit_agrees(ledger: Engine, tmp_path: Path, database: str) -> None:
    apply(ledger, found(ledger))
    apply(ledger, found(ledger))  # nothing is left

    (total,) = spend(ledger, [], None, None)
    (from_entries,) = spend(ledger, [], None, None, rolled=False)
    with ledger.connect() as connection:
        counter = connection.execute(
            sa.select(budget_spend.c.amount).where(budget_spend.c.budget == "company")
        ).scalar_one()
    assert total == from_entries
    assert (total.cost_nanousd, total.unpriced_requests, total.requests) == (700_000_000 + 3 * RIGHT, 1, 5)
    assert "repriced_request" not in total.usage
    assert counter == total.cost_nanousd
    assert found(ledger).items == []
    assert verify(database, tmp_path).difference is None


def test_a_call_that_was_given_a_price_is_among_those_that_have_one(ledger: Engine) -> None:
    def listed(priced: str) -> int:
        rows = requests(ledger, limit=50, before=None, filters={"priced": priced}, since=START, until=None)
        return sum(row["kind"] == "attempt" for row in rows)

    assert (listed("no"), listed("yes")) == (2, 3)

    apply(ledger, found(ledger))

    assert (listed("no"), listed("yes")) == (1, 4)


def test_an_entry_can_be_repriced_again(ledger: Engine, tmp_path: Path, database: str) -> None:
    apply(ledger, found(ledger))
    dearer = load_book().with_operator(parse_rows([PRICES[0] | {"input": "4"}])[0])
    again = reprice(ledger, dearer, START, START + 86_400_000_000)

    assert {(item.old, item.new, item.why) for item in again.items} >= {
        (RIGHT, 5_000_000, "input was 2, is 4 USD per 1,000,000"),
    }
    apply(ledger, again)

    (total,) = spend(ledger, [], None, None)
    assert total.cost_nanousd == 700_000_000 + 3 * 5_000_000
    assert verify(database, tmp_path).difference is None


def test_the_command_line_corrects_without_a_server(tmp_path: Path, database: str) -> None:
    engine = open_ledger(database)
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    fill(engine, entries(), instance=name_of(data))
    config = tmp_path / "taximeter.yaml"
    config.write_text(json.dumps({"ledger": database, "data_dir": str(data), "prices": PRICES}))
    asking = [
        "report",
        "reprice",
        "--config",
        str(config),
        "--since",
        "2026-11-23",
        "--until",
        "2026-11-24",
        "--format",
        "json",
    ]

    first = json.loads(CliRunner().invoke(app, asking).stdout)
    applied = CliRunner().invoke(app, [*asking, "--apply"])
    done = json.loads(applied.stdout)
    after = json.loads(CliRunner().invoke(app, asking).stdout)

    assert (len(first["items"]), first["difference_usd"], first["applied"]) == (2, "-0.494", False)
    assert (done["items"], done["applied"]) == (first["items"], True)
    assert (after["items"], after["difference_usd"]) == ([], "0")
    assert verify(database, tmp_path).difference is None
    # Who counts budgets in memory elsewhere hears nothing of it.
    is_told = "a server elsewhere whose budgets are in memory" in applied.stderr
    assert is_told == (engine.dialect.name == "postgresql")
    engine.dispose()


def test_a_correction_comes_through_the_spool_whole(ledger: Engine, tmp_path: Path) -> None:
    """As a server that runs gets it from the command line."""
    corrections = [item.correction for item in found(ledger).items]
    writer = SpoolWriter(tmp_path, "reprice")
    for entry in corrections:
        writer.append(record_of(entry))
    writer.append(b'{"t":"correction","row":{"kind":"attempt"},"budgets":[]}')
    writer.close()
    (run,) = runs(tmp_path)
    batch = Batch()

    Pairing("i", Position(0, 0)).take(SpoolReader(tmp_path, run, Position(0, 0)).read(over=True), batch)

    assert [entry.row for entry in batch.entries] == [entry.row for entry in corrections]
    assert [list(map(tuple, entry.budgets)) for entry in batch.entries] == [
        list(entry.budgets) for entry in corrections
    ]
    assert len(batch.unreadable) == 1
