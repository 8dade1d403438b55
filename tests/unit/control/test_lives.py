"""What a data plane waits for before it is told what budgets have."""

from __future__ import annotations

from pathlib import Path

from proxy.control.lives import earlier_are_told, lives_of
from proxy.spool.writer import SpoolWriter
from tests.support.spooled import append, intent


async def test_only_earlier_lives_of_the_same_worker_are_waited_for(tmp_path: Path) -> None:
    writers = [SpoolWriter(tmp_path, name) for name in ("data-0", "data-1", "data-1")]
    for writer in (writers[0], writers[2]):
        append(writer, intent())

    assert lives_of("data-1", tmp_path) == sorted([writers[1].run, writers[2].run])  # both begun in one moment
    await earlier_are_told("data-1", tmp_path, lambda: False)
    await earlier_are_told("data-0", tmp_path, lambda: False)
    for writer in writers:
        writer.close()


async def test_a_life_that_ended_is_an_earlier_one_whatever_the_clock_said(tmp_path: Path) -> None:
    present, ended = sorted((SpoolWriter(tmp_path, "data-0") for _ in range(2)), key=lambda life: life.run)
    append(ended, intent())
    ended.close()
    asked = list[bool]()

    def may_go_on() -> bool:
        asked.append(True)
        return True

    await earlier_are_told("data-0", tmp_path, may_go_on)
    present.close()
    assert asked
