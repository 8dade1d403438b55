"""The calls of a capacity that have no share yet, as they ran on its machines.

When a call ran there: from when it was sent, without what it waited for here (`duration_ms` less `overhead_ms` before its end).
One that was open when its process died ended when that was last heard of. One that ran on after its reservation had expired
has two entries, the charge and the correction, and the correction has all of its run. Where the charge has its share already,
as its minutes were not waited for, the correction goes on where that left off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.capacity.runs import Run
from proxy.ledger.capacity.watch import Life
from proxy.ledger.schema import NOT_COUNTED, TOKEN_COLUMNS, entries

_INPUTS = tuple(column for unit, column in TOKEN_COLUMNS.items() if unit == "input" or unit.startswith("cache_write"))
_OUTPUTS = (TOKEN_COLUMNS["output"], TOKEN_COLUMNS["reasoning"])
_COLUMNS = tuple(
    entries.c[name]
    for name in (
        "id", "kind", "corrects_id", "outcome", "status", "instance", "started_at", "ended_at", "duration_ms", "overhead_ms",
        "ttft_ms", "key", "team", "user", "customer", "model", "provider", "upstream", "agent", "root_session_id",
        "cost_nanousd", "budgets", *TOKEN_COLUMNS.values(),
    )
)  # fmt: skip
_LOOK_UP = 500


class Pending(NamedTuple):
    """A call without a share: its row, and how it ran. charged: the run is that of another entry, which corrects this one,
    and this has nothing of it."""

    row: Mapping[str, Any]
    run: Run
    charged: bool = False


def pending(connection: Connection, capacity: str, until: int, instance_lives: Sequence[Life]) -> list[Pending]:
    """Those that began before `until`, in the order of their ids."""
    without_share = sa.and_(
        entries.c.capacity == capacity, entries.c.capacity_nanousd.is_(None), entries.c.started_at < until
    )
    ended = entries.c.status.not_in(NOT_COUNTED)  # a job that runs has no end yet
    rows = [dict(row) for row in connection.execute(sa.select(*_COLUMNS).where(without_share, ended)).mappings()]
    corrected = _ends(connection, [row["corrects_id"] for row in rows if row["corrects_id"]])
    rows.sort(key=lambda row: row["id"])
    calls = {row["id"]: Pending(row, run_of(row, instance_lives, corrected.get(row["corrects_id"]))) for row in rows}
    for row in rows:
        if (charge := calls.get(row["corrects_id"])) is not None:
            whole = run_of(row, instance_lives)
            calls[row["id"]] = Pending(row, whole)
            calls[row["corrects_id"]] = Pending(charge.row, whole, charged=True)
    return list(calls.values())


def _ends(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    ends: dict[str, int] = {}
    for first in range(0, len(ids), _LOOK_UP):
        query = sa.select(entries.c.id, entries.c.ended_at).where(entries.c.id.in_(ids[first : first + _LOOK_UP]))
        ends |= {row.id: row.ended_at for row in connection.execute(query)}
    return ends


def run_of(row: Mapping[str, Any], instance_lives: Sequence[Life] = (), after: int | None = None) -> Run:
    """after: where the entry that it corrects ended."""
    start, end = row["started_at"], row["ended_at"]
    duration = row["duration_ms"]
    if row["outcome"] == "crashed":
        end = _last_heard_of(row, instance_lives)
    elif duration is not None:
        start = max(start, end - round((duration - (row["overhead_ms"] or 0)) * 1000))
    first = None
    if row["ttft_ms"] is not None and duration is not None:
        first = end - round((duration - row["ttft_ms"]) * 1000)
    start = min(start if after is None else max(start, after), end)
    return Run(
        id=row["id"],
        start=start,
        end=max(end, start + 1),
        input=sum(row[column] for column in _INPUTS),
        cache_read=row["cache_read_tokens"],
        output=sum(row[column] for column in _OUTPUTS),
        first=None if first is None else max(first, start),
    )


def _last_heard_of(row: Mapping[str, Any], instance_lives: Sequence[Life]) -> int:
    """A process that dies says nothing: its calls end with what is known of its instance's life."""
    start, end = row["started_at"], row["ended_at"]
    for life in instance_lives:
        if life.instance == row["instance"] and life.since_at <= end and life.until_at >= start:
            return int(max(start, min(end, life.until_at)))
    return int(start)
