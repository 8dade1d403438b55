"""Spend by calendar and by filters: a finer report, folded. Weeks begin on Monday; a day is one of the zone that is asked for,
made of whole UTC hours (a zone that is half an hour off has its days begin with the next one).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Engine

from proxy.reports.spend import SpendRow, entries_since, spend
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
    among: Sequence[Mapping[str, str]] = (),
    zone: ZoneInfo = UTC,
) -> list[SpendRow]:
    """As `spend`, with `month` and `week` too, in any time zone.

    Without a time the dearest comes first; with one, time goes forward and the dearest of each comes first. Days and
    hours of UTC are RFC 3339, as `spend` has them; other periods are named by their local date, hours by their local time.
    Raises `BadQuestion`.
    """
    only = only or {}
    if len(set(by)) < len(by):
        raise BadQuestion("group by each name once")
    times = [name for name in only if name in PERIODS]
    if times:
        raise BadQuestion(f"{times[0]}: is not a filter; name a span of time by since and until")
    finest = "hour" if zone.key != "UTC" or "hour" in by else "day"
    names = dict.fromkeys(finest if name in PERIODS else name for name in by)
    rows = spend(engine, list(names), since, until, only=only, among=among)
    if not any(name in PERIODS for name in by):
        return rows
    folded: dict[tuple[str | None, ...], SpendRow] = {}
    for row in rows:
        group = {name: _named(row, name, finest, zone) for name in by}
        key = tuple(group.values())
        folded[key] = _added(folded.get(key), row, group)
    return sorted(folded.values(), key=_rank)


Rank = tuple[str, int, tuple[tuple[bool, str], ...]]


def _rank(row: SpendRow) -> Rank:
    """Time goes forward, the dearest of each time comes first, and no two rows have one place."""
    time = next((row.group[name] or "" for name in reversed(PERIODS) if name in row.group), "")
    return time, -row.cost_nanousd, tuple((value is not None, value or "") for value in row.group.values())


def page_of(rows: Sequence[SpendRow], most: int, after: str | None) -> tuple[list[SpendRow], str | None]:
    """At most so many rows, from behind the place `after` on, and the place of the last, where more follow.

    A place is a row's rank, so that a row stays in its page whatever comes before it. Raises `BadQuestion` where it is none.
    """
    place = None if after is None else _place(after)
    rest = [row for row in rows if place is None or _rank(row) > place]
    page = rest[:most]
    return page, json.dumps(_rank(page[-1])) if len(rest) > most else None


def _place(text: str) -> Rank:
    try:
        time, cost, values = json.loads(text)
        return str(time), int(cost), tuple((bool(named), str(value)) for named, value in values)
    except (ValueError, TypeError, RecursionError):
        raise BadQuestion("next: must be the `next` of an earlier page, unchanged") from None


def zone_named(name: str) -> ZoneInfo:
    """The time zone of this name, such as Europe/Berlin. Raises `BadQuestion`."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # according to what is wrong with it
        raise BadQuestion(f"{name!r} is not a time zone; write one such as Europe/Berlin") from None


def _named(row: SpendRow, name: str, finest: str, zone: ZoneInfo) -> str | None:
    if name not in PERIODS:
        return row.group[name]
    if zone.key == "UTC" and name == finest:
        return row.group[name]
    if zone.key == "UTC" and name == "day":
        return f"{(row.group[finest] or '')[:10]}T00:00:00.000000Z"
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
        so_far = usage.get(unit, 0)
        if isinstance(so_far, int) and isinstance(amount, int):
            usage[unit] = so_far + amount
            continue
        total = Decimal(so_far) + Decimal(amount)
        usage[unit] = int(total) if total == int(total) else format(total.normalize(), "f")
    return usage


def spend_and_other(
    engine: Engine,
    by: Sequence[str],
    since: int | None,
    until: int | None,
    *,
    only: Mapping[str, str] | None = None,
    zone: ZoneInfo = UTC,
) -> tuple[list[SpendRow], SpendRow | None]:
    """As `spend_by`, and what no group has: deleted entries are kept as sums, not by all names. Raises `BadQuestion`."""
    kept = entries_since(engine)
    if kept is None or (since is not None and since >= kept):
        return spend_by(engine, by, since, until, only=only, zone=zone), None
    # First, so that a call that ends between the two is not taken for one that has no group.
    whole = total_of(spend_by(engine, [], since, until, only=only))
    rows = spend_by(engine, by, since, until, only=only, zone=zone)
    grouped = total_of(rows)
    # The groups may have more: users' sums are those of whole days, all sums those of whole hours.
    return rows, _less(whole, grouped) if whole.requests > grouped.requests else None


def _less(whole: SpendRow, part: SpendRow) -> SpendRow:
    taken: dict[str, int | str] = {
        unit: -amount if isinstance(amount, int) else format(-Decimal(amount), "f")
        for unit, amount in part.usage.items()
    }
    usage = {unit: amount for unit, amount in _summed(whole.usage, taken).items() if amount}
    return SpendRow(
        {},
        whole.requests - part.requests,
        usage,
        whole.cost_nanousd - part.cost_nanousd,
        whole.unpriced_requests - part.unpriced_requests,
        whole.capacity_nanousd - part.capacity_nanousd,
    )


def total_of(rows: Sequence[SpendRow]) -> SpendRow:
    """All rows together."""
    total = SpendRow({}, 0, {}, 0, 0)
    for row in rows:
        total = _added(total, row, {})
    return total
