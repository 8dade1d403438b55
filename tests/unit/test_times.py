"""The clock by which windows, limits and expiries go: it never goes back, and does not stand still either."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import times
from proxy.control.pages import view
from proxy.control.pages.clock import Clock as PageClock
from proxy.times import BadQuestion, Clock, instant, moment


class Machine:
    """A wall clock that people and programs set, beside a steady one."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000.0
        self.steady = 5.0
        self.clock = Clock(lambda: self.wall, lambda: self.steady)

    def goes_on(self, seconds: int) -> float:
        self.wall += seconds
        self.steady += seconds
        return self.clock.now()


def test_it_is_the_wall_clock() -> None:
    machine = Machine()
    for seconds in (0, 1, 3600, 0):
        assert machine.goes_on(seconds) == machine.wall


def test_where_the_wall_clock_is_set_back_it_goes_on_more_slowly_until_they_meet() -> None:
    machine = Machine()
    before = machine.clock.now()
    machine.wall -= 100
    assert machine.clock.now() == before
    assert machine.goes_on(60) == before + 30
    machine.goes_on(140)
    assert machine.clock.now() == machine.wall
    assert machine.goes_on(7) == machine.wall


def test_what_another_process_has_seen_is_over_here_too() -> None:
    machine = Machine()
    machine.clock.not_before(machine.wall + 5)
    assert machine.clock.now() == machine.wall + 5
    machine.clock.not_before(machine.wall - 5)
    assert machine.clock.now() == machine.wall + 5


@pytest.mark.parametrize("ahead", [0, 5, -5])
def test_time_that_nobody_read_is_not_counted_again_behind_what_another_process_has_seen(ahead: int) -> None:
    machine = Machine()
    machine.clock.now()
    machine.wall += 86_400  # as in a process that waits for its children, and is forked anew
    machine.steady += 86_400
    machine.clock.not_before(machine.wall + ahead)
    assert machine.clock.now() == machine.wall + max(ahead, 0)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(-10_000, 10_000)), max_size=30))
def test_it_never_goes_back_and_never_stands_still(steps: list[tuple[int, int]]) -> None:
    machine = Machine()
    last = machine.clock.now()
    for seconds, set_by in steps:
        machine.wall += set_by
        now = machine.goes_on(seconds)
        assert now >= max(machine.wall, last + seconds / 2)
        last = now


@given(st.integers(0, 4_000_000_000_000_000))  # until the year 2096
def test_a_whole_number_of_microseconds_stays_that_number(at_us: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(times, "_now", lambda: at_us / 1e6)
        assert times.now_us() == at_us


def test_a_moment_is_text_and_without_an_offset_utc() -> None:
    wanted = datetime(2027, 1, 31, tzinfo=UTC)
    for value in (
        "2027-01-31",
        "2027-01-31T00:00",
        "2027-01-31T01:00:00+01:00",
        date(2027, 1, 31),
        datetime(2027, 1, 31),
    ):
        assert instant(value) == wanted


@pytest.mark.parametrize(
    "value", [0, 1_800_000_000, 253402300799, 1.5, True, "0", "1800000000", "253402300799", "soon", None, []]
)
def test_what_may_be_seconds_or_milliseconds_is_no_moment(value: object) -> None:
    with pytest.raises(ValueError, match="2027-01-31T12"):
        instant(value)


def test_a_month_is_its_beginning() -> None:
    assert moment("2026-11", 0) == moment("2026-11-01T00:00:00Z", 0) == 1_793_491_200_000_000
    for odd in ("2026-13", "2026-1", "202611", "2026-11-", "2026-\u0661\u0661"):
        with pytest.raises(BadQuestion, match="write 7d, 12h, 2026-11, or"):
            moment(odd, 0)


@pytest.mark.parametrize(("at", "shown"), [(2**62, "9999-12-31T23:59:59"), (-(2**62), "0001-01-01T00:00:00")])
def test_a_moment_that_no_calendar_has_is_shown_as_the_nearest(at: int, shown: str) -> None:
    """A damaged record's: each list with its call in it was an error."""
    assert times.rfc3339(at) == f"{shown}.000000Z"
    assert view.moment(at) == f"{shown}Z"
    assert view.clock(at) == shown[11:]
    assert PageClock("Asia/Tokyo", 0).shown(at)
