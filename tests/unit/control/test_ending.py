"""The control process that was told to end: behind data planes that drain, and by itself where they go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.control import ending
from proxy.control.ending import end_behind


class Link:
    """Data planes of which each says whether it drains, in turns; past the last turn none is there."""

    def __init__(self, *turns: dict[str, bool]) -> None:
        self.turns = list(turns)
        self.asked = 0

    @property
    def workers(self) -> list[str]:
        return list(self.turns[0]) if self.turns else []

    async def ask(self, name: str) -> dict[str, bool]:
        assert name == "stopping"
        self.asked += 1
        return self.turns.pop(0)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_LOOK_S", 0)


async def asked_until_the_end(link: Any) -> int:
    stop = asyncio.Event()
    await end_behind(link, stop)
    assert stop.is_set()
    return int(link.asked)


async def test_it_waits_for_data_planes_that_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_ALIKE_S", 0)
    draining = {"data-0": True, "data-1": False}
    assert await asked_until_the_end(Link(*[draining] * 50)) == 50


async def test_it_ends_where_data_planes_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal to it alone was heard by nobody: it went on as if there had been none, until a data plane died."""
    monkeypatch.setattr(ending, "_ALIKE_S", 0)
    assert await asked_until_the_end(Link(*[{"data-0": False}] * 50)) == 1


async def test_a_signal_to_all_may_reach_it_first() -> None:
    turns = [{"data-0": False}] * 3 + [{"data-0": True}] * 3
    assert await asked_until_the_end(Link(*turns)) == 6


async def test_without_a_data_plane_it_ends_at_once() -> None:
    assert await asked_until_the_end(Link()) == 0
