"""Where the entries that are kept begin, and what deleted ones had added to the budgets' counters."""

from alembic import op

from proxy.ledger.schema import budget_retired, retention

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for table in (retention, budget_retired):
        table.create(op.get_bind(), checkfirst=True)
