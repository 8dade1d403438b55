"""What operators were told of."""

from alembic import op

from proxy.ledger.schema import alerts

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    alerts.create(op.get_bind(), checkfirst=True)
