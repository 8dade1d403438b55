"""Files of exports: each is what the ledger has of its day, whole, whatever was written before."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.exports import files
from proxy.exports.sink import Later
from proxy.exports.status import sinks_shown
from proxy.ledger.recording.retention import delete_some
from proxy.ledger.schema import counted, entries
from proxy.times import DAY_US, now_us
from tests.support.exported import drain, exporter, ids
from tests.support.made_up import START, fill, made_up

DAYS = ["2026-11-23", "2026-11-24", "2026-11-25"]


def lines(folder: Path, day: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{day}.jsonl").read_text().splitlines()]


def test_each_day_has_its_calls_and_the_sums_are_the_ledgers(engine: Engine, tmp_path: Path) -> None:
    one = exporter(engine, {"type": "file", "path": str(tmp_path / "out")})
    fill(engine, made_up(400))
    drain(one)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{day}.jsonl" for day in DAYS]
    rows = [row for day in DAYS for row in lines(tmp_path / "out", day)]
    assert sorted(row["id"] for row in rows) == ids(engine)
    assert all(row["started_at"].startswith(day) for day in DAYS for row in lines(tmp_path / "out", day))
    with engine.connect() as connection:
        total = connection.execute(sa.select(sa.func.sum(entries.c.cost_nanousd)).where(counted())).scalar_one()
        tokens = connection.execute(sa.select(sa.func.sum(entries.c.reasoning_tokens)).where(counted())).scalar_one()
    assert sum(Decimal(row["cost_usd"]) for row in rows if row["cost_usd"] is not None) * 10**9 == total
    assert sum(row["reasoning_tokens"] for row in rows) == tokens
    assert {row["kind"] for row in rows} == {"attempt", "correction"}


def test_a_day_that_is_written_again_holds_everything_once(engine: Engine, tmp_path: Path) -> None:
    one = exporter(engine, {"type": "file", "path": str(tmp_path)})
    fill(engine, made_up(100, hours=10))
    drain(one)
    before = (tmp_path / f"{DAYS[0]}.jsonl").read_bytes()
    (tmp_path / f".{DAYS[0]}.jsonl.part").write_bytes(b"half of a line that a killed process left")
    fill(engine, made_up(100, hours=10, seed=2), instance="second")
    drain(one)
    after = lines(tmp_path, DAYS[0])
    assert sorted(row["id"] for row in after) == ids(engine)
    assert set(before.splitlines()) <= set((tmp_path / f"{DAYS[0]}.jsonl").read_bytes().splitlines())

    again = exporter(engine, {"type": "file", "path": str(tmp_path / "other"), "name": "again"}, since=0)
    drain(again)
    assert (tmp_path / "other" / f"{DAYS[0]}.jsonl").read_bytes() == (tmp_path / f"{DAYS[0]}.jsonl").read_bytes()


def test_a_long_days_history_is_written_once_whatever_its_portions(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.Files, "rows", 20)
    monkeypatch.setattr(files.Files, "at_once", 20)
    synced: list[Path] = []
    monkeypatch.setattr(files, "_sync", synced.append)
    fill(engine, made_up(200, hours=10))
    one = exporter(engine, {"type": "file", "path": str(tmp_path)}, since=0)
    drain(one)
    assert len(synced) == 1  # of ten portions
    assert sorted(row["id"] for row in lines(tmp_path, DAYS[0])) == ids(engine)

    fill(engine, made_up(100, hours=10, seed=2), instance="second")
    drain(one)
    assert len(synced) == 2  # of five portions of the log
    assert sorted(row["id"] for row in lines(tmp_path, DAYS[0])) == ids(engine)


def test_a_day_that_changes_between_portions_and_a_file_that_is_gone_are_written_again(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.Files, "rows", 20)
    monkeypatch.setattr(files.Files, "at_once", 20)
    fill(engine, made_up(100, hours=10))
    one = exporter(engine, {"type": "file", "path": str(tmp_path)}, since=0)
    one.step()
    fill(engine, made_up(100, hours=10, seed=2), instance="second")
    one.step()
    assert sorted(row["id"] for row in lines(tmp_path, DAYS[0])) == ids(engine)
    (tmp_path / f"{DAYS[0]}.jsonl").unlink()
    drain(one)
    assert sorted(row["id"] for row in lines(tmp_path, DAYS[0])) == ids(engine)


def test_a_file_that_cannot_be_written_costs_lag_and_leaves_the_old_one(engine: Engine, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("no folder")
    one = exporter(engine, {"type": "file", "path": str(out)})
    fill(engine, made_up(10))
    with pytest.raises(Later, match="cannot be written"):
        one.step()
    out.unlink()
    drain(one)
    assert sum(len(lines(out, path.stem)) for path in out.iterdir()) == len(ids(engine))


def test_a_day_whose_entries_are_deleted_keeps_its_file(engine: Engine, tmp_path: Path) -> None:
    one = exporter(engine, {"type": "file", "path": str(tmp_path)})
    fill(engine, made_up(60, hours=60))
    drain(one)
    before = (tmp_path / f"{DAYS[0]}.jsonl").read_bytes()
    while delete_some(engine, 10, START + 20 * DAY_US):
        pass
    fill(engine, made_up(5, hours=10, seed=9), instance="second")
    drain(one)
    assert (tmp_path / f"{DAYS[0]}.jsonl").read_bytes() == before
    (shown,) = sinks_shown(engine, {"file": "file"}, now_us())
    assert (shown["set_aside"], shown["lag_entries"]) == (len(ids(engine)), 0)
