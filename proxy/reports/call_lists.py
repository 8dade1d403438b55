"""Lists of calls: where to look for those that are rare, such as calls without a price.

A list is read from its latest call on until a page is full. What hardly any call passes would so be looked for among all
entries: of past three hours it is known who and what has calls in them (`ledger/rollups/listed_calls.py`), and the sums know in
which hours there are calls without a price. Where nothing is known a page ends after so many entries, and says where it
goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.engine import Connection, Engine

from proxy.ids import began_at
from proxy.ledger.database import reading
from proxy.ledger.rollups.call_runs import LATE_US, Run, runs_of_calls
from proxy.ledger.rollups.listed_calls import PERSONS
from proxy.reports.calls import A_MOMENT_US, LONGEST_REQUEST_US, entry, list_of, of_runs, requests
from proxy.reports.spend import SpendRow, spend
from proxy.times import DAY_US, HOUR_US, now_us

_HOURLY = frozenset({"provider", "upstream", "agent", "key", "team", "model"})  # hours are added up by these
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
    """As `calls.requests`, a part at a time."""
    if not filters or "session" in filters:  # by the index of sessions
        rows = requests(engine, limit=limit, before=before, filters=filters, since=since, until=until)
        return CallPage(rows, rows[-1]["id"] if len(rows) >= limit else None)
    began = None if before is None else began_at(before)
    last_id = None if until is None or until >= now_us() else until + LATE_US
    ends = [at for at in (last_id, None if began is None else began + 1000) if at is not None]
    with reading(engine).connect() as connection:
        runs, most = _runs(engine, connection, filters, since, min(ends, default=None))
        statement = list_of(connection, before=before, filters=filters, since=since, until=until, by_id=True)
        looked = of_runs(connection, statement, limit, runs, most)
    rows = [entry(row) for row in looked.rows]
    if looked.looked_to is not None:
        return CallPage(rows, looked.looked_to, began_at(looked.looked_to))
    return CallPage(rows, rows[-1]["id"] if len(rows) >= limit else None)


def _runs(
    engine: Engine, connection: Connection, filters: Mapping[str, str | None], since: int | None, until: int | None
) -> tuple[Iterator[Run], int | None]:
    """Where to look, and among how many entries at most. until: of ids."""
    if (sent := began_at(filters.get("request_id") or "")) is not None:
        return iter([Run(max(0, sent - A_MOMENT_US), sent + LONGEST_REQUEST_US, None)]), None
    if filters.get("priced") == "no" and not any(filters.get(name) for name in PERSONS):
        only = {name: value or "" for name, value in filters.items() if name in _HOURLY}
        return _runs_without_price(engine, only, since, until), None
    return runs_of_calls(connection, filters, since, until), LOOKED_THROUGH


def _runs_without_price(engine: Engine, only: Mapping[str, str], since: int | None, until: int | None) -> Iterator[Run]:
    """The latest first."""
    low = None if since is None else since - since % DAY_US
    high = None if until is None else until + -until % DAY_US
    end: int | None = None
    for day in _without_price(spend(engine, ["day"], low, high, only=only, with_tokens=False), "day"):
        hours = spend(engine, ["hour"], day, day + DAY_US, only=only, with_tokens=False)
        for hour in _without_price(hours, "hour"):
            last = hour + HOUR_US + LATE_US
            yield Run(hour, last if end is None else min(last, end), None)
            end = hour


def _without_price(rows: list[SpendRow], name: str) -> list[int]:
    """Where those days or hours begin that have calls without a price, the latest first."""
    starts = [datetime.fromisoformat(row.group[name] or "") for row in rows if row.unpriced_requests]
    return sorted((int(start.timestamp()) * 1_000_000 for start in starts), reverse=True)
