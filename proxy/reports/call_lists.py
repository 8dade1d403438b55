"""Lists of calls: where to look for those that are rare, such as calls without a price.

A list is read from its latest call on until a page is full. What hardly any call passes would so be looked for among all
entries: the sums know in which hours there are calls without a price; for what no sums are kept by, a page ends after so many
entries, and says where the next one goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ids import began_at, first_id, lowest_id
from proxy.ledger.database import reading
from proxy.ledger.person_calls import PERSONS, Run
from proxy.ledger.rollups import DAY_US, HOUR_US
from proxy.ledger.schema import entries
from proxy.reports.calls import A_MOMENT_US, LONGEST_REQUEST_US, requests
from proxy.reports.spend import SpendRow, spend
from proxy.times import now_us

_HOURLY = frozenset({"provider", "upstream", "agent", "key", "team", "model"})  # hours are added up by these
_INDEXED = frozenset({*PERSONS, "session"})
_NOT_ADDED_UP = frozenset({"status", "outcome", "request_id", "operation", "client", "usage_source", "priced"})
_LATE_US = 600_000_000  # by so much an id may be later than its call's beginning, which waited for its budget
LOOKED_THROUGH = 100_000
"""Entries at most for a page: half a second or so."""


class CallPage(NamedTuple):
    """next: where the list goes on, as `before`; None at its end. back_to: so far back was looked without filling the page,
    epoch microseconds; None where it is full, or the end is reached."""

    rows: list[dict[str, Any]]
    next: str | None
    back_to: int | None = None


def call_page(
    engine: Engine,
    *,
    limit: int,
    before: str | None,
    filters: Mapping[str, str | None],
    since: int | None,
    until: int | None,
) -> CallPage:
    """As `calls.requests`."""
    runs: Iterator[Run] | None = None
    back_to = None
    if _INDEXED & set(filters):
        pass
    elif (sent := began_at(filters.get("request_id") or "")) is not None:
        runs = iter([Run(max(0, sent - A_MOMENT_US), sent + LONGEST_REQUEST_US, None)])
    elif filters.get("priced") == "no":
        began = None if before is None else began_at(before)
        ends = [at for at in (until, None if began is None else began + 1000) if at is not None]
        only = {name: value or "" for name, value in filters.items() if name in _HOURLY}
        runs = _runs_without_price(engine, only, since, min(ends, default=None))
    elif any(name in _NOT_ADDED_UP or name.startswith("claimed.") for name in filters):
        back_to = _back_to(engine, before, since, until)
        if back_to is not None:
            end = None if until is None or until >= now_us() else until + _LATE_US
            runs = iter([Run(back_to, end, None)])
    rows = requests(engine, limit=limit, before=before, filters=filters, since=since, until=until, runs=runs)
    if len(rows) >= limit:
        return CallPage(rows, rows[-1]["id"])
    return CallPage(rows, None if back_to is None else lowest_id(back_to), back_to)


def _back_to(engine: Engine, before: str | None, since: int | None, until: int | None) -> int | None:
    """When the last one began of those that a page looks through; None where it looks through all that there are."""
    ids = sa.select(entries.c.id).order_by(entries.c.id.desc()).offset(LOOKED_THROUGH).limit(1)
    if before is not None:
        ids = ids.where(entries.c.id < before)
    if since is not None:
        ids = ids.where(entries.c.id >= first_id(max(since, 0)))
    if until is not None:
        ids = ids.where(entries.c.id < first_id(until + _LATE_US))
    with reading(engine).connect() as connection:
        last: str | None = connection.execute(ids).scalar()
    return None if last is None else began_at(last)


def _runs_without_price(engine: Engine, only: Mapping[str, str], since: int | None, until: int | None) -> Iterator[Run]:
    """The latest first."""
    low = None if since is None else since - since % DAY_US
    high = None if until is None else until + -until % DAY_US
    end: int | None = None
    for day in _without_price(spend(engine, ["day"], low, high, only=only, with_tokens=False), "day"):
        hours = spend(engine, ["hour"], day, day + DAY_US, only=only, with_tokens=False)
        for hour in _without_price(hours, "hour"):
            last = hour + HOUR_US + _LATE_US
            yield Run(hour, last if end is None else min(last, end), None)
            end = hour


def _without_price(rows: list[SpendRow], name: str) -> list[int]:
    """Where those days or hours begin that have calls without a price, the latest first."""
    starts = [datetime.fromisoformat(row.group[name] or "") for row in rows if row.unpriced_requests]
    return sorted((int(start.timestamp()) * 1_000_000 for start in starts), reverse=True)
