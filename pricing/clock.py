"""Clocks: hours of the day, days of the week and public holidays that choose between prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Clock:
    """When a clock strikes: within `hours` (UTC seconds of the day, half-open, may wrap midnight) on its days.

    weekdays: 0 is Monday; the days are those of UTC, holidays those of the calendar's own time zone.
    holidays_known_until: the last date that the calendar covers; later days count as working days.
    """

    name: str
    hours: tuple[tuple[int, int], ...]
    weekdays: frozenset[int] = frozenset(range(7))
    holidays: frozenset[date] = frozenset()
    holidays_offset_s: int = 0
    holidays_known_until: date | None = None
    source: str = ""

    def strikes(self, at_s: int) -> bool:
        """Whether the instant lies within the clock's hours."""
        second = at_s % DAY_S
        if not any(_within(second, start, end) for start, end in self.hours):
            return False
        if datetime.fromtimestamp(at_s, UTC).weekday() not in self.weekdays:
            return False
        if not self.holidays:
            return True
        there = timezone(timedelta(seconds=self.holidays_offset_s))
        return datetime.fromtimestamp(at_s, there).date() not in self.holidays

    def next_change_s(self, at_s: int) -> int:
        """An instant after `at_s` before which the clock surely says the same."""
        midnight = at_s - at_s % DAY_S
        edges = {edge for span in self.hours for edge in span} | {DAY_S, (DAY_S - self.holidays_offset_s) % DAY_S}
        return min(midnight + edge + extra for edge in edges for extra in (0, DAY_S) if midnight + edge + extra > at_s)


def _within(second: int, start: int, end: int) -> bool:
    return start <= second < end if start <= end else second >= start or second < end


def parse_clocks(raw: Mapping[str, Any]) -> dict[str, Clock]:
    """`schedules.toml`: its clocks by name. Raises KeyError or ValueError where the file is not well formed."""
    calendars = raw.get("holidays", {})
    clocks = {}
    for name, one in raw.get("clock", {}).items():
        calendar = calendars.get(one.get("holidays"), {})
        clocks[name] = Clock(
            name=name,
            hours=tuple((_second(start), _second(end)) for start, end in one["hours_utc"]),
            weekdays=frozenset(one.get("weekdays", range(7))),
            holidays=frozenset(_dates(calendar.get("dates", ()))),
            holidays_offset_s=int(calendar.get("utc_offset_hours", 0)) * 3600,
            holidays_known_until=next(iter(_dates([calendar["covers_through"]])), None) if calendar else None,
            source=one.get("source", ""),
        )
    return clocks


def _second(hour: str) -> int:
    hours, minutes = hour.split(":")
    return int(hours) * 3600 + int(minutes) * 60


def _dates(values: Iterable[object]) -> list[date]:
    return [value if isinstance(value, date) else date.fromisoformat(str(value)) for value in values]
