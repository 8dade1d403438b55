"""The control process's beginning: data planes serve with the first snapshot while the rest is imported and opens the ledger."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.control import start
from proxy.control.answers import answers
from proxy.control.process import Control
from proxy.control.start import QUESTIONS, Beginning
from proxy.ledger.database import open_ledger
from proxy.processes.link import DataPlaneLink
from proxy.processes.orders import Orders

SECOND = {"from": "the ledger"}


async def from_the_ledger(_: str) -> Mapping[str, Any]:
    return SECOND


@pytest.fixture
async def beginning(tmp_path: Path) -> AsyncIterator[Beginning]:
    made = Beginning(tmp_path / "control.sock", {"early": True})
    await made.link.start()
    yield made
    await made.link.stop()


class Plane:
    """A data plane's end, and the snapshots that it had."""

    def __init__(self, folder: Path) -> None:
        self.had: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self.link = DataPlaneLink(
            folder / "control.sock", worker="data-0", on_snapshot=self.had.put_nowait, handlers={"gauges": lambda _: {}}
        )
        self.running = asyncio.create_task(self.link.run())

    async def end(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Callable[[], Plane]]:
    made: list[Plane] = []

    def connect() -> Plane:
        made.append(Plane(tmp_path))
        return made[-1]

    yield connect
    for one in made:
        await one.end()


async def test_who_connects_first_serves_at_once_and_who_comes_again_when_the_ledger_is_open(
    beginning: Beginning, plane: Callable[[], Plane]
) -> None:
    """A data plane that came back has served: the first snapshot says nothing of that."""
    first = plane()
    assert await first.had.get() == {"early": True}
    await first.end()

    second = plane()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(second.had.get(), 0.1)
    beginning.hand_over(from_the_ledger)
    assert await second.had.get() == SECOND


async def test_who_connects_behind_the_ledgers_opening_is_told_by_it(
    beginning: Beginning, plane: Callable[[], Plane]
) -> None:
    beginning.hand_over(from_the_ledger)
    assert await plane().had.get() == SECOND


async def test_a_question_waits_for_the_ledger(beginning: Beginning, plane: Callable[[], Plane]) -> None:
    async def sessions(question: Mapping[str, Any]) -> Any:
        return [question["names"]]

    asking = plane()
    await asking.had.get()
    asked = asyncio.create_task(asking.link.ask("sessions", {"names": "n"}, 60))
    await asyncio.sleep(0)
    assert await asking.link.ask("sessions", {"names": "n"}, 0.05) is None
    beginning.answer({"sessions": sessions})

    assert await asked == ["n"]


def test_all_questions_that_the_ledger_answers_can_be_asked_before() -> None:
    engine = sa.create_engine("sqlite://")
    assert set(QUESTIONS) == set(answers(engine, Config))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return read_section(Config, {
        "data_dir": str(tmp_path),
        "ledger": f"sqlite:///{tmp_path}/ledger.db",
        "keys": [{"name": "app", "key": "sk-app-0000-abcdefghijklmnop"}],
        "budgets": [{"name": "b", "limit_usd": 5, "window": "day"}],
    })  # fmt: skip


async def test_a_stop_meanwhile_comes_when_the_ledger_has_everything(
    config: Config, plane: Callable[[], Plane], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt, orders = signal.getsignal(signal.SIGINT), Orders()
    monkeypatch.setattr(start, "_WAIT_S", 60)
    first = plane()
    beginning = await start._begin(config, 1)
    assert beginning is not None
    assert first.had.get_nowait()["early"]
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(beginning.stop.wait(), 60)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        control = Control(config, listener, 4100, orders, announce=False, workers=1)
        await asyncio.wait_for(control.serve(beginning), 60)
    orders.close()
    signal.signal(signal.SIGINT, interrupt)

    later = await first.had.get()
    assert "early" not in later
    assert list(later["defined"]) == ["b"]
    engine = open_ledger(config.ledger)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT budget FROM budget_definitions")).scalars().all() == ["b"]
    engine.dispose()


@pytest.mark.long
def test_data_planes_do_not_wait_for_sqlalchemy() -> None:
    code = "import sys, proxy.control.start; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
