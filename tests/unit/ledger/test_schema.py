"""The schema: an empty database and one that went through every migration have the same."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from proxy.ledger import database as opening
from proxy.ledger import schema
from proxy.ledger.database import connect, current_version, open_ledger
from proxy.ledger.parts_schema import (
    label_months,
    label_parts,
    label_weeks,
    person_calls,
    rare_calls,
    spend_impersonal_months,
    spend_impersonal_weeks,
    spend_label_months,
    spend_label_weeks,
)
from proxy.ledger.rollup_schema import session_names
from proxy.ledger.sql_view import view_sql
from proxy.ledger.version import HEAD
from proxy.times import DAY_US, now_us


@pytest.fixture
def opened() -> Iterator[list[sa.Engine]]:
    """Engines to close."""
    engines: list[sa.Engine] = []
    yield engines
    for engine in engines:
        engine.dispose()


def described(engine: sa.Engine) -> dict[str, object]:
    inspector = sa.inspect(engine)
    tables = {
        table: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)],
            sorted(str(index["name"]) for index in inspector.get_indexes(table)),
            inspector.get_pk_constraint(table)["constrained_columns"],
        )
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }
    return tables | {"views": inspector.get_view_names()}


@pytest.mark.long
def test_migrations_come_to_what_an_empty_database_gets(empty_database: str, opened: list[sa.Engine]) -> None:
    opened.append(connect(empty_database))
    with opened[0].connect() as connection:
        opening._upgrade(connection)
    migrated = described(opened[0])
    assert current_version(opened[0]) == HEAD
    with opened[0].begin() as connection:
        connection.execute(sa.text("DROP VIEW ledger"))
        connection.execute(sa.text("DROP TABLE alembic_version"))
        schema.metadata.drop_all(connection)
    opened.append(open_ledger(empty_database))
    assert described(opened[1]) == migrated
    assert current_version(opened[1]) == HEAD


def test_the_newest_migration_is_the_one_that_the_code_expects() -> None:
    versions = Path(schema.__file__).parent / "migrations" / "versions"
    assert max(path.name[:4] for path in versions.glob("[0-9]*.py")) == HEAD


def test_opening_twice_changes_nothing(empty_database: str, opened: list[sa.Engine]) -> None:
    opened.append(open_ledger(empty_database))
    first = described(opened[0])
    opened.append(open_ledger(empty_database))
    assert described(opened[1]) == first


def test_whoever_opens_an_empty_database_makes_all_tables(tmp_path: Path, opened: list[sa.Engine]) -> None:
    """`taximeter keys create` before the first `serve` left one out, which no later start made: what was to be written into it
    held up the recorder for good."""
    path = tmp_path / "ledger.db"
    alone = f"from proxy.ledger.database import open_ledger; open_ledger('sqlite:///{path}').dispose()"
    everything = (
        "import importlib, pkgutil, proxy.ledger\n"
        "for one in pkgutil.walk_packages(proxy.ledger.__path__, 'proxy.ledger.'):\n"
        "    if '.migrations' not in one.name: importlib.import_module(one.name)\n"
        "from proxy.ledger.schema import metadata\n"
        "print(*sorted(metadata.tables))"
    )
    subprocess.run([sys.executable, "-c", alone], check=True)
    known = subprocess.run([sys.executable, "-c", everything], check=True, capture_output=True, text=True).stdout
    opened.append(connect(f"sqlite:///{path}"))
    assert set(known.split()) == set(sa.inspect(opened[0]).get_table_names()) - {"alembic_version"}


def test_a_ledger_that_lacks_what_a_command_left_out_gets_it(empty_database: str, opened: list[sa.Engine]) -> None:
    opened.append(open_ledger(empty_database))
    with opened[0].begin() as connection:
        connection.exec_driver_sql("DROP TABLE stored")
    opened.append(open_ledger(empty_database))
    assert sa.inspect(opened[1]).has_table("stored")


def test_a_ledger_that_a_newer_version_has_migrated_is_used_as_it_is(
    empty_database: str, opened: list[sa.Engine]
) -> None:
    """While replicas are replaced one by one, an old one may start again after a new one."""
    opened.append(open_ledger(empty_database))
    with opened[0].begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    opened.append(open_ledger(empty_database))
    assert current_version(opened[1]) == "9999"


def test_a_ledger_in_sqlite_is_migrated_while_another_writes_to_it(
    tmp_path: Path, opened: list[sa.Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command of a new version beside a server of an old one."""
    file = tmp_path / "l.db"
    opened.append(open_ledger(f"sqlite:///{file}"))
    with opened[0].begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0023'"))
    look = opening._is_ours

    def write_behind(connection: sa.Connection) -> bool:
        is_ours = look(connection)
        other = sqlite3.connect(file, timeout=0, isolation_level=None)
        with contextlib.closing(other), contextlib.suppress(sqlite3.OperationalError):  # it may have to wait for us
            other.execute("UPDATE session_names SET since_at = since_at + 1")
        return is_ours

    monkeypatch.setattr(opening, "_is_ours", write_behind)
    opened.append(open_ledger(f"sqlite:///{file}"))
    assert current_version(opened[1]) == HEAD


