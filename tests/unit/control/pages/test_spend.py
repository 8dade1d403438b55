"""The explorer where old entries are deleted: what is shown of a user is what the roll-ups say, whatever the chart can tell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from proxy.ledger.database import open_ledger
from proxy.ledger.retention import delete_some
from proxy.ledger.rollups import DAY_US
from tests.support.made_up import START, fill, made_up
from tests.unit.control.conftest import Control


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Engine]:
    """Its entries of the first two days are deleted."""
    engine = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    fill(engine, made_up(300, hours=84))
    while delete_some(engine, 10, START + 12 * DAY_US):
        pass
    yield engine
    engine.dispose()


@pytest.mark.parametrize("by", ["user", "customer", "customer,model", "key"])
@pytest.mark.parametrize("more", ["", "&step=hour", "&tz=Europe/Berlin"])
def test_what_is_deleted_is_shown_as_it_was_added_up(control: Control, by: str, more: str) -> None:
    span = {"since": "2026-11-23T00:00:00Z", "until": "2026-11-25T00:00:00Z"}
    wanted = control.get("/api/spend", by=by, **span)["items"]
    assert any(item["cost_usd"] != "0" for item in wanted)
    address = f"/spend?since={span['since']}&until={span['until']}&by={by}&top=200&csv=spend{more}"
    shown = csv.DictReader(io.StringIO(control.client.get(address).text))
    assert sorted(row["calls"] for row in shown) == sorted(str(item["requests"]) for item in wanted)
