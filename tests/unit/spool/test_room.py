"""The spool's room is told when it ends and when it is back, and not with every record of a disk that is nearly full."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from proxy.rate_limited_log import EVERY_S
from proxy.spool import room
from proxy.spool.room import Room

FULL = "ENOSPC: No space left on device"


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def watch(tmp_path: Path, clock: list[float], caplog: pytest.LogCaptureFixture) -> Callable[..., Room]:
    caplog.set_level(logging.INFO, room.log.name)
    return lambda: Room(tmp_path, lambda: clock[0])


def test_both_its_ends_are_told(
    watch: Callable[..., Room], clock: list[float], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    made = watch()
    made.look("")
    made.look(FULL)
    for clock[0] in (1, 2, 3):
        made.look(FULL)
    assert made.why == FULL
    clock[0] = 4
    made.look("")

    assert made.why == ""
    begun, ended = caplog.messages
    assert begun.startswith(f"{tmp_path} cannot be written: {FULL}; calls are refused with 503 ledger_unavailable")
    assert "make room on its disk" in begun
    assert ended == f"{tmp_path} takes records again, after 4 s"


def test_a_spool_at_its_bound_says_what_to_do_then(
    watch: Callable[..., Room], caplog: pytest.LogCaptureFixture
) -> None:
    watch().look("the spool has reached spool.max_mb (1)")

    assert "see why the ledger's database does not take it, or raise spool.max_mb" in caplog.messages[0]


def test_one_that_comes_and_goes_has_a_line_of_each_a_minute(
    watch: Callable[..., Room], clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    made = watch()
    for clock[0] in range(10):
        made.look(FULL)
        made.look("")
    clock[0] = EVERY_S
    made.look("")

    assert [message.split(" ", 1)[1].partition(";")[0] for message in caplog.messages[:2]] == [
        f"cannot be written: {FULL}",
        "takes records again, after 0 s",
    ]
    assert caplog.messages[2].endswith(f": 9 times more in {EVERY_S:.0f} s")
    assert len(caplog.messages) == 3


def test_the_last_bytes_of_a_disk_are_no_room(watch: Callable[..., Room], monkeypatch: pytest.MonkeyPatch) -> None:
    """A count of refusals fits there, and no call does."""
    made = watch()
    made.look(FULL)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=1, f_frsize=4096))
    made.look("")
    assert made.why == FULL
    monkeypatch.undo()
    made.look("")
    assert made.why == ""
