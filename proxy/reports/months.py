"""Calendar months of a time zone, as spans of epoch microseconds. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from proxy.times import BadQuestion

_NAME = re.compile(r"(\d{4})-(\d\d)\Z")
_MOST = 120  # months in one question


class Month(NamedTuple):
    """`name` as 2026-11; from `start` to before `end`."""

    name: str
    start: int
    end: int

    @property
    def length_us(self) -> int:
        return self.end - self.start


def month_named(text: str, zone: ZoneInfo) -> Month:
    """Raises `BadQuestion`."""
    match = _NAME.match(text)
    if match is None or not 1 <= int(match[2]) <= 12 or not 1970 <= int(match[1]) < 9999:
        raise BadQuestion(f"{text!r} is not a month: write one such as 2026-11")
    return _month(int(match[1]), int(match[2]), zone)


def month_at(moment_us: int, zone: ZoneInfo) -> Month:
    local = datetime.fromtimestamp(moment_us / 1e6, zone)
    month = _month(local.year, local.month, zone)
    return month if moment_us < month.end else after(month, zone)  # a float is not exact to the microsecond


def _month(year: int, number: int, zone: ZoneInfo) -> Month:
    start = datetime(year, number, 1, tzinfo=zone)
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=zone)
    return Month(f"{year:04d}-{number:02d}", int(start.timestamp()) * 1_000_000, int(end.timestamp()) * 1_000_000)


def before(month: Month, zone: ZoneInfo) -> Month:
    return month_at(month.start - 1, zone)


def after(month: Month, zone: ZoneInfo) -> Month:
    year, number = map(int, month.name.split("-"))
    return _month(year + number // 12, number % 12 + 1, zone)


def months(since: int, until: int, zone: ZoneInfo) -> Iterator[Month]:
    """Every month that the span touches. Raises `BadQuestion` of more than ten years."""
    month = month_at(since, zone)
    for _ in range(_MOST):
        if month.start >= until:
            return
        yield month
        month = after(month, zone)
    raise BadQuestion(f"the period touches more than {_MOST} months: say --since")
