"""Jobs at providers, and who asks for them next."""

from alembic import op

from proxy.ledger.schema import jobs

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    jobs.create(op.get_bind(), checkfirst=True)
