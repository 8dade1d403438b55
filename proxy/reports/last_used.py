"""When keys made their last call: by the hour, from the sums, so that no list of calls is walked through."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ledger.schema import spend_hours


def last_used(engine: Engine, keys: Sequence[str]) -> dict[str, int]:
    """Key -> begin of the hour of its last call, epoch microseconds; a key without calls is not in it."""
    query = (
        sa.select(spend_hours.c.key, sa.func.max(spend_hours.c.start_at))
        .where(spend_hours.c.key.in_(list(keys)))
        .group_by(spend_hours.c.key)
    )
    with engine.connect() as connection:
        return {row[0]: int(row[1]) for row in connection.execute(query)}
