"""What is stored at providers, and where."""

from alembic import op

from proxy.ledger.schema import stored

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    stored.create(op.get_bind(), checkfirst=True)
