"""A machine that stood still is told by its wall clock, and nothing else is taken for that."""

from __future__ import annotations

import pytest

from proxy.processes.standstill import Standstill
from proxy.times import Clock


class Machine:
    def __init__(self) -> None:
        self.wall, self.steady = 1_800_000_000.0, 50.0
        ours = Clock(lambda: self.wall, lambda: self.steady)
        self.standstill = Standstill(ours.now, lambda: self.steady, lambda: self.wall)

    def look(self, wall: float, steady: float) -> None:
        self.wall += wall
        self.steady += steady
        self.standstill.look()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.getMessage().partition(",")[0].partition(":")[0] for line in caplog.records]


@pytest.mark.parametrize(
    ("wall", "steady", "said"),
    [
        (28_800.0, 1.0, ["this machine stood still for 28799 s"]), (1.0, 1.0, []), (1.4, 1.0, []), (60.0, 60.0, []),
        (-3600.0, 1.0, ["this machine's clock is 3600 s behind what it was"]),
    ],
    ids=["slept", "ran", "slewed", "was stopped", "set back"],
)  # fmt: skip
def test_what_the_wall_clock_alone_has_seen_is_a_standstill(
    wall: float, steady: float, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    machine = Machine()
    machine.look(1, 1)
    machine.look(wall, steady)
    machine.look(1, 1)
    assert told(caplog) == said


def test_a_sleep_is_seen_behind_a_clock_that_was_set_back(caplog: pytest.LogCaptureFixture) -> None:
    """The time that never goes back stood still through it."""
    machine = Machine()
    machine.look(1, 1)
    machine.look(-3600, 1)
    machine.look(300, 300)
    machine.look(1200, 1)
    assert told(caplog) == ["this machine's clock is 3600 s behind what it was", "this machine stood still for 1199 s"]


def test_a_clock_that_is_set_back_again_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    for wall, steady in ((1, 1), (-30, 1), (-7200, 100), (100, 100), (7400, 100), (100, 100), (-7200, 100)):
        machine.look(wall, steady)
    assert [line.split(" is ")[0] for line in told(caplog)] == [
        "this machine's clock",
        "this machine stood still for 7300 s",
        "this machine's clock",
    ]


def test_a_clock_that_goes_to_and_fro_is_not_told_each_time(caplog: pytest.LogCaptureFixture) -> None:
    """Two programs that set it, of which one is wrong: a line each second and from each process."""
    machine = Machine()
    for _ in range(300):
        machine.look(-7200, 1)
        machine.look(7200, 1)
    assert 2 <= len(caplog.records) <= 11
