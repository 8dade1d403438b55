"""Machines of one's own: their minutes, what each call had of them, and the sums of that."""

from proxy.ledger.missing import add_missing

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    add_missing()
