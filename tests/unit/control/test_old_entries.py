"""When old entries are deleted: not by a clock that was ahead for a moment, nor by that of one machine alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.config.model import Config
from proxy.control import old_entries
from proxy.ledger.database import open_ledger
from proxy.ledger.schema import entries
from proxy.times import DAY_US
from tests.support.made_up import START, fill, made_up

DAYS = 30
RIGHT, AHEAD = START + 2 * DAY_US, START + 400 * DAY_US


def go_by(monkeypatch: pytest.MonkeyPatch, ours: int, machine: int, database: int) -> None:
    monkeypatch.setattr(old_entries, "now_us", lambda: ours)
    monkeypatch.setattr(old_entries, "machine_s", lambda: machine / 1e6)
    monkeypatch.setattr(old_entries, "shared_now_us", lambda _: database)


async def left_after(engine: Engine, looks: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many entries there are after so many looks."""
    looked, delete_some, done = [], old_entries.delete_some, asyncio.Event()
    loop = asyncio.get_running_loop()

    def deleting(*said: Any) -> int:
        looked.append(delete_some(*said))
        if len(looked) >= looks:
            loop.call_soon_threadsafe(done.set)
        return looked[-1]

    monkeypatch.setattr(old_entries, "delete_some", deleting)
    monkeypatch.setattr(old_entries, "_LOOK_FOR_OLD_S", 0.01)
    running = asyncio.create_task(
        old_entries.maintain_entries(engine, lambda: replace(Config(), ledger_retention_days=DAYS))
    )
    async with asyncio.timeout(30):
        await done.wait()
    running.cancel()
    monkeypatch.setattr(old_entries, "delete_some", delete_some)
    with engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(entries)).scalar_one())


@pytest.mark.parametrize(
    "clocks",
    [(AHEAD, RIGHT, RIGHT), (AHEAD, AHEAD, RIGHT)],
    ids=["was ahead for a moment", "one machine's is ahead"],
)
async def test_what_only_a_wrong_clock_calls_old_stays(
    database: str, monkeypatch: pytest.MonkeyPatch, clocks: Iterable[int]
) -> None:
    engine = open_ledger(database)
    fill(engine, made := made_up(20, hours=10))
    go_by(monkeypatch, *clocks)
    assert await left_after(engine, 2, monkeypatch) == len(made)
    go_by(monkeypatch, AHEAD, AHEAD, AHEAD)
    assert await left_after(engine, 2, monkeypatch) == 0
    engine.dispose()
