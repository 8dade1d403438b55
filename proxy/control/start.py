"""How the control process begins: with what the data planes wait for, if that is known at once, and with everything else
behind it. The rest of the process (`process.py`) takes a third of a second to import and to open the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import uvloop

from proxy.config.model import Config
from proxy.control.first_snapshot import first_said
from proxy.processes.deferred import deferred
from proxy.processes.garbage_collection import make_rare, pause
from proxy.processes.link import ControlServer
from proxy.processes.not_installed import require
from proxy.processes.orders import InFile, Orders

QUESTIONS = ("sessions", "groups", "stored", "jobs", "jobs_due")
"""What data planes ask: `answers.py`."""

_WAIT_S = 1.0
_PROCESS = "proxy.control.process"

FirstSnapshot = Callable[[str], Awaitable[Mapping[str, Any]]]
Answers = Mapping[str, Callable[[Mapping[str, Any]], Awaitable[Any]]]


class Beginning:
    """The process's link to data planes while the ledger is not open: the first one that connects has the snapshot, whoever
    comes later waits for `hand_over`, and a question for `answer`. stop: a stop that was asked for meanwhile, and comes once
    everything is shipped."""

    def __init__(self, path: Path, snapshot: Mapping[str, Any]) -> None:
        self.stop = asyncio.Event()
        self._snapshot: Mapping[str, Any] | None = snapshot
        self._is_open, self._is_complete = asyncio.Event(), asyncio.Event()
        self._answers: Answers = {}
        self._later: FirstSnapshot | None = None
        self.link = ControlServer(path, self._first_snapshot, {name: self._asked(name) for name in QUESTIONS})

    def answer(self, answers: Answers) -> None:
        """The ledger is open."""
        self._answers = answers
        self._is_open.set()

    def hand_over(self, first_snapshot: FirstSnapshot) -> None:
        """It has all that was spent before."""
        self._snapshot = None
        self._later = first_snapshot
        self._is_complete.set()

    async def _first_snapshot(self, worker: str) -> Mapping[str, Any]:
        # Whoever comes again may have served: what the ledger says then it says itself.
        snapshot, self._snapshot = self._snapshot, None
        if snapshot is not None:
            return snapshot
        await self._is_complete.wait()
        assert self._later is not None
        return await self._later(worker)

    def _asked(self, name: str) -> Callable[[Mapping[str, Any]], Awaitable[Any]]:
        async def answer(question: Mapping[str, Any]) -> Any:
            await self._is_open.wait()
            return await self._answers[name](question)

        return answer


def run_control(
    config: Config,
    listener: socket.socket,
    data_port: int,
    orders: Orders,
    *,
    announce: bool,
    workers: int,
    in_file: InFile,
    is_spool_empty: bool,
) -> None:
    """Run until told to stop; by then everything in the spool is in the ledger (or stays in the spool). is_spool_empty: nothing
    was in it, before any data plane was there."""
    require("sqlalchemy")  # imported behind the first call

    # Before the first call of this life, which no ledger has yet.
    has_served = any(path.stat().st_size for path in Path(config.data_dir).glob("conversations-*.txt"))

    async def serve() -> None:
        beginning = await _begin(config, workers) if is_spool_empty else None
        # In a thread: data planes ask meanwhile.
        process = await asyncio.to_thread(_import_process)
        control = process.Control(config, listener, data_port, orders, announce=announce, workers=workers)
        control.in_file, control.has_served, control.is_spool_empty = in_file, has_served, is_spool_empty
        await control.serve(beginning)

    uvloop.run(serve())


async def _begin(config: Config, workers: int) -> Beginning | None:
    first = first_said(config)
    if first is None:
        return None
    data_dir = Path(config.data_dir)
    beginning = Beginning(data_dir / "control.sock", first.snapshot)
    async with contextlib.AsyncExitStack() as until_they_serve:
        epoch = None
        if config.store != "memory":
            from proxy.control.first_epoch import first_epoch  # noqa: PLC0415 - most have their budgets in memory

            epoch = await until_they_serve.enter_async_context(first_epoch(config, first.counted))
            if not await epoch.is_of_this_ledger():
                return None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, beginning.stop.set)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C reaches the supervisor too, which sends SIGTERM
        await beginning.link.start()
        if epoch is not None:
            await epoch.open(data_dir / "spool", workers)
        await beginning.link.all_serve(workers, _WAIT_S)  # on a small machine the data planes need the time
    return beginning


def _import_process() -> Any:
    pause()
    try:
        with deferred("importlib.metadata"):  # SQLAlchemy looks for plugins there if a database has another driver
            return importlib.import_module(_PROCESS)
    finally:
        make_rare()
