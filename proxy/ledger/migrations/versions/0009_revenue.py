"""What customers paid, and months that are closed."""

from alembic import op

from proxy.ledger.schema import closed_months, revenue

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    revenue.create(op.get_bind(), checkfirst=True)
    closed_months.create(op.get_bind(), checkfirst=True)
