"""What is to be exported is noted with what it is about, in the order of the commits, whoever writes it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from proxy.ledger.beside.export_log import CAPACITY, ENTRY, note, read_portion, take_place
from proxy.ledger.database import open_ledger, writing
from proxy.ledger.export_schema import export_log
from proxy.ledger.schema import counted, entries
from proxy.times import now_us
from tests.support.export_receiver import KEY
from tests.support.exported import Told, drain, exporter, ids
from tests.support.machines import simulate
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until


def test_shares_of_machines_are_exported_when_they_are_known(sqlite: Engine, told: Told) -> None:
    one = exporter(sqlite, {"type": "cloudevents", "url": f"{told.url}/api/v1/events", "api_key": KEY})
    simulate(sqlite, 40, minutes=20)
    drain(one)
    shares = {
        event["data"]["corrects_id"]: event["data"] for event in told.taken() if event["data"]["kind"] == "capacity"
    }
    assert sorted(shares) == ids(sqlite, entries.c.capacity_nanousd.is_not(None))
    with sqlite.connect() as connection:
        total = connection.execute(sa.select(sa.func.sum(entries.c.capacity_nanousd)).where(counted())).scalar_one()
    assert sum(round(float(share["cost_usd"]) * 1e9) for share in shares.values()) == total
    assert sorted(event["id"] for event in told.taken() if event["data"]["kind"] != "capacity") == ids(sqlite)


def test_what_is_rolled_back_is_not_noted(engine: Engine) -> None:
    take_place(engine, "s", "file", None, now_us())
    with writing(engine).connect() as connection:
        note(connection, [("a", ENTRY)], 1)
        connection.rollback()
    with writing(engine).begin() as connection:
        note(connection, [("b", ENTRY), ("b", CAPACITY)], 2)
    with engine.connect() as connection:
        noted = connection.execute(sa.select(export_log.c.entry_id, export_log.c.part)).all()
    assert [tuple(row) for row in noted] == [("b", ENTRY), ("b", CAPACITY)]


def test_an_entry_that_is_gone_is_told_by_its_name(engine: Engine) -> None:
    take_place(engine, "s", "file", None, now_us())
    with writing(engine).begin() as connection:
        note(connection, [("gone", ENTRY)], 1)
    portion = read_portion(engine, "s", 10)
    assert portion is not None
    assert (portion.items, portion.gone) == ([], ["gone"])


@pytest.mark.needs("postgres")
def test_on_postgresql_a_number_never_appears_behind_the_cursor(postgres: PostgresServer) -> None:
    """Who has noted something and not committed makes the others wait, so that who reads sees either both or neither first."""
    with postgres.ledger() as url:
        engine, other = open_ledger(url), open_ledger(url)
        take_place(engine, "s", "file", None, now_us())
        done = threading.Event()

        def second() -> None:
            with writing(other).begin() as connection:
                note(connection, [("second", ENTRY)], 2)
            done.set()

        with writing(engine).begin() as connection:
            note(connection, [("first", ENTRY)], 1)
            thread = threading.Thread(target=second)
            thread.start()
            with other.connect() as looking:
                blocked = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                wait_until("the second waits", lambda: looking.execute(blocked).scalar() == 1, 10)
                assert looking.execute(sa.select(export_log)).all() == []
            assert not done.is_set()
        thread.join(10)
        with engine.connect() as connection:
            noted = connection.execute(sa.select(export_log.c.entry_id).order_by(export_log.c.seq)).scalars().all()
        assert noted == ["first", "second"]
        engine.dispose()
        other.dispose()


@pytest.mark.needs("postgres")
def test_on_postgresql_a_new_sink_gives_way_to_who_reads_for_long(postgres: PostgresServer) -> None:
    """A backup, say: a lock that waits for it would hold up the recorder as long."""
    with postgres.ledger() as url:
        engine, backup = open_ledger(url), open_ledger(url)
        with backup.connect() as reading:
            reading.execute(sa.text("LOCK TABLE export_sinks IN ACCESS SHARE MODE"))
            with ThreadPoolExecutor(1) as pool:
                taking = pool.submit(take_place, engine, "s", "file", None, now_us())
                failed = taking.exception(20) if wait([taking], 20).done else None
                reading.rollback()
        assert isinstance(failed, OperationalError)
        take_place(engine, "s", "file", None, now_us())
        assert read_portion(engine, "s", 10) is not None
        engine.dispose()
        backup.dispose()
