"""What an earlier version's tables lack of this one's: columns and indexes are added, and the view is made anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from proxy.ledger.schema import metadata
from proxy.ledger.sql_view import view_sql


def add_missing() -> None:
    """For migrations: tables, columns and indexes of this version that the database does not have."""
    bind = op.get_bind()
    metadata.create_all(bind)
    there = sa.inspect(bind)
    changed = False
    for table in metadata.tables.values():
        columns = {column["name"] for column in there.get_columns(table.name)}
        for column in table.columns:
            if column.name not in columns:
                op.add_column(table.name, column._copy())  # noqa: SLF001 - a column belongs to one table, and nothing else copies it
                changed = True
        indexes = {index["name"] for index in there.get_indexes(table.name)}
        for index in table.indexes:
            if index.name not in indexes:
                index.create(bind)
    if changed:
        op.execute(sa.text("DROP VIEW ledger"))
        op.execute(sa.text(view_sql(bind.dialect.name)))
