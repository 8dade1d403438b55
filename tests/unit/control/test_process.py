"""The control process's life: it ends in the reverse order of its start, and as a whole where a part of it fails."""

from __future__ import annotations

import asyncio
import importlib
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from proxy.config.model import Budget, Config
from proxy.config.reading import read_section
from proxy.control import opening, process
from proxy.control.alerts import Alerts
from proxy.control.process import Control
from proxy.control.runtime_settings import RuntimeSettings
from proxy.ledger.database import open_ledger
from proxy.ledger.recording import outage
from proxy.ledger.recording.initial_state import InitialState, initial_state
from proxy.ledger.recording.recorder import Recorder
from proxy.processes.link import ControlServer
from proxy.processes.orders import Orders
from proxy.spool.writer import SpoolWriter
from proxy.times import now_us
from tests.support.redis import RedisServer
from tests.support.spooled import append, intent, settle


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    interrupt = signal.getsignal(signal.SIGINT)
    config = read_section(Config, {"data_dir": str(tmp_path), "ledger": f"sqlite:///{tmp_path}/ledger.db"})
    orders = Orders()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Control(config, listener, 4100, orders, announce=False, workers=1)
    orders.close()
    signal.signal(signal.SIGINT, interrupt)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has ended, in that order."""
    names: list[str] = []

    def note(owner: Any, method: str, name: str) -> None:
        original = getattr(owner, method)

        def noted(*arguments: Any, **named: Any) -> Any:
            result = original(*arguments, **named)
            names.append(name)
            return result

        monkeypatch.setattr(owner, method, noted)

    note(ControlServer, "stop", "link")
    note(Recorder, "run", "recorder")
    note(Alerts, "stop", "alerts")

    def opened(url: str) -> Any:
        engine = open_ledger(url)
        note(engine, "dispose", "ledger")
        return engine

    monkeypatch.setattr(opening, "open_ledger", opened)
    return names


async def test_it_ends_in_the_reverse_order_of_its_start(control: Control, ended: list[str]) -> None:
    serving = asyncio.create_task(control.serve())
    while control._services is None:  # the last part to be there
        await asyncio.sleep(0.01)
    control._stop.set()
    await serving

    assert ended == ["link", "recorder", "alerts", "ledger"]
    assert "recorder" not in {thread.name for thread in threading.enumerate()}


async def test_data_planes_are_answered_while_the_rest_is_imported(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They ask what only the ledger knows, and go on without it after a moment."""
    importing: list[str] = []
    importer = importlib.import_module

    def noted(name: str) -> Any:
        if name == "proxy.control.services":
            importing.append(threading.current_thread().name)
        return importer(name)

    monkeypatch.setattr(process.importlib, "import_module", noted)
    serving = asyncio.create_task(control.serve())
    while control._services is None:
        await asyncio.sleep(0.01)
    control._stop.set()
    await serving

    (thread,) = importing
    assert thread != threading.main_thread().name


