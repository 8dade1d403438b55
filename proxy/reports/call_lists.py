"""Lists of calls: where to look for those that are rare, such as calls without a price.

A list is read from its latest call on until a page is full. What hardly any call passes would so be looked for among all
entries; the sums know in which hours there are calls without a price.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Engine

from proxy.ids import began_at
from proxy.ledger.person_calls import PERSONS, Run
from proxy.ledger.rollups import DAY_US, HOUR_US
from proxy.reports.calls import requests
from proxy.reports.spend import SpendRow, spend

_HOURLY = frozenset({"provider", "upstream", "agent", "key", "team", "model"})  # hours are added up by these
_LATE_US = 600_000_000  # by so much an id may be later than its call's beginning, which waited for its budget


def listed(
    engine: Engine,
    *,
    limit: int,
    before: str | None,
    filters: Mapping[str, str | None],
    since: int | None,
    until: int | None,
) -> list[dict[str, Any]]:
    """As `calls.requests`."""
    runs = None
    if filters.get("priced") == "no" and not {*PERSONS, "session", "request_id"} & set(filters):
        began = None if before is None else began_at(before)
        ends = [at for at in (until, None if began is None else began + 1000) if at is not None]
        only = {name: value or "" for name, value in filters.items() if name in _HOURLY}
        runs = _runs_without_price(engine, only, since, min(ends, default=None))
    return requests(engine, limit=limit, before=before, filters=filters, since=since, until=until, runs=runs)


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
