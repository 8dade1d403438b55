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

    assert lives_of("data-1", tmp_path) == [writers[1].run, writers[2].run]
    await earlier_are_told("data-1", tmp_path, lambda: False)
    await earlier_are_told("data-0", tmp_path, lambda: False)
    for writer in writers:
        writer.close()
