"""A database that takes nothing: why is said once, a stop does not wait for it, and nothing is lost by that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine, make_url

from proxy.ledger.database import writing
from proxy.ledger.entries.entry import entry_of
from proxy.ledger.recording import outage
from proxy.ledger.recording.inserting import Inserting
from proxy.ledger.recording.outage import GivenUpError, Outage, why_not_written
from proxy.ledger.recording.recorder import Recorder
from proxy.spool.writer import SpoolWriter
from tests.support.spooled import Ledger, append, intent, settle

SQLITE = make_url("sqlite:////data/taximeter.db")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path, f"sqlite:///{tmp_path}/ledger.db")
    yield made
    made.engine.dispose()


def fill(engine: Engine) -> None:
    """No page more fits on its disk, as SQLite sees it; all connections are made again."""
    engine.dispose()

    @sa.event.listens_for(engine, "connect")
    def limit(connection: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
        connection.cursor().execute("PRAGMA max_page_count = 1")


def failure(text: str, kind: type[sa.exc.DBAPIError] = sa.exc.OperationalError) -> sa.exc.DBAPIError:
    return kind("INSERT", {}, Exception(text))


def test_a_stop_leaves_to_the_next_start_what_a_full_disk_does_not_take(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was tried for ever, until the process was killed."""
    monkeypatch.setattr(outage, "_RETRY_S", 0)
    writer = SpoolWriter(ledger.folder, "w")
    for number in range(300):
        one = intent(request_id=f"r-{number}")
        append(writer, one, settle(one))
    fill(ledger.engine)
    stop = threading.Event()
    stop.set()
    ledger.recorder.run(stop)

    assert ledger.recorder.database_down_because.endswith("/ledger.db: database or disk is full")
    assert [record.getMessage().split(": ", 1)[0] for record in caplog.records] == [
        "the ledger database cannot be written",
        "the ledger database is still away",
    ]
    ledger.engine = sa.create_engine(ledger.engine.url)
    ledger.start()
    ledger.ship()
    assert (len(ledger.rows()), ledger.spent()) == (300, 300 * 400)


def away_for_good(*_: object) -> None:
    raise failure("away")


def test_who_gave_up_and_goes_on_begins_where_the_database_is(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SpoolWriter(ledger.folder, "w")
    for _ in range(2):
        one = intent()
        append(writer, one, settle(one))
    ledger.recorder.step()
    later = intent()
    append(writer, later, settle(later))
    with monkeypatch.context() as away:
        away.setattr(ledger.recorder.outage, "is_stopping", lambda: True)
        away.setattr(Recorder, "_ship", away_for_good)
        with pytest.raises(GivenUpError):
            ledger.recorder.step()

    ledger.ship()
    assert len(ledger.rows()) == 3


def test_each_reason_is_said_once_and_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outage, "_RETRY_S", 0)
    failures = [failure(text) for text in ("disk is full", "disk is full", "locked", "disk is full", "locked")]
    seen = []

    def ask() -> int:
        seen.append(one.reason)
        if failures:
            raise failures.pop()
        return 7

    one = Outage(SQLITE)
    with caplog.at_level("WARNING"):
        assert one.insist(ask) == 7

    assert seen[1:3] == ["/data/taximeter.db: locked", "/data/taximeter.db: disk is full"]
    assert [record.getMessage() for record in caplog.records] == [
        "the ledger database cannot be written: /data/taximeter.db: locked; the spool keeps everything",
        "the ledger database cannot be written: /data/taximeter.db: disk is full; the spool keeps everything",
        "the ledger database is back after 0 s",
    ]
    assert (one.since, one.reason) == (None, "")


def test_a_disk_that_fills_in_a_savepoint_is_told_as_that(ledger: Ledger) -> None:
    """SQLite rolls back the whole transaction then, and what is told of is the savepoint, which is not there any more."""
    fill(ledger.engine)
    whole = entry_of(intent(), settle(intent()), "i").row._replace(labels="x" * 1_000_000)
    inserting = Inserting(ledger.engine.dialect)

    with pytest.raises(sa.exc.OperationalError) as raised, writing(ledger.engine).begin() as connection:  # noqa: SIM117
        with connection.begin_nested():
            inserting.insert(connection, whole)

    assert str(raised.value.orig).startswith("no such savepoint")
    assert why_not_written(raised.value, SQLITE) == "/data/taximeter.db: database or disk is full"


def test_who_is_to_end_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def ask() -> None:
        tries.append(1)
        raise failure("away")

    monkeypatch.setattr(outage, "_RETRY_S", 0)
    one = Outage(SQLITE)
    one.is_stopping = lambda: len(tries) > 2
    with pytest.raises(GivenUpError):
        one.insist(ask)

    assert len(tries) == 3


def test_no_secret_and_no_value_is_said() -> None:
    url = make_url("postgresql://taximeter:geheim@db/taximeter")
    told = why_not_written(failure("connection to db failed: geheim is wrong\nsecond line"), url)
    assert told == "connection to db failed: *** is wrong"
    assert why_not_written(failure("Key (id)=(of a call) exists", sa.exc.IntegrityError), url) == "Exception"
    assert why_not_written(failure("not a number: 'of a call'", sa.exc.DataError), SQLITE) == "Exception"
