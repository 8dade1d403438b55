"""Sessions that begin a day from now or later have their name for their key; the others keep the digest that they have.

A day, so that an instance of the version before, or who goes back to it, finds each session where it puts it.
"""

import sqlalchemy as sa
from alembic import op

from proxy.ledger.missing import add_missing
from proxy.ledger.rollup_schema import session_names
from proxy.times import DAY_US, now_us

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    add_missing()
    op.get_bind().execute(sa.insert(session_names).values(id=1, since_at=now_us() + DAY_US))
