"""Which instance exports to a sink: told by one clock, whatever that of a machine says."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from proxy import times
from proxy.config.exports import Export
from proxy.exports.running import Exports
from proxy.ledger.database import open_ledger
from proxy.ledger.export_schema import export_sinks
from tests.support.waiting import wait_until


def test_a_machine_whose_clock_is_hours_ahead_keeps_no_sink_for_hours(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it gone then, nobody would have exported until its hours were over. Who shares a file shares the clock."""
    hours = 36_000.0
    monkeypatch.setattr(times, "_now", lambda: time.time() + hours)
    engine = open_ledger(database)
    running = Exports(engine, "a", lambda: [Export(type="file", path=str(tmp_path / "out"))])
    kept: list[float] = []

    def is_kept() -> bool:
        with engine.connect() as connection:
            kept[:] = connection.execute(sa.select(export_sinks.c.keeper_until)).scalars()
        return any(kept)

    running.start()
    wait_until("the sink is kept", is_kept, 30)
    running.stop()
    ahead = kept[0] / 1e6 - time.time()
    assert abs(ahead - (0 if engine.dialect.name == "postgresql" else hours)) < 3600
    engine.dispose()
