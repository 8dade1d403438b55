"""The ledger behind PgBouncer in transaction mode, where nothing of a session outlives its transaction."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from proxy.control.metrics.series import MetricState
from proxy.ledger.audit.verify import verify
from proxy.ledger.database import current_version, open_ledger, reading
from proxy.ledger.version import HEAD
from proxy.reports.spend import spend
from proxy.spool.writer import SpoolWriter
from tests.support.pgbouncer import pooled
from tests.support.postgres import PostgresServer
from tests.support.spooled import Ledger, append, intent, settle

LINE = {"unit": "request", "quantity": "1", "price_usd": "0.0000004", "per": 1, "cost_usd": "0.0000004"}

pytestmark = pytest.mark.needs("postgres", "pgbouncer")


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.emptied_database() as direct, pooled(postgres, direct) as behind:
        yield behind


def test_several_that_open_an_empty_ledger_at_once_make_it_once(postgres: PostgresServer) -> None:
    with postgres.new_database() as direct, pooled(postgres, direct) as behind:
        opened: list[sa.Engine] = []
        threads = [threading.Thread(target=lambda: opened.append(open_ledger(behind))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [current_version(engine) for engine in opened] == [HEAD] * 4
        with opened[0].connect() as connection:
            locks = connection.execute(
                sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
            ).scalar_one()
        assert locks == 0, "left in a session that somebody else has now"
        for engine in opened:
            engine.dispose()


def test_batches_and_questions_take_turns_in_a_few_sessions(url: str, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, url)
    ledger.counts = MetricState()  # type: ignore[assignment]  # the real ones
    ledger.start()
    writer = SpoolWriter(tmp_path / "spool", "0")
    others = [open_ledger(url) for _ in range(3)]
    # As many sessions as there may be: each next transaction gets the next of them.
    with contextlib.ExitStack() as at_once:
        for engine in others:
            at_once.enter_context(engine.connect()).execute(sa.text("SELECT 1"))
    for number in range(12):  # a driver prepares a statement when it is used for the sixth time
        one = intent(request_id=str(number))
        append(writer, one, settle(one, cost_lines=[LINE]))
        ledger.ship()
        assert spend(others[number % 3], ["team"], None, None)[0].requests == number + 1
    assert (len(ledger.rows()), ledger.spent(), ledger.recorder.database_down_since) == (12, 12 * 400, None)
    assert verify(url, tmp_path / "scratch").difference is None
    writer.close()
    for engine in (*others, ledger.engine):
        engine.dispose()


def test_reports_are_not_compiled(url: str) -> None:
    engine = open_ledger(url)
    with engine.connect() as connection:
        before = connection.execute(sa.text("SHOW jit")).scalar_one()
    with reading(engine).connect() as connection:
        assert connection.execute(sa.text("SHOW jit")).scalar_one() == "off"
    with engine.connect() as connection:
        assert connection.execute(sa.text("SHOW jit")).scalar_one() == before
    engine.dispose()
