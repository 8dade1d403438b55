"""A data plane begins at whatever moment of a repricing: it counts it once, and so does one that has gone on."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import sqlalchemy as sa

from pricing.load import packaged_book
from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.control.metrics.series import MetricState
from proxy.control.process import Control
from proxy.dataplane.process import _DataPlane, build_plane
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.corrections import record_of, repricing_of
from proxy.ledger.entries.entry import entry_of
from proxy.ledger.planes.definitions import take_definitions
from proxy.ledger.recording.shipping import Shipper
from proxy.ledger.schema import budget_spend
from proxy.processes.orders import Orders
from proxy.spool.writer import SpoolWriter
from proxy.times import now_s
from tests.support.spooled import append, intent, settle


class Joined:
    """A data plane that has its first snapshot, and takes what is pushed behind it."""

    def __init__(self, control: Control, snapshot: Any) -> None:
        config = control.config
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._process = _DataPlane(config, "data-0", listener, control._orders)
        self._process._plane = build_plane(config, "data-0", {}, packaged_book())
        self._process._server = cast(Any, SimpleNamespace(stopping=False))
        self.take(snapshot)

    def take(self, snapshot: Any) -> None:
        self._process._take_snapshot(snapshot)

    async def spent(self) -> int:
        await asyncio.gather(*self._process._charging)
        (standing,) = self._process._plane.store.standings()
        return standing.spent


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    interrupt = signal.getsignal(signal.SIGINT)
    config = read_section(
        Config,
        {
            "data_dir": str(tmp_path),
            "ledger": f"sqlite:///{tmp_path}/ledger.db",
            "budgets": [{"name": "b", "limit_usd": 1, "window": "total"}],
        },
    )
    orders = Orders()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Control(config, listener, 4100, orders, announce=False, workers=1)
    made._engine = open_ledger(config.ledger)
    made._shared = None
    made._alerts = cast(Any, SimpleNamespace(shipped=lambda *_: None))
    made._metrics = MetricState.load(made._engine, made._instance)
    yield made
    made._engine.dispose()
    orders.close()
    signal.signal(signal.SIGINT, interrupt)


def corrected(amount: int) -> bytes:
    """A call of 400 that costs so much more."""
    one: Any = intent()
    ended: Any = settle(one, 400)
    charged = entry_of(one, ended, "i").row._asdict()
    return record_of(repricing_of(charged, {"cost_lines": None, "price_version": "v"}, 400 + amount, 400, 0))


def begin(control: Control) -> None:
    """The budget has spent 400, and nothing is left in the spool."""
    control._recorder = control._make_recorder(control._engine)
    writer = SpoolWriter(Path(control.config.data_dir) / "spool", "w")
    one = intent()
    append(writer, one, settle(one, 400))
    writer.close()
    while control._recorder.step():
        pass
    take_definitions(control._engine, control.budgets(), now_s())


def of_ledger(control: Control) -> int:
    with control._engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.sum(budget_spend.c.amount))).scalar() or 0)


@pytest.mark.parametrize("is_committed", [False, True])
async def test_a_repricing_on_its_way_to_the_ledger_is_counted_once_by_who_joins_meanwhile(
    control: Control, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    planes: list[Joined] = []
    control._link = cast(Any, SimpleNamespace(push=lambda snapshot: [plane.take(snapshot) for plane in planes]))
    begin(control)
    there, go_on = threading.Event(), threading.Event()
    ship = Shipper.ship

    def slow(*what: Any) -> Any:
        done = ship(*what) if is_committed else None
        there.set()
        go_on.wait(20)
        return done or ship(*what)

    monkeypatch.setattr(Shipper, "ship", slow)
    writer = SpoolWriter(Path(control.config.data_dir) / "spool", "reprice")
    writer.append(corrected(50))
    writer.close()
    shipping = asyncio.create_task(asyncio.to_thread(control._recorder.step))
    await asyncio.to_thread(there.wait, 20)
    joining = asyncio.create_task(control._first_snapshot("data-0"))
    await asyncio.wait([joining], timeout=0.3)
    if joining.done():
        planes.append(Joined(control, joining.result()))
    go_on.set()
    await shipping
    if not planes:
        planes.append(Joined(control, await joining))
    await asyncio.sleep(0)
    assert (await planes[0].spent(), of_ledger(control)) == (450, 450)

    planes[0].take(await control._first_snapshot("data-0"))  # the link broke, and it comes again
    assert await planes[0].spent() == 450


async def test_a_repricing_is_known_to_who_goes_on_though_the_control_process_died_behind_its_commit(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes: list[Joined] = []
    control._link = cast(Any, SimpleNamespace(push=lambda snapshot: [plane.take(snapshot) for plane in planes]))
    begin(control)
    planes.append(Joined(control, await control._first_snapshot("data-0")))
    ship = Shipper.ship

    def dies(*what: Any) -> Any:
        ship(*what)
        raise KeyboardInterrupt

    writer = SpoolWriter(Path(control.config.data_dir) / "spool", "reprice")
    writer.append(corrected(50))
    writer.close()
    with monkeypatch.context() as dying:
        dying.setattr(Shipper, "ship", dies)
        with pytest.raises(KeyboardInterrupt):
            control._recorder.step()
    await asyncio.sleep(0)
    control._recorder = control._make_recorder(control._engine)  # its next life
    while control._recorder.step():
        pass
    await asyncio.sleep(0)
    assert (await planes[0].spent(), of_ledger(control)) == (450, 450)


async def test_a_repricing_that_is_in_the_ledger_already_is_told_to_nobody(control: Control) -> None:
    """Two commands found it at a time, and a data plane began between them."""
    planes: list[Joined] = []
    control._link = cast(Any, SimpleNamespace(push=lambda snapshot: [plane.take(snapshot) for plane in planes]))
    begin(control)
    record = corrected(50)
    for _ in range(2):
        writer = SpoolWriter(Path(control.config.data_dir) / "spool", "reprice")
        writer.append(record)
        writer.close()
        while control._recorder.step():
            pass
        await asyncio.sleep(0)
        control._charges._noted.clear()  # long ago
        if not planes:
            planes.append(Joined(control, await control._first_snapshot("data-0")))
    assert (await planes[0].spent(), of_ledger(control)) == (450, 450)
