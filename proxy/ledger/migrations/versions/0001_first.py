"""The first schema. Until the first release it follows `schema.py`; from then on migrations say what changes."""

import sqlalchemy as sa
from alembic import op

from proxy.ledger.schema import metadata
from proxy.ledger.sql_view import view_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    bind = op.get_bind()
    metadata.create_all(bind)
    op.execute(sa.text(view_sql(bind.dialect.name)))
