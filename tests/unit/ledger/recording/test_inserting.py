"""Rows into `entries`, many at once: in whole or, where one is odd, one by one, with nothing cut off in silence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.database import open_ledger, writing
from proxy.ledger.entries.entry import NO_END, Entry, Shipped, as_shipped, entry_of
from proxy.ledger.entries.row import Row
from proxy.ledger.recording.inserting import Inserting
from proxy.ledger.schema import entries
from tests.support.made_up import made_up
from tests.support.postgres import PostgresServer
from tests.support.spooled import intent, settle


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    engine = open_ledger(database)
    yield engine
    engine.dispose()


def shipped(rows: Iterable[Row]) -> Shipped:
    return as_shipped(Entry(row, NO_END, ()) for row in rows)


def there(connection: Connection) -> list[Row]:
    return [Row._make(row) for row in connection.execute(sa.select(entries).order_by(entries.c.id))]


def test_what_is_written_is_what_was_meant(engine: Engine) -> None:
    rows = sorted(entry.row for entry in made_up(300))
    with writing(engine).begin() as connection:
        assert Inserting(engine.dialect).all(connection, shipped(rows))
        assert there(connection) == rows


def test_one_that_is_there_already_is_told_and_the_others_can_be_written(engine: Engine) -> None:
    inserting, rows = Inserting(engine.dialect), sorted(entry.row for entry in made_up(5))[:5]
    with writing(engine).begin() as connection:
        assert inserting.insert(connection, rows[2])
        with connection.begin_nested() as savepoint:
            assert not inserting.all(connection, shipped(rows))
            savepoint.rollback()
        assert [inserting.insert(connection, row) for row in rows] == [True, True, False, True, True]
        assert there(connection) == rows


@pytest.mark.parametrize("column", ["attempt", "http_status"])
@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 2**32 + 200, 2**63])
def test_a_number_beyond_its_column_is_never_cut_to_its_last_bits(engine: Engine, column: str, number: int) -> None:
    of = intent(attempt=1)
    row = entry_of(of, settle(of), "i").row._replace(**{column: number})  # type: ignore[arg-type]
    with writing(engine).begin() as connection, connection.begin_nested() as savepoint:
        try:
            Inserting(engine.dialect).all(connection, shipped([row]))
        except OverflowError:
            savepoint.rollback()
        else:
            assert there(connection) == [row]
    with engine.connect() as connection:
        assert [getattr(row, column) for row in there(connection)] in ([], [number])


@pytest.mark.needs("postgres")
def test_a_lost_connection_is_an_error_of_the_database(postgres: PostgresServer) -> None:
    """Not one of the driver's own, which nobody above knows."""
    with postgres.ledger() as url:
        engine = open_ledger(url)
        rows = [entry.row for entry in made_up(5)]
        with contextlib.suppress(sa.exc.DBAPIError), writing(engine).begin() as connection:
            pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
            postgres.execute(f"SELECT pg_terminate_backend({pid})")
            with pytest.raises(sa.exc.OperationalError):
                Inserting(engine.dialect).all(connection, shipped(rows))
        engine.dispose()
