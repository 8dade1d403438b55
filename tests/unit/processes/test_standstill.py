"""A machine that stood still is known by its wall clock, and nothing else is taken for that."""

from __future__ import annotations

import pytest

from proxy.processes.standstill import Standstill


class Machine:
    wall, steady = 1_800_000_000.0, 50.0


@pytest.mark.parametrize(
    ("wall", "steady", "lost"),
    [(28_800.0, 1.0, 28_799.0), (1.0, 1.0, 0.0), (1.4, 1.0, 0.0), (-3600.0, 1.0, 0.0), (60.0, 60.0, 0.0)],
    ids=["slept", "ran", "slewed", "set back", "was stopped"],
)
def test_what_the_wall_clock_alone_has_seen_is_a_standstill(wall: float, steady: float, lost: float) -> None:
    machine = Machine()
    standstill = Standstill(lambda: machine.wall, lambda: machine.steady, lambda: machine.wall)
    assert standstill.look() == 0
    machine.wall += wall
    machine.steady += steady
    assert standstill.look() == lost
    machine.wall += 1
    machine.steady += 1
    assert standstill.look() == 0


def test_a_clock_that_was_set_back_is_told_once_each_time(caplog: pytest.LogCaptureFixture) -> None:
    """Everything went by a time that was over, and nothing said so."""
    behind = [0.0, 30.0, 7200.0, 7100.0, 0.5, 120.0]
    standstill = Standstill(lambda: 1000.0, lambda: 5.0, lambda: 1000.0 - behind.pop(0))
    while behind:
        assert standstill.look() == 0
    assert [line.getMessage().split(":")[0] for line in caplog.records] == [
        f"this machine's clock is {seconds} s behind what it was" for seconds in (7200, 120)
    ]
