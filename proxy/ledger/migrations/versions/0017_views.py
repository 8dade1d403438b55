"""Views that somebody saved, and what comparisons with providers' exports came to."""

from proxy.ledger.missing import add_missing

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    add_missing()
