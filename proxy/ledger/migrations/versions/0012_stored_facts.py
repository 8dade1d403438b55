"""What has to be known of a file that is stored at a provider: what a batch of it may cost."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    if "facts" not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("stored")}:
        op.add_column("stored", sa.Column("facts", sa.Text))
