"""An index of sessions that another one started, by their own names."""

from alembic import op

from proxy.ledger.schema import entries

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    (index,) = (index for index in entries.indexes if index.name == "entries_child_session")
    index.create(op.get_bind(), checkfirst=True)
