"""What can be said about the book itself: which row wins for a unit, and where it has holes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Literal, NamedTuple

from pricing.catalog import Catalog
from pricing.price import Price, Row
from pricing.times import epoch_s

_STALE_AFTER = dt.timedelta(days=90)


class Hole(NamedTuple):
    """Something that the book lacks."""

    kind: Literal["no price", "expired schedule", "stale source"]
    what: str


def winners(rows: Iterable[Row], at_s: int) -> dict[str, tuple[Row, Price]]:
    """For each unit the row that prices a plain call (no conditions) at that time: the latest that has begun."""
    best: dict[str, tuple[Row, Price]] = {}
    for row in rows:
        if row.when or not row.from_s <= at_s < row.to_s:
            continue
        for unit, price in row.prices.items():
            if unit not in best or row.from_s > best[unit][0].from_s:
                best[unit] = (row, price)
    return best


def holes(catalog: Catalog, today: dt.date) -> list[Hole]:
    """All holes on that day."""
    at_s = epoch_s(today, 0)
    problems = []
    newest: dict[str, str] = {}
    for name in sorted(catalog.lines):
        provider = catalog.provider(name)
        for model in provider.models.values():
            for row in model.rows:
                source = row.source.split(" ")[0].rstrip(":")
                newest[source] = max(newest.get(source, ""), row.checked)
            if model.rows and not any(row.from_s <= at_s < row.to_s for row in model.rows):
                problems.append(Hole("no price", f"{name}/{model.name} has prices for other dates only"))
    for name, schedule in catalog.schedules.items():
        if schedule.covers_through is not None and schedule.covers_through < today:
            problems.append(Hole("expired schedule", f"{name} knows holidays until {schedule.covers_through} only"))
    for source, checked in sorted(newest.items()):
        if dt.date.fromisoformat(checked) + _STALE_AFTER < today:
            problems.append(Hole("stale source", f"{source} was last checked on {checked}"))
    return problems
