"""The clock by which windows, limits and expiries go: it never goes back, and does not stand still either."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.times import Clock

S = 10**9


class Machine:
    """A wall clock that people and programs set, beside a steady one."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000 * S
        self.steady = 5 * S
        self.clock = Clock(lambda: self.wall, lambda: self.steady)

    def goes_on(self, seconds: int) -> int:
        self.wall += seconds * S
        self.steady += seconds * S
        return self.clock.now()


def test_it_is_the_wall_clock() -> None:
    machine = Machine()
    for seconds in (0, 1, 3600, 0):
        assert machine.goes_on(seconds) == machine.wall


def test_where_the_wall_clock_is_set_back_it_goes_on_more_slowly_until_they_meet() -> None:
    machine = Machine()
    before = machine.clock.now()
    machine.wall -= 100 * S
    assert machine.clock.now() == before
    assert machine.goes_on(60) == before + 30 * S
    machine.goes_on(140)
    assert machine.clock.now() == machine.wall
    assert machine.goes_on(7) == machine.wall


def test_what_another_process_has_seen_is_over_here_too() -> None:
    machine = Machine()
    machine.clock.not_before(machine.wall + 5 * S)
    assert machine.clock.now() == machine.wall + 5 * S
    machine.clock.not_before(machine.wall - 5 * S)
    assert machine.clock.now() == machine.wall + 5 * S


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(-10_000, 10_000)), max_size=30))
def test_it_never_goes_back_and_never_stands_still(steps: list[tuple[int, int]]) -> None:
    machine = Machine()
    last = machine.clock.now()
    for seconds, set_by in steps:
        machine.wall += set_by * S
        now = machine.goes_on(seconds)
        assert now >= max(machine.wall, last + seconds * S // 2)
        last = now
