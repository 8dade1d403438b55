"""The schema: an empty database and one that went through every migration have the same."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from proxy.ledger import schema
from proxy.ledger.schema import HEAD, connect, current_version, open_ledger


def described(engine: sa.Engine) -> dict[str, object]:
    inspector = sa.inspect(engine)
    tables = {
        table: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)],
            sorted(str(index["name"]) for index in inspector.get_indexes(table)),
        )
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }
    return tables | {"views": inspector.get_view_names()}


def test_migrations_come_to_what_an_empty_database_gets(tmp_path: Path) -> None:
    at_once = open_ledger(f"sqlite:///{tmp_path}/new.db")
    migrated = connect(f"sqlite:///{tmp_path}/old.db")
    with migrated.connect() as connection:
        schema._upgrade(connection)
    assert described(migrated) == described(at_once)
    assert current_version(migrated) == current_version(at_once) == HEAD


def test_the_newest_migration_is_the_one_that_the_code_expects() -> None:
    versions = Path(schema.__file__).parent / "migrations" / "versions"
    assert max(path.name[:4] for path in versions.glob("[0-9]*.py")) == HEAD


def test_opening_twice_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/l.db"
    first = described(open_ledger(url))
    assert described(open_ledger(url)) == first
