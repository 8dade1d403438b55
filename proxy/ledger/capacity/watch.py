"""When each instance lived, and up to which time its calls are in the ledger: a capacity's minutes wait for that.

A row a life. An instance that is stopped properly leaves with all of its calls in the ledger; one that is killed leaves some in
its spool, and is waited for as long as a call may take.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.capacity.closing import union
from proxy.capacity.split import Span
from proxy.ledger.capacity_schema import capacity_watch

ALIVE_US = 30_000_000  # who has not said so for so long is away
EVER = 2**62


class Life(NamedTuple):
    """One life of one instance, as in the table."""

    instance: str
    since_at: int
    until_at: int
    complete_until: int


def say(connection: Connection, life: Life) -> None:
    """This instance lives."""
    c = capacity_watch.c
    this_life = (c.instance == life.instance, c.since_at == life.since_at)
    changed = sa.update(capacity_watch).where(*this_life)
    if connection.execute(changed.values(until_at=life.until_at, complete_until=life.complete_until)).rowcount == 0:
        connection.execute(sa.insert(capacity_watch).values(**life._asdict()))


def lives(connection: Connection, since: int) -> list[Life]:
    """Those that reach beyond `since`, and of every instance at least the last, in the order of their beginnings."""
    c = capacity_watch.c
    last = sa.select(c.instance, sa.func.max(c.since_at).label("since_at")).group_by(c.instance).subquery()
    is_last = sa.exists().where(last.c.instance == c.instance, last.c.since_at == c.since_at)
    rows = connection.execute(
        sa.select(capacity_watch).where(sa.or_(c.until_at > since, is_last)).order_by(c.since_at, c.instance)
    )
    return [Life(row.instance, row.since_at, row.until_at, row.complete_until) for row in rows]


def final_until(instance_lives: Sequence[Life], now: int, max_call_us: int) -> int:
    """Before this moment every call is in the ledger, or its instance is given up."""
    last = {life.instance: life for life in instance_lives}
    bounds = [now]
    for life in last.values():
        away = life.until_at < now - ALIVE_US
        left = life.complete_until >= life.until_at or now > life.until_at + max_call_us
        if not (away and left):
            bounds.append(life.complete_until)
    return min(bounds)


def forget(connection: Connection, before: int) -> None:
    """Lives that ended so long ago that nobody asks for them any more; never an instance's last one."""
    c = capacity_watch.c
    newer = capacity_watch.alias()
    later = sa.exists().where(newer.c.instance == c.instance, newer.c.since_at > c.since_at)
    connection.execute(sa.delete(capacity_watch).where(c.until_at < before, later))


def observed(instance_lives: Sequence[Life]) -> list[Span]:
    """When anybody looked; in order, and apart from each other."""
    return union([Span(life.since_at, life.until_at) for life in instance_lives])
