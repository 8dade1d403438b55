"""Spend by calendar and by filters: a finer report, folded. Weeks begin on Monday; a day is one of the zone that is asked for,
made of whole UTC hours (a zone that is half an hour off has its days begin with the next one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Engine

from proxy.reports.spend import SpendRow, spend
from proxy.times import BadQuestion

UTC = ZoneInfo("UTC")
PERIODS = ("month", "week", "day", "hour")


def spend_by(
    engine: Engine,
    by: Sequence[str],
    since: int | None,
    until: int | None,
    *,
    only: Mapping[str, str] | None = None,
    zone: ZoneInfo = UTC,
) -> list[SpendRow]:
    """As `spend`, with `month` and `week` too, in any time zone, and only of what has these values.

    Without a time the dearest comes first; with one, time goes forward and the dearest of each comes first. Days and
    hours of UTC are RFC 3339, as `spend` has them; other periods are named by their local date, hours by their local time.
    Raises `BadQuestion`.
    """
    only = only or {}
    periods = [name for name in by if name in PERIODS]
    if len(set(by)) < len(by) or len(periods) > 1:
        raise BadQuestion("group by each name once, and by one of month, week, day and hour at most")
    if any(name in PERIODS for name in only):
        raise BadQuestion("times are chosen by since and until")
    finest = "hour" if zone.key != "UTC" or "hour" in by else "day"
    names = [finest if name in PERIODS else name for name in by]
    rows = spend(engine, [*names, *(name for name in only if name not in names)], since, until)
    folded: dict[tuple[str | None, ...], SpendRow] = {}
    for row in rows:
        if any(row.group[name] != value for name, value in only.items()):
            continue
        group = {name: _named(row, name, finest, zone) for name in by}
        key = tuple(group.values())
        folded[key] = _added(folded.get(key), row, group)
    if not by and not folded:
        folded[()] = SpendRow({}, 0, {}, 0, 0)
    time = periods[0] if periods else None

    def rank(row: SpendRow) -> tuple[str | int, ...]:
        return (row.group[time] or "") if time else "", -row.cost_nanousd, *map(str, row.group.values())

    return sorted(folded.values(), key=rank)


def _named(row: SpendRow, name: str, finest: str, zone: ZoneInfo) -> str | None:
    if name not in PERIODS:
        return row.group[name]
    if name == finest and zone.key == "UTC":
        return row.group[name]  # as the API has it
    local = datetime.fromisoformat(row.group[finest] or "").astimezone(zone)
    if name == "hour":
        return local.isoformat(timespec="minutes")
    if name == "week":
        local -= timedelta(days=local.weekday())
    return f"{local:%Y-%m}" if name == "month" else f"{local:%Y-%m-%d}"


def _added(so_far: SpendRow | None, row: SpendRow, group: Mapping[str, str | None]) -> SpendRow:
    if so_far is None:
        return SpendRow(
            group, row.requests, dict(row.usage), row.cost_nanousd, row.unpriced_requests, row.capacity_nanousd
        )
    return SpendRow(
        group,
        so_far.requests + row.requests,
        _summed(so_far.usage, row.usage),
        so_far.cost_nanousd + row.cost_nanousd,
        so_far.unpriced_requests + row.unpriced_requests,
        so_far.capacity_nanousd + row.capacity_nanousd,
    )


def _summed(sums: Mapping[str, int | str], other: Mapping[str, int | str]) -> dict[str, int | str]:
    """Whole numbers stay whole; a decimal is text."""
    usage = dict(sums)
    for unit, amount in other.items():
        total = Decimal(usage.get(unit, 0)) + Decimal(amount)
        usage[unit] = int(total) if total == int(total) else format(total.normalize(), "f")
    return usage


def total_of(rows: Sequence[SpendRow]) -> SpendRow:
    """All rows together."""
    total = SpendRow({}, 0, {}, 0, 0)
    for row in rows:
        total = _added(total, row, {})
    return total
