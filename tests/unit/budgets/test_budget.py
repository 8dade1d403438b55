"""Calendar windows: every instant lies in exactly one, and clock changes neither repeat nor drop any."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.budgets.budget import window_at

BERLIN = ZoneInfo("Europe/Berlin")
WINDOWS = ["minute", "hour", "day", "week", "month"]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize(
    ("window", "now", "start", "end"),
    [
        ("minute", "2026-11-23T12:34:56+00:00", "2026-11-23T12:34:00+00:00", "2026-11-23T12:35:00+00:00"),
        ("hour", "2026-11-23T12:34:56+00:00", "2026-11-23T12:00:00+00:00", "2026-11-23T13:00:00+00:00"),
        ("day", "2026-11-23T23:30:00+00:00", "2026-11-23T23:00:00+00:00", "2026-11-24T23:00:00+00:00"),
        ("week", "2026-11-22T12:00:00+00:00", "2026-11-15T23:00:00+00:00", "2026-11-22T23:00:00+00:00"),
        ("month", "2026-03-31T22:30:00+00:00", "2026-03-31T22:00:00+00:00", "2026-04-30T22:00:00+00:00"),
        ("day", "2026-03-29T10:00:00+00:00", "2026-03-28T23:00:00+00:00", "2026-03-29T22:00:00+00:00"),
        ("day", "2026-10-25T10:00:00+00:00", "2026-10-24T22:00:00+00:00", "2026-10-25T23:00:00+00:00"),
    ],
)
def test_windows_follow_the_calendar_of_their_zone(window: str, now: str, start: str, end: str) -> None:
    """Days are 23 and 25 hours long at the clock changes; a week begins on Monday."""
    assert window_at(window, at(now), BERLIN) == (at(start), at(end))


def test_total_has_one_window_without_an_end() -> None:
    assert window_at("total", at("2026-11-23T12:00:00+00:00"), BERLIN) == (0, None)


@given(
    st.sampled_from(WINDOWS),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
)
def test_windows_tile_time(window: str, moment: datetime, zone: str) -> None:
    """An instant lies within its window, the next window begins where it ends, and every instant of it agrees."""
    now = int(moment.replace(tzinfo=UTC).timestamp())
    start, end = window_at(window, now, ZoneInfo(zone))
    assert end is not None
    assert start <= now < end
    assert window_at(window, start, ZoneInfo(zone)) == (start, end)
    assert window_at(window, end - 1, ZoneInfo(zone)) == (start, end)
    assert window_at(window, end, ZoneInfo(zone))[0] == end
