"""Roll-ups of what was spent, made from the entries that are there."""

import sqlalchemy as sa
from alembic import op

from proxy.ledger.missing import add_missing
from proxy.ledger.rollups.writing import add_all
from proxy.ledger.schema import entries

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    bind = op.get_bind()
    add_missing()  # `parent_agent` came before the first release, without a migration of its own
    if bind.execute(sa.select(entries.c.id).limit(1)).first() is not None:
        add_all(bind)
