"""Budgets' definitions, and what their counters began with."""

from alembic import op

from proxy.ledger.schema import budget_bases, budget_definitions

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for table in (budget_definitions, budget_bases):
        table.create(op.get_bind(), checkfirst=True)
