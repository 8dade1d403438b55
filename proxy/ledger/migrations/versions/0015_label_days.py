"""What was spent by label, a day at a time: filled by the control process, the latest day first."""

from alembic import op

from proxy.ledger.rollup_schema import label_days, spend_label_days

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    for table in (spend_label_days, label_days):
        table.create(op.get_bind(), checkfirst=True)
