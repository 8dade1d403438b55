"""Machines of one's own in the audit: a minute's parts are its cost, and what the minutes say that calls had, calls have."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.ledger.audit.difference import Differs
from proxy.ledger.capacity_schema import capacity_minutes, capacity_shares
from proxy.ledger.schema import entries
from proxy.money import usd_text
from proxy.times import rfc3339


def check_capacities(connection: Connection, entries_since_at: int | None) -> int:
    """How many minutes there are. Raises `Differs`. Where entries are deleted, only the minutes are checked."""
    c = capacity_minutes.c
    parts = c.busy_nanousd + c.idle_nanousd + c.outside_nanousd
    wrong = sa.select(capacity_minutes).where(sa.or_(parts != c.cost_nanousd, c.idle_nanousd < 0)).limit(1)
    for row in connection.execute(wrong):
        where = f"capacity {row.capacity} {rfc3339(row.minute_at)}"
        raise Differs(where, f"busy, idle and outside are not the {row.cost_nanousd} nano-USD that it costs")
    if entries_since_at is None:
        _check_shares(connection)
    return int(connection.execute(sa.select(sa.func.count()).select_from(capacity_minutes)).scalar_one())


def _check_shares(connection: Connection) -> None:
    c, e, s = capacity_minutes.c, entries.c, capacity_shares.c
    busy = _sums(connection, sa.select(c.capacity, sa.func.sum(c.busy_nanousd)).group_by(c.capacity))
    shared = sa.select(e.capacity, sa.func.sum(e.capacity_nanousd)).where(e.capacity.is_not(None)).group_by(e.capacity)
    had = _sums(connection, shared)
    going_on = (
        sa.select(s.capacity, sa.func.sum(s.nanousd))
        .join_from(capacity_shares, entries, s.entry_id == e.id)
        .where(e.capacity_nanousd.is_(None))
    )
    for capacity, nanousd in _sums(connection, going_on.group_by(s.capacity)).items():
        had[capacity] = had.get(capacity, 0) + nanousd
    for capacity in busy.keys() | had.keys():
        if busy.get(capacity, 0) != had.get(capacity, 0):
            booked, have = usd_text(busy.get(capacity, 0)), usd_text(had.get(capacity, 0))
            raise Differs(f"capacity {capacity}", f"its minutes give calls ${booked}, and these have ${have}")


def _sums(connection: Connection, query: sa.Select[Any]) -> dict[str, int]:
    return {row[0]: int(row[1] or 0) for row in connection.execute(query)}
