"""PostgreSQL that goes away, and connections that break at the COMMIT: nothing is missing, nothing is double."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from proxy.control.metrics.series import MetricState
from proxy.ledger.audit.verify import verify
from proxy.ledger.database import connect, open_ledger
from proxy.ledger.recording import outage
from proxy.ledger.recording import recorder as recorder_module
from proxy.ledger.recording.recorder import Recorder
from proxy.ledger.schema import entries
from proxy.spool.writer import SpoolWriter
from tests.support.cutting import Cutter
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until
from tests.unit.ledger.away import Load, away

pytestmark = pytest.mark.needs("postgres")


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One of its own: it is stopped. What it has committed outlives its processes."""
    with PostgresServer(synchronous_commit="on") as running:
        yield running


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
def test_a_database_that_is_away_costs_lag_and_nothing_else(
    server: PostgresServer, tmp_path: Path, crash: bool
) -> None:
    figures = away(server, server.url(), tmp_path, seconds=1.5, rate=400, crash=crash)
    assert figures.entries == figures.calls > 200
    assert figures.difference is None
    assert figures.most_lag_s > 0.5


def test_connections_that_break_at_the_commit_lose_and_double_nothing(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "_RETRY_S", 0.001)
    monkeypatch.setattr(recorder_module, "_EVERY_S", 0.005)
    monkeypatch.setattr(recorder_module, "_MANY_EVERY_S", 0.005)
    open_ledger(server.url()).dispose()
    with (
        tempfile.TemporaryDirectory(prefix="cut-") as between,
        Cutter(Path(between), server.socket, cuts=0.4) as cutter,
    ):
        engine = connect(f"postgresql://taximeter@/postgres?host={between}")
        recorder = Recorder(engine, tmp_path, instance="i", metrics=MetricState())
        stop = threading.Event()
        thread = threading.Thread(target=recorder.run, args=(stop,))
        thread.start()
        writer = SpoolWriter(tmp_path, "w")
        load = Load(writer)
        wait_until("enough COMMITs are cut", lambda: cutter.lost_answers >= 8 and cutter.lost_commits >= 8, 60)
        calls = load.stop()
        stop.set()
        thread.join()
        engine.dispose()
        direct = open_ledger(server.url())
        # The thread may have given up; who comes after it goes on with what its metrics have come to, as a start does.
        after = Recorder(direct, tmp_path, instance="i", metrics=MetricState.load(direct, "i"))
        wait_until("all is shipped", lambda: not after.step(), 60)
        writer.close()
    with direct.connect() as connection:
        found = connection.execute(sa.select(sa.func.count()).select_from(entries)).scalar_one()
    direct.dispose()
    assert found == calls > 100
    with tempfile.TemporaryDirectory() as scratch:
        assert verify(server.url(), Path(scratch), tmp_path).difference is None
