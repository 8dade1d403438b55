"""The link between control and the data planes: questions go both ways, and nobody waits for who is away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy.processes.link import ControlServer, DataPlaneLink


async def snapshot(worker: str) -> Mapping[str, Any]:
    return {"for": worker}


class Ends:
    """Both ends, connected."""

    def __init__(self, folder: Path, **answers: Any) -> None:
        self.connected = asyncio.Event()
        self.server = ControlServer(folder / "s", snapshot, answers)
        self.link = DataPlaneLink(
            folder / "s", worker="w", on_snapshot=lambda _: self.connected.set(), handlers={"n": lambda _: 7}
        )

    async def __aenter__(self) -> Ends:
        await self.server.start()
        self.running = asyncio.create_task(self.link.run())
        await self.connected.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.server.stop()


async def test_a_data_plane_asks_and_is_asked(tmp_path: Path) -> None:
    async def doubled(payload: Mapping[str, Any]) -> int:
        return int(payload["of"]) * 2

    async with Ends(tmp_path, doubled=doubled) as ends:
        answers = await asyncio.gather(
            *[ends.link.ask("doubled", {"of": n}, 60) for n in range(20)], ends.server.ask("n", timeout_s=60)
        )
    assert answers == [*range(0, 40, 2), {"w": 7}]


async def test_nobody_waits_for_an_answer_that_does_not_come(tmp_path: Path) -> None:
    async def silent(_: Mapping[str, Any]) -> None:
        await asyncio.Event().wait()

    async with Ends(tmp_path, silent=silent) as ends:
        assert await ends.link.ask("silent", {}, 0.01) is None
        assert await ends.link.ask("unknown", {}, 5) is None
        waiting = asyncio.create_task(ends.link.ask("silent", {}, 60))
        await asyncio.sleep(0)
        await ends.server.stop()
        assert await waiting is None
        assert await ends.link.ask("unknown", {}, 60) is None


@pytest.mark.parametrize("times", [1, 3])
async def test_without_control_there_is_no_answer(tmp_path: Path, times: int) -> None:
    link = DataPlaneLink(tmp_path / "s", worker="w", on_snapshot=lambda _: None, handlers={})
    assert [await link.ask("x", {}, 60) for _ in range(times)] == [None] * times


async def test_a_control_process_that_has_no_snapshot_yet_is_not_asked_without_a_pause(tmp_path: Path) -> None:
    asked = 0

    async def none_yet(_: str) -> Mapping[str, Any]:
        nonlocal asked
        asked += 1
        raise ConnectionError("the ledger cannot be asked")

    server = ControlServer(tmp_path / "s", none_yet)
    await server.start()
    link = DataPlaneLink(tmp_path / "s", worker="w", on_snapshot=lambda _: None, handlers={})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await link.run()
    await server.stop()
    assert 1 <= asked <= 25  # the pauses of a third of a second, and some more
