"""Days that are over by all that calls are told apart by, and three hours at a time: filled by the control process."""

import sqlalchemy as sa
from alembic import op

from proxy.ledger.database import insert_into
from proxy.ledger.missing import add_missing
from proxy.ledger.parts_schema import label_parts
from proxy.ledger.rollup_schema import spend_hours
from proxy.ledger.rollups.sums import PART_US
from proxy.ledger.schema import horizon

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    add_missing()
    bind = op.get_bind()
    start = (spend_hours.c.start_at - spend_hours.c.start_at % PART_US).label("start")
    there = sa.select(start, *map(sa.literal, (1, 0, 0, 0))).where(spend_hours.c.start_at >= (horizon(bind) or 0))
    columns = ["start_at", "changes", "built", "requests", "cost_nanousd"]
    added = insert_into(bind, label_parts).from_select(columns, there.group_by(start))
    bind.execute(added.on_conflict_do_nothing())  # roll-ups that an earlier migration made are counted
