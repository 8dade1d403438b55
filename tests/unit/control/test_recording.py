"""The recorder comes behind calls, and is not kept from its work for long."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import pytest

from proxy.control.recording import Recording
from proxy.ledger.recording.recorder import Recorder

_Take = Callable[[Callable[[], int], bool], int]
_OWN = os.getpriority(os.PRIO_PROCESS, 0)
_LAST, _BEHIND = 19, min(_OWN + 5, 19)
linux = pytest.mark.skipif(sys.platform != "linux", reason="a thread has no priority of its own elsewhere")


class _Step(NamedTuple):
    pressed: bool = False
    took_s: float = 0.0
    rest_s: float = 0.0


class _Recorder:
    """Its `run` is a test's."""

    def __init__(self, run: Callable[[threading.Event, _Take], None]) -> None:
        self.run = run


def _recording(run: Callable[[threading.Event, _Take], None], clock: Callable[[], float] = float) -> Recording:
    return Recording(cast("Recorder", _Recorder(run)), clock)


def _priorities(steps: Sequence[_Step]) -> list[int]:
    """Which priority each of them had."""
    seen: list[int] = []
    now_s = 1000.0

    def run(_: threading.Event, take: _Take) -> None:
        nonlocal now_s
        for number, (pressed, took_s, rest_s) in enumerate(steps):

            def step(took_s: float = took_s) -> int:
                nonlocal now_s
                now_s += took_s
                seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
                return len(seen)

            assert take(step, pressed) == number + 1
            now_s += rest_s

    recording = _recording(run, lambda: now_s)
    recording.start()
    recording.end()
    return seen


@linux
def test_it_comes_last_unless_more_is_waiting() -> None:
    steps = (_Step(), _Step(pressed=True), _Step(pressed=True), _Step(took_s=0.9), _Step())
    assert _priorities(steps) == [_LAST, _BEHIND, _BEHIND, _LAST, _LAST]


@linux
def test_behind_a_batch_that_hardly_ran_it_has_its_part_for_longer_each_time() -> None:
    slow = _Step(took_s=1.5)
    steps = (
        slow,
        _Step(rest_s=3.9),
        _Step(rest_s=0.2),
        slow,
        _Step(rest_s=7.9),
        _Step(rest_s=0.2),
        _Step(),
        slow,
        _Step(rest_s=4),
        _Step(),
    )
    last = [number for number, priority in enumerate(_priorities(steps)) if priority == _LAST]
    assert last == [0, 3, 6, 7, 9]


def test_the_end_waits_for_what_the_recorder_still_does() -> None:
    done: list[str] = []

    def run(stop: threading.Event, take: _Take) -> None:
        def step() -> int:
            done.append("shipped")
            return 1

        stop.wait()
        take(step, True)

    recording = _recording(run)
    recording.start()
    recording.end()
    assert done == ["shipped"]
