"""Machines of one's own: their minutes, what each call had of them, and the sums of that."""

from proxy.ledger.missing import add_missing

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    add_missing()
