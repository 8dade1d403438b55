"""Calendar months by all that calls are told apart by, filled by the control process from the days; and sessions of more than a
day have an index of their own.
"""

from proxy.ledger.missing import add_missing

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    add_missing()
