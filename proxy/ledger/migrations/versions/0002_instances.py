"""Heartbeats of the instances that share a budget store."""

from alembic import op

from proxy.ledger.schema import instances

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    instances.create(op.get_bind(), checkfirst=True)
