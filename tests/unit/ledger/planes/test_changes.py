"""Whether the ledger can say anything else is known without asking it, whoever wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ledger.database import open_ledger, writing
from proxy.ledger.planes import keys
from proxy.ledger.planes.changes import Changes
from proxy.ledger.schema import metric_state


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    opened = open_ledger(database)
    yield opened
    opened.dispose()


def test_each_commit_of_another_connection_is_noticed_and_nothing_else(engine: Engine, database: str) -> None:
    other = open_ledger(database)
    with closing(Changes(engine)) as changes:
        before = changes.count()
        if engine.dialect.name != "sqlite":
            assert before is None  # so that the ledger is asked each time
            other.dispose()
            return
        keys.identities(engine)
        with writing(engine).begin() as connection:
            connection.exec_driver_sql("UPDATE keys SET name = 'x'")  # of none
        assert changes.count() == before
        seen = [before]
        for writer in (engine, other, engine):
            keys.create_key(writer, f"k{len(seen)}")
            seen.append(changes.count())
            assert changes.count() == seen[-1]
        assert len(set(seen)) == 4
        keys.revoke_key(other, "k1")
        assert changes.count() not in seen
    other.dispose()


def test_what_calls_add_to_the_ledger_is_no_change_of_what_is_made_at_run_time(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.dialect.name != "sqlite":
        return
    monkeypatch.setattr("proxy.ledger.planes.changes._MOST_ROWS", 2)

    def commit() -> None:
        with writing(engine).begin() as connection:
            connection.execute(sa.insert(metric_state).values(instance="i", name=str(next(names)), labels="", value=""))

    names = count()
    with closing(Changes(engine)) as changes:
        seen = [changes.count()]
        for number in range(2):
            commit()
            assert changes.count() == seen[-1]
            keys.create_key(engine, f"k{number}")
            seen.append(changes.count())
        keys.revoke_key(engine, "k0")
        seen.append(changes.count())
        keys.create_key(engine, "one more than are compared")
        for _ in range(2):
            seen.append(changes.count())
            commit()
        assert len(set(seen)) == len(seen)


def test_a_ledger_that_is_locked_is_no_reason_to_wait(engine: Engine) -> None:
    if engine.dialect.name != "sqlite":
        return
    with closing(Changes(engine)) as changes, writing(engine).begin() as connection:
        before = changes.count()
        connection.exec_driver_sql("DELETE FROM keys")
        assert changes.count() == before
        changes.close()
        assert isinstance(changes.count(), int)  # of another connection, by another count