async def test_a_key_that_is_revoked_while_a_data_plane_is_told_what_is_spent_is_not_told_as_live(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no data plane yet, so that nothing is pushed to it; and it hears of no key again before another one changes."""
    control._engine = open_ledger(control.config.ledger)
    control._shared = None
    control._recorder = cast(Any, SimpleNamespace(check_soon=lambda: 0.0, runs_of=lambda _: 1, checked_at=0.0, batch=0))
    control._made.settings = RuntimeSettings([{"key_id": "revoked"}], [], [])

    def asked(*question: Any) -> Any:
        control._made.settings = RuntimeSettings([], [], [])
        return initial_state(*question)

    monkeypatch.setattr(process, "initial_state", asked)
    told = await control._first_snapshot("data-0")
    control._engine.dispose()

    assert told["keys"] == []
    assert set(told) == {"keys", "limits", "raises", "number", "seeds", "defined", "jobs", "charged"}


async def test_a_repricing_that_comes_while_a_data_plane_is_told_what_is_spent_is_in_what_it_is_told(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is pushed to those that are there; this one is not yet, and takes no charges from before its seeds."""
    control._engine = open_ledger(control.config.ledger)
    control._shared = None
    control._recorder = cast(Any, SimpleNamespace(check_soon=lambda: 0.0, runs_of=lambda _: 1, checked_at=0.0, batch=0))
    control._link = cast(Any, SimpleNamespace(push=lambda _: None))
    ledger, coming = [100], [-40]

    def asked(*_: object) -> InitialState:
        said = InitialState(0, [{"spent": sum(ledger)}], {}, [])
        while coming:
            charge = coming.pop()
            ledger.append(charge)
            control._charge([["c", [["b", "", 0, "usd", charge]]]])
        return said

    monkeypatch.setattr(process, "initial_state", asked)
    told = await control._first_snapshot("data-0")
    control._engine.dispose()

    assert told["seeds"] == [{"spent": 60}]


async def test_a_key_that_is_revoked_while_budgets_are_seeded_anew_stays_revoked(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    control._engine = open_ledger(control.config.ledger)
    control._shared = None
    control._recorder = cast(Any, SimpleNamespace(caught_up_at=1.0))
    control._made.settings = RuntimeSettings([{"key_id": "revoked"}], [], [])
    pushed: list[Any] = []
    control._link = cast(Any, SimpleNamespace(push=pushed.append))

    def asked(*question: Any) -> Any:
        control._made.settings = RuntimeSettings([], [], [])
        return initial_state(*question)

    monkeypatch.setattr(process, "initial_state", asked)
    await control._seed_defined(0.0)
    control._engine.dispose()

    assert [snapshot["keys"] for snapshot in pushed] == [[]]


async def test_a_part_that_fails_ends_all(control: Control, ended: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Never on with keys that nobody reads again; the supervisor starts the process anew."""

    async def failing() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(control._made, "watch", failing)
    with pytest.raises(ExceptionGroup) as failure:
        await control.serve()

    assert failure.group_contains(ZeroDivisionError)
    assert ended == ["link", "recorder", "alerts", "ledger"]


@pytest.mark.needs("redis-server")
@pytest.mark.parametrize("left", [1, 0], ids=["a call", "nothing"])
async def test_a_budget_that_is_new_at_a_start_has_what_a_crash_left_in_the_spool(
    control: Control, tmp_path: Path, caplog: pytest.LogCaptureFixture, left: int
) -> None:
    """With Redis nothing is shipped before its epoch is known; by then the budget was defined by the ledger as it was, and the
    log had said that the ledger is another one, as it was empty until then."""
    writer = SpoolWriter(tmp_path / "spool", "gone")
    one = intent(budgets=[], started_at=now_us())
    append(writer, *[one, settle(one, 400, budgets=[], ended_at=now_us())][: 2 * left])
    writer.close()
    control.has_served = True
    expected = {"": 400} if left else {}
    with RedisServer(tmp_path) as server:
        budgets = (Budget(name="new", limit_usd=Decimal(1), window="total"),)
        control.config = replace(control.config, store=server.url, budgets=budgets)
        control.is_spool_empty = False
        serving = asyncio.create_task(control.serve())
        async with asyncio.timeout(60):
            while control._services is None or not control._shared or not control._shared.store.up:
                await asyncio.sleep(0.01)
            store = control._shared.store
            counted: Any = None
            with suppress(TimeoutError):
                async with asyncio.timeout(10):
                    while (counted := await store.counters("usd:0:new")) != (expected, {}):
                        await asyncio.sleep(0.02)
            while control.has_served:
                await asyncio.sleep(0.01)
        control._stop.set()
        await serving

    assert counted == (expected, {})
    assert ("is empty, though calls were served" in caplog.text) == (not left)


async def test_a_reload_during_the_start_is_not_lost(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was: there was no link yet to send the new budgets' beginnings over, and nobody heard of the error."""
    pushed: list[Any] = []
    monkeypatch.setattr(ControlServer, "push", lambda _, snapshot: pushed.append(snapshot))
    control._take(replace(control.config, budgets=(Budget(name="new", limit_usd=Decimal(1), window="day"),)))
    serving = asyncio.create_task(control.serve())
    while not pushed:
        await asyncio.sleep(0.01)
    control._stop.set()
    await serving

    assert "defined" in pushed[0]


async def test_while_records_of_before_are_recorded_the_admin_port_says_so_and_a_stop_ends_it(
    control: Control, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It took connections and answered none, and was killed in the end: nobody could see that a disk was full."""
    is_full = threading.Event()

    def catch_up(recorder: Recorder) -> None:
        recorder.outage.insist(full if is_full.wait(20) else lambda: None)

    def full() -> None:
        raise OperationalError("INSERT", {}, OSError("database or disk is full"))

    monkeypatch.setattr(Recorder, "catch_up", catch_up)
    monkeypatch.setattr(process, "_TICK_S", 0.001)
    monkeypatch.setattr(outage, "_RETRY_S", 0.001)
    serving = asyncio.create_task(control.serve())
    port = control._listener.getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        first = (await client.get("/readyz")).json()["missing"]
        is_full.set()
        while (told := (await client.get("/readyz")).json()["missing"]) == first:
            await asyncio.sleep(0)
    control._stop.set()
    await serving

    assert (first, told) == (["the records of before"], ["the ledger database"])
    assert [record.getMessage().partition(":")[0] for record in caplog.records if record.levelname != "INFO"] == [
        "the ledger database cannot be written",
        "the ledger database is still away",
    ]


async def test_a_ledger_that_does_not_say_what_is_spent_is_asked_again_with_one_line_a_reason(
    control: Control, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There were fifty lines a second."""
    engine = control._engine = open_ledger(control.config.ledger)
    failures = ["disk is full"] * 5 + ["locked"] * 2

    def question() -> str:
        if failures:
            raise OperationalError("INSERT", {}, OSError(failures.pop()))
        return "spent"

    monkeypatch.setattr(process, "_TICK_S", 0.001)
    assert await control._answer_of(question) == "spent"

    engine.dispose()
    assert [record.getMessage().split(": ")[-1] for record in caplog.records] == [
        "locked; it is asked again",
        "disk is full; it is asked again",
    ]


@pytest.mark.parametrize(
    ("on_store_down", "with_call", "waits"),
    [("deny", False, False), ("deny", True, True), ("allow", True, False)],
)
async def test_a_start_without_redis_waits_for_calls_of_before_where_a_budget_denies(
    control: Control, monkeypatch: pytest.MonkeyPatch, on_store_down: str, *, with_call: bool, waits: bool
) -> None:
    """Nothing is shipped while Redis is away. Who refused all calls owes nothing."""
    monkeypatch.setattr(process, "_STORE_WAIT_S", 0.0, raising=False)
    spool = control._data_dir / "spool"
    # Both may begin in one moment: which is the earlier one is what their names say.
    lives = sorted((SpoolWriter(spool, "data-0") for _ in range(2)), key=lambda life: life.run)
    append(lives[0], {"t": "tally", "at": 1, "refusals": [["not_ready", None, 1]], "would_refuse": []})
    if with_call:
        append(lives[0], intent())
    for life in lives:
        life.close()
    budget = {"name": "b", "limit_usd": 1, "window": "day", "on_store_down": on_store_down}
    control.config = read_section(Config, {"budgets": [budget]})
    control._shared = cast(Any, SimpleNamespace(store=SimpleNamespace(up=False)))
    control._recorder = cast(Any, SimpleNamespace(runs_of=lambda _: 2, checked_at=0.0))
    asked = asyncio.create_task(control._first_snapshot("data-0"))
    await asyncio.wait([asked], timeout=0.5 if waits else 20)
    assert asked.done() is not waits
    for path in spool.iterdir():  # shipped
        if path.name.startswith(lives[0].run):
            path.unlink()
    assert "keys" in await asked
