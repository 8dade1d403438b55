"""What sessions come to, for the audit: by their names. An instance of an earlier version may have put a session's calls under
another key, so that it has two rows: only their sum is to be what the entries say."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

from proxy.ledger.rollup_schema import SUMS, spend_sessions, spend_units, sums

# As which they are compared; of several teams or keys a session has that of who was shipped first.
SESSIONS = Table(
    spend_sessions.name,
    MetaData(),
    Column("session", Text, primary_key=True),
    *sums(),
    *[Column(name, BigInteger) for name in ("first_at", "last_at", "ended_at")],
)
UNITS = Table(
    spend_units.name,
    MetaData(),
    Column("session", Text, primary_key=True),
    Column("unit", Text, primary_key=True),
    Column("scale", Integer, primary_key=True),
    Column("amount", BigInteger),
)

_SESSION = sa.func.coalesce(spend_sessions.c.session, sa.literal_column("''"))


def by_session() -> sa.Select[Any]:
    """Rows as of `SESSIONS`."""
    row = spend_sessions.c
    numbers = [sa.func.sum(row[name]).label(name) for name in SUMS]
    times = [sa.func.min(row.first_at), sa.func.max(row.last_at), sa.func.max(row.ended_at)]
    labelled = [time.label(name) for time, name in zip(times, ("first_at", "last_at", "ended_at"), strict=True)]
    return sa.select(sa.select(_SESSION.label("session"), *numbers, *labelled).group_by(_SESSION).subquery())


def units_by_session() -> sa.Select[Any]:
    """Rows as of `UNITS`."""
    unit = spend_units.c
    of_sessions = sa.and_(unit.rollup == spend_sessions.name, unit.group == spend_sessions.c.group)
    amount = sa.func.sum(unit.amount).label("amount")
    query = sa.select(_SESSION.label("session"), unit.unit, unit.scale, amount).join_from(
        spend_units, spend_sessions, of_sessions
    )
    return sa.select(query.group_by(_SESSION, unit.unit, unit.scale).subquery())
