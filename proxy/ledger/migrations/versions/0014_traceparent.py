"""Which trace a call was made in, for exports."""

from proxy.ledger.missing import add_missing

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    add_missing()
