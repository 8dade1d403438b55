"""Prices by the clock: named schedules of windows in the day, on some weekdays, not on some holidays. All in UTC."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from pricing.values import frozen

DAY_S = 86_400


@frozen
class Schedule:
    """`windows`: (start, end) in seconds of the day; one that ends before it starts crosses midnight.

    `weekdays`: ISO, Monday is 1. `not_on`: dates without the window. `covers_through`: the last day that the holidays
    are known for, None where the schedule has none.
    """

    windows: tuple[tuple[int, int], ...]
    weekdays: frozenset[int] = frozenset(range(1, 8))
    not_on: frozenset[dt.date] = frozenset()
    covers_through: dt.date | None = None

    def holds(self, at_s: int) -> bool:
        """Whether the moment lies in a window."""
        date = dt.datetime.fromtimestamp(at_s, dt.UTC).date()
        if date.isoweekday() not in self.weekdays or date in self.not_on:
            return False
        second = at_s % DAY_S
        return any(_within(second, start, end) for start, end in self.windows)

    def edges(self, at_s: int) -> tuple[int, int]:
        """The nearest moments at or before, and after, `at_s` at which `holds` may change."""
        midnight = at_s - at_s % DAY_S
        moments = {0, DAY_S, *(edge for window in self.windows for edge in window)}
        second = at_s % DAY_S
        return (
            midnight + max(edge for edge in moments if edge <= second),
            midnight + min(edge for edge in moments if edge > second),
        )

    def meets(self, from_s: int, to_s: int) -> bool:
        """Whether a window lies in part in [from_s, to_s]."""
        moment = from_s
        while moment <= to_s:
            if self.holds(moment):
                return True
            moment = self.edges(moment)[1]
        return False


def _within(second: int, start: int, end: int) -> bool:
    return start <= second < end if start <= end else second >= start or second < end


def schedule(raw: Mapping[str, Any]) -> Schedule:
    """A schedule from its TOML table: `windows = ["01:00-04:00"]`, `weekdays`, `not_on`, `covers_through`."""
    windows = []
    for window in raw["windows"]:
        start, end = window.split("-")
        windows.append((_second(start), _second(end)))
    return Schedule(
        tuple(windows),
        frozenset(raw.get("weekdays", range(1, 8))),
        frozenset(raw.get("not_on", ())),
        raw.get("covers_through"),
    )


def _second(clock: str) -> int:
    hours, minutes = clock.split(":")
    return (int(hours) * 60 + int(minutes)) * 60
