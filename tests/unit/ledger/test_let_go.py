"""After a burst, what connections to a SQLite ledger remember of its file goes back; they stay, and go on."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from proxy.ledger.database import let_go, open_ledger, writing
from proxy.ledger.schema import keys


def _watched(engine: sa.Engine, count: int) -> tuple[list[str], set[int]]:
    """What is said on `count` connections that lie in the pool now, and which they are."""
    said: list[str] = []
    taken = [engine.raw_connection() for _ in range(count)]
    for connection in taken:
        connection.dbapi_connection.set_trace_callback(said.append)  # type: ignore[union-attr]  # sqlite3's
    known = {id(connection.dbapi_connection) for connection in taken}
    for connection in taken:
        connection.close()
    said.clear()  # what the pool says when it takes them back
    return said, known


def test_every_connection_at_rest_forgets_and_can_be_used_again(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    said, known = _watched(engine, 3)
    with engine.connect() as busy, writing(engine).begin() as another:
        busy.execute(sa.select(keys)).all()
        another.execute(sa.select(keys)).all()
        before = len(said)
        let_go(engine)
        assert [line for line in said[before:] if "PRAGMA" in line] == ["PRAGMA shrink_memory"]
        assert engine.pool.checkedin() == 1  # type: ignore[attr-defined]  # a pool of connections

    let_go(engine)
    assert said.count("PRAGMA shrink_memory") == 4
    assert _watched(engine, 3)[1] == known
    engine.dispose()


def test_where_there_is_nothing_at_rest_nothing_is_opened(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    engine.dispose()
    opened: list[object] = []
    sa.event.listen(engine, "connect", lambda connection, _: opened.append(connection))

    let_go(engine)

    assert opened == []


def test_another_database_keeps_its_own_memory() -> None:
    engine = sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    asked: list[object] = []
    sa.event.listen(engine, "do_connect", lambda *arguments: asked.append(arguments))

    let_go(engine)

    assert asked == []
