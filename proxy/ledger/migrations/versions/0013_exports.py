"""What is to be exported, and how far each sink is."""

from proxy.ledger.missing import add_missing

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    add_missing()
