"""Why a budget was raised."""

from proxy.ledger.missing import add_missing

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    add_missing()
