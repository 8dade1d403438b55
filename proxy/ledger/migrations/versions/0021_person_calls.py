"""Whose calls are where: filled by the control process, three hours at a time."""

from proxy.ledger.missing import add_missing

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    add_missing()