def test_many_may_open_an_empty_ledger_at_once(empty_database: str, opened: list[sa.Engine]) -> None:
    """Several instances start on one new database: one makes the schema, the others wait for it."""
    problems: list[Exception] = []

    def open_one() -> None:
        try:
            opened.append(open_ledger(empty_database))
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert {current_version(engine) for engine in opened} == {HEAD}


# One process after the other, each killed behind the statement that a line names. They are forks: nothing is imported twice.
KILLED_AT = """
import os, signal, sys
import alembic.command
import sqlalchemy as sa
from proxy.ledger.database import open_ledger

for line in sys.stdin:
    if not (child := os.fork()):
        @sa.event.listens_for(sa.Engine, "after_cursor_execute")
        def kill(connection, cursor, statement, *rest):
            if statement.lstrip().startswith(line.strip()):
                os.kill(os.getpid(), signal.SIGKILL)

        open_ledger(sys.argv[1])
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.long
def test_a_migration_that_is_killed_in_the_middle_is_made_anew(empty_database: str, opened: list[sa.Engine]) -> None:
    """Weeks (0020), lists of persons (0021), keys of sessions and lists of rare calls (0022), since when sessions have their names
    for a key (0023), months and an index of long sessions (0024): half of them, or all but for the number of the version."""
    opened.append(open_ledger(empty_database))
    wanted = described(opened[0])
    with opened[0].begin() as connection:  # what version 0019 had
        connection.execute(
            sa.text("INSERT INTO label_parts (start_at, changes, built, requests, cost_nanousd) VALUES (0, 3, 2, 1, 7)")
        )
        connection.execute(sa.text("DROP VIEW ledger"))
        connection.execute(sa.text("DROP INDEX spend_sessions_keyless"))
        connection.execute(sa.text("DROP INDEX spend_sessions_long"))
        for table, column in (
            ("label_parts", "persons"),
            ("label_parts", "listed"),
            ("spend_sessions", "key"),
            ("spend_sessions", "keyed"),
        ):
            connection.execute(sa.text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        for made in (label_weeks, spend_label_weeks, spend_impersonal_weeks, person_calls, rare_calls, session_names):
            made.drop(connection)
        for made in (label_months, spend_label_months, spend_impersonal_months):
            made.drop(connection)
        connection.execute(sa.text(view_sql(connection.dialect.name)))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0019'"))
    before = described(opened[0])
    program = [sys.executable, "-c", KILLED_AT, empty_database]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdin is not None
        assert killed.stdout is not None
        for statement in ("ALTER TABLE", "INSERT INTO session_names", "UPDATE alembic_version"):
            killed.stdin.write(f"{statement}\n")
            killed.stdin.flush()
            assert killed.stdout.readline() == f"{-signal.SIGKILL}\n", statement
            assert described(opened[0]) == before, statement
            assert current_version(opened[0]) == "0019"
        killed.stdin.close()
    opened.append(open_ledger(empty_database))
    assert described(opened[1]) == wanted
    assert current_version(opened[1]) == HEAD
    with opened[1].connect() as connection:
        state = sa.select(label_parts.c.changes, label_parts.c.persons, label_parts.c.listed)
        assert connection.execute(state).all() == [(3, None, None)]
        [(number, since_at)] = connection.execute(sa.select(session_names)).all()
    assert number == 1
    assert 0 < since_at - now_us() <= DAY_US  # not yet: an instance of the version before may be beside


def test_what_sqlite_has_committed_outlives_the_machine(tmp_path: Path, opened: list[sa.Engine]) -> None:
    """The spool deletes what is shipped: a power failure must not take back the commit (2: FULL, synced at each)."""
    opened.append(open_ledger(f"sqlite:///{tmp_path}/l.db"))
    with opened[0].connect() as connection:
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar_one() == 2
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar_one() == "wal"
