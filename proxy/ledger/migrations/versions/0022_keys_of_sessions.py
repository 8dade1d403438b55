"""Whose key a session has, and where rare calls are: filled by the control process, some sessions and three hours at a time."""

from proxy.ledger.missing import add_missing

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    add_missing()
