"""A database that is another program's is left alone, and said to be: nothing is made in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from proxy.ledger.database import open_ledger, why_not_opened
from proxy.ledger.version import HEAD

_ALEMBIC = "CREATE TABLE alembic_version (version_num VARCHAR(32))"


@pytest.mark.parametrize(
    "statements",
    [
        [_ALEMBIC, "INSERT INTO alembic_version VALUES ('1975ea83b712')"],
        [_ALEMBIC, "INSERT INTO alembic_version VALUES ('9999')"],
        [_ALEMBIC, "INSERT INTO alembic_version VALUES ('1975ea83b712')", "CREATE TABLE entries (id INTEGER)"],
        ["CREATE TABLE entries (title TEXT)"],
    ],
    ids=["migrated by another", "numbered", "with entries", "entries alone"],
)
def test_another_program_s_tables_are_left_as_they_are(tmp_path: Path, statements: list[str]) -> None:
    file = tmp_path / "theirs.db"
    with sqlite3.connect(file) as database:
        for statement in statements:
            database.execute(statement)
        before = database.execute("SELECT sql FROM sqlite_master").fetchall()
    database.close()
    url = f"sqlite:///{file}"
    with pytest.raises(OSError, match="another program's") as refused:
        open_ledger(url)

    assert (
        why_not_opened(refused.value, url) == f"{file}: another program's tables are in it; name a database of its own"
    )
    assert "Errno" not in why_not_opened(refused.value, "postgresql://u:p@h/d")
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT sql FROM sqlite_master").fetchall() == before
    database.close()


def test_a_newer_version_s_ledger_is_used_as_it_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/newer.db"
    engine = open_ledger(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    again = open_ledger(url)
    with again.connect() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "9999" > HEAD
    again.dispose()
