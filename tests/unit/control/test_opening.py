"""A ledger that is away, or takes nothing, is waited for at the start, and whoever asks is told."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from proxy.config.server import Server
from proxy.control import opening
from proxy.control.away import LEDGER, answering_what_is_missing
from proxy.control.opening import opened

Opening = Callable[[], Coroutine[None, None, Engine | None]]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def stop() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def open_it(tmp_path: Path, listener: socket.socket, stop: asyncio.Event, monkeypatch: pytest.MonkeyPatch) -> Opening:
    """Open the ledger in `tmp_path`, without a pause between tries."""
    monkeypatch.setattr(opening, "_RETRY_S", 0.001)
    meanwhile = answering_what_is_missing(listener, Server(), lambda: LEDGER)
    return lambda: opened(f"sqlite:///{tmp_path}/ledger.db", "here", tmp_path, lambda _: None, meanwhile, stop)


async def test_a_database_that_comes_later_is_waited_for(
    open_it: Opening, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One sentence while it is away, one when it is there; never a traceback."""
    away = [OperationalError("SELECT 1", {}, OSError("connection refused")) for _ in range(3)]
    really_open = opening.open_ledger

    def open_ledger(url: str) -> Engine:
        if away:
            raise away.pop()
        return really_open(url)

    monkeypatch.setattr(opening, "open_ledger", open_ledger)
    with caplog.at_level("WARNING"):
        engine = await open_it()

    assert engine is not None
    engine.dispose()
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        f"ledger: cannot be opened: {engine.url.database}: connection refused",
        "ledger: is open now",
    ]
    assert all(record.exc_info is None for record in caplog.records)


async def test_the_admin_port_says_that_the_database_is_waited_for(
    open_it: Opening, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took connections and answered none of them."""
    really_open, is_there = opening.open_ledger, threading.Event()

    def open_ledger(url: str) -> Engine:
        if not is_there.is_set():
            raise OSError(errno.ECONNREFUSED, "connection refused")
        return really_open(url)

    monkeypatch.setattr(opening, "open_ledger", open_ledger)
    beginning = asyncio.create_task(open_it())
    port = listener.getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        told = {path: await client.get(path) for path in ("/readyz", "/healthz", "/metrics")}
    is_there.set()
    engine = await beginning

    assert engine is not None
    engine.dispose()
    assert {path: answer.status_code for path, answer in told.items()} == {
        "/readyz": 503,
        "/healthz": 200,
        "/metrics": 503,
    }
    assert told["/readyz"].json() == {"status": "not ready", "missing": ["the ledger database"]}
    assert listener.fileno() >= 0  # for the server that comes now


async def test_who_waits_for_a_database_can_be_stopped(
    open_it: Opening, stop: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_ledger(url: str) -> Engine:
        stop.set()
        raise OSError("away")

    monkeypatch.setattr(opening, "open_ledger", open_ledger)

    assert await open_it() is None


async def test_a_ledger_that_can_be_read_alone_is_waited_for(
    open_it: Opening, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It opened; the first thing written to it ended the process, with a traceback, again and again."""
    is_read_only = [True, True]
    adopt = opening.instances.adopt

    def adopting(engine: Engine, instance: str, data_dir: Path) -> None:
        if is_read_only:
            is_read_only.pop()
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA query_only = on")
                connection.exec_driver_sql("DELETE FROM entries")
        adopt(engine, instance, data_dir)

    monkeypatch.setattr(opening.instances, "adopt", adopting)
    with caplog.at_level("WARNING"):
        engine = await open_it()

    assert engine is not None
    engine.dispose()
    assert [record.getMessage().rpartition("ledger.db: ")[2].partition(";")[0] for record in caplog.records] == [
        "attempt to write a readonly database",
        "ledger: is open now",
    ]
