"""Roll-ups of what was spent, made from the entries that are there."""

import sqlalchemy as sa
from alembic import op

from proxy.ledger.rolling import add_all
from proxy.ledger.schema import entries, metadata
from proxy.ledger.sql_view import view_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    bind = op.get_bind()
    metadata.create_all(bind)  # what is not there yet
    there = {column["name"] for column in sa.inspect(bind).get_columns("entries")}
    if "parent_agent" not in there:  # came before the first release, without a migration of its own
        op.execute(sa.text("DROP VIEW ledger"))
        op.add_column("entries", sa.Column("parent_agent", sa.Text))
        op.execute(sa.text(view_sql(bind.dialect.name)))
    if bind.execute(sa.select(entries.c.id).limit(1)).first() is not None:
        add_all(bind)
