"""What a key was made with: a budget, calls and tokens a minute."""

from proxy.ledger.missing import add_missing

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    add_missing()
