"""The end of a data plane: what it still records is waited for by who ships it."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from proxy.config.model import Config
from proxy.dataplane.process import _DataPlane
from proxy.processes.link import ControlServer
from proxy.processes.orders import Orders

TURNS = 50  # of the loop, in which a link that is cut is noticed at its other end


async def test_its_link_stands_until_everything_is_written(tmp_path: Path) -> None:
    """A control process that was told to stop, too, ended while a store was told its last, and left a run in the spool."""

    async def snapshot(_: str) -> Mapping[str, Any]:
        return {"keys": [], "limits": [], "raises": [], "seeds": []}

    interrupt, orders = signal.getsignal(signal.SIGINT), Orders()
    control = ControlServer(tmp_path / "control.sock", snapshot, {})
    await control.start()
    config = Config(data_dir=str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = _DataPlane(config, "data-0", listener, orders)
        serving = asyncio.create_task(process.serve())
        await control.all_serve(1, 60)
        linked: list[list[str]] = []

        store = process._plane.store

        class Slow:
            def __getattr__(self, name: str) -> Any:
                return getattr(store, name)

            async def close(self) -> None:
                for _ in range(TURNS):
                    await asyncio.sleep(0)
                linked.append(list(control.workers))

        process._plane.store = cast(Any, Slow())
        process._stop()
        await asyncio.wait_for(serving, 60)
    await control.stop()
    orders.close()
    signal.signal(signal.SIGINT, interrupt)
    assert linked == [["data-0"]]
