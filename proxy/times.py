"""Instants as epoch microseconds, how people write them, and the one clock that tells them: it never goes back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, tzinfo
from math import floor

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

_SPAN = re.compile(r"(\d{1,6})([smhdw])\Z")
_MONTH = re.compile(r"\d{4}-\d\d\Z", re.ASCII)
_LAST_US = 16_725_225_600_000_000  # 2500-01-01
_FIRST_DATE_US, _LAST_DATE_US = -62_135_596_800_000_000, 253_402_300_799_000_000  # what `datetime` knows
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class BadQuestion(ValueError):  # noqa: N818 - told to whoever asked
    """A parameter that makes no sense; the message says which and what would."""


class Clock:
    """The wall clock, but that it never goes back: a window that is over in this process stays over.

    Where the wall clock was set back, time goes on from where it was, at half its pace, until they meet. So no budget's window
    begins again, and none stands still for as long as the clock had been wrong. In seconds, as floating point: so late a moment
    still has its quarters of a microsecond, and Python reckons with nanoseconds at five times the cost.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._at = 0.0
        self._read_at = steady()

    def now(self) -> float:
        wall_now, steady_now = self._wall, self._steady  # as methods, Python would look for them in the class first
        wall, steady = wall_now(), steady_now()
        slowest = self._at + (steady - self._read_at) * 0.5
        if wall < slowest:  # noqa: PLR1730 - `max` takes twice as long, six times a call
            wall = slowest
        self._at, self._read_at = wall, steady
        return wall

    def not_before(self, moment_s: float) -> None:
        """Another process has seen that moment: what is over there is over here."""
        # Read first: time that has gone by unread lies before that moment, and is not counted behind it.
        self._at = max(self.now(), moment_s)


_clock = Clock()
not_before = _clock.not_before


_now = _clock.now


def now_us() -> int:
    """Epoch microseconds, which never go back while this process lives."""
    # To the nearest: what was a whole number of them is that number again. (`int` takes twice as long.)
    return floor(_now() * 1e6 + 0.5)


def now_s() -> float:
    """As `now_us`, in seconds."""
    return _now()


def machine_s() -> float:
    """What the machine's clock says, which may have been set back: for who asks how far the two are apart."""
    return time.time()


def moment(text: str, now_s: float, zone: tzinfo = UTC) -> int:
    """`7d` (before now), a month's beginning such as `2026-11`, or RFC 3339, as epoch microseconds. zone: of what says none.
    Raises `BadQuestion`."""
    span = _SPAN.match(text)
    if span:
        return within_calendar(int((now_s - int(span[1]) * _SECONDS[span[2]]) * 1_000_000))
    try:
        parsed = datetime.fromisoformat(f"{text}-01" if _MONTH.match(text) else text)
    except ValueError:
        raise BadQuestion(f"{text!r} is not a time: write 7d, 12h, 2026-11, or 2026-11-23T12:00:00Z") from None
    return within_calendar(int((parsed if parsed.tzinfo else parsed.replace(tzinfo=zone)).timestamp() * 1_000_000))


def within_calendar(at: int) -> int:
    """The moment, or the nearest of 1970 to 2500: nothing is recorded outside of that, and any time zone, and the stretch
    of the same length before, are still dates."""
    return max(0, min(at, _LAST_US))


def moment_ahead(text: str, now_s: float) -> int:
    """As `moment`, but `2h` is two hours from now: where something ends. Raises `BadQuestion`."""
    span = _SPAN.match(text)
    if span:
        return within_calendar(int((now_s + int(span[1]) * _SECONDS[span[2]]) * 1_000_000))
    return moment(text, now_s)


def instant(value: object) -> datetime:
    """A moment with its offset, of RFC 3339 or an ISO date; what has no offset is UTC, as everywhere here. Raises ValueError: a
    number may be seconds or milliseconds, and 0 an instant or none."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = value.isoformat()
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        parsed = None
    if not isinstance(parsed, datetime):
        raise ValueError("write a time such as 2027-01-31T12:00:00Z")
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def with_a_date(at: int) -> int:
    """The moment, or the nearest that has a date: a damaged record's may lie beyond the years 1 to 9999."""
    return max(_FIRST_DATE_US, min(at, _LAST_DATE_US))


def rfc3339(microseconds: int | None) -> str | None:
    """`2026-11-23T12:00:00.000000Z`; None for what has no time."""
    if microseconds is None:
        return None
    return (
        datetime.fromtimestamp(with_a_date(microseconds) / 1e6, UTC)
        .isoformat(timespec="microseconds")
        .replace("+00:00", "Z")
    )
