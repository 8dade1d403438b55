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
    standstill = Standstill(lambda: machine.wall, lambda: machine.steady)
    assert standstill.look() == 0
    machine.wall += wall
    machine.steady += steady
    assert standstill.look() == lost
    machine.wall += 1
    machine.steady += 1
    assert standstill.look() == 0
