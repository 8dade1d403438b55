"""Calls that are served while the control process has not opened the ledger yet: none is lost, none is counted twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway import ADMIN_KEY, Gateway, server
from tests.support.http_server import listening
from tests.support.processes import get
from tests.support.provider import StatedUsage
from tests.support.waiting import wait_until

KEY = "sk-early-calls-of-the-tests-0123456789"
COST = Decimal("0.00006")  # 10 tokens at 1 USD a million, 5 at 10
LIMIT = Decimal("0.0009")
CALL = {"model": "m", "messages": [{"role": "user", "content": "[10, 0, 5, 0]"}], "max_tokens": 5}


def config_in(folder: Path, port: int) -> dict[str, Any]:
    return {
        "server": server(),
        "upstreams": {"up": {"base_url": f"http://127.0.0.1:{port}/v1", "provider": "p"}},
        "models": {"m": {"upstream": "up"}},
        "prices": [{"provider": "p", "model": "m", "input": "1", "output": "10"}],
        "keys": [{"name": "k", "key": KEY}],
        "budgets": [{"name": "b", "limit_usd": str(LIMIT), "window": "total"}],
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    }


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with listening(StatedUsage) as port:
        made = Gateway(tmp_path, config_in(tmp_path, port))
        yield made
        made.close()


def start(gateway: Gateway) -> None:
    """Until calls are answered, whatever the control process is at."""
    gateway.start([sys.executable, "-m", "proxy", "serve", "--config", str(gateway.config_file)])
    wait_until("calls are served", lambda: get(f"{gateway.url}/readyz")[0] == 200, 60)


def ask(gateway: Gateway) -> int:
    headers = {"authorization": f"Bearer {KEY}"}
    return httpx.post(f"{gateway.url}/v1/chat/completions", headers=headers, json=CALL, timeout=20).status_code


def told(gateway: Gateway, session: str) -> Decimal:
    """What the session has cost, with one more call."""
    headers = {"authorization": f"Bearer {KEY}", "x-taximeter-session-id": session}
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", headers=headers, json=CALL, timeout=20).raise_for_status()
    return Decimal(answer.headers["x-taximeter-session-cost-usd"])


def until_refused(gateway: Gateway) -> int:
    for number in range(100):
        if (status := ask(gateway)) != 200:
            assert status == 402
            return number
    raise AssertionError("never refused")


def spent(gateway: Gateway) -> Decimal:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    answer = httpx.get(f"{gateway.admin_url}/api/budgets/b", headers=headers, timeout=20).raise_for_status().json()
    return Decimal(str(answer["spent_usd"]))


def recorded(gateway: Gateway) -> int:
    with closing(sqlite3.connect(gateway.ledger.removeprefix("sqlite:///"))) as database:
        (count,) = database.execute("SELECT count(*) FROM entries WHERE status = 'settled'").fetchone()
    return int(count)


@pytest.mark.parametrize("ends", ["the ledger opens", "all is killed"])
def test_calls_before_the_ledger_is_open_are_counted_once(gateway: Gateway, ends: str) -> None:
    gateway.up()
    assert [ask(gateway) for _ in range(3)] == [200] * 3
    assert gateway.stop(30) == 0
    with closing(sqlite3.connect(gateway.ledger.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # so that the recorder cannot write what is served now
        start(gateway)
        served = 3 + until_refused(gateway)
        assert recorded(gateway) == 3 < served
        if ends == "all is killed":
            gateway.kill()
        other.execute("ROLLBACK")
    if ends == "all is killed":
        gateway.up()
    wait_until("all is recorded", lambda: recorded(gateway) == served, 60)
    wait_until("both planes are ready", gateway.ready, 60)

    assert spent(gateway) == COST * served
    assert until_refused(gateway) == 0
    assert gateway.verified()["ok"]


def test_a_first_start_serves_before_there_is_a_table(gateway: Gateway) -> None:
    start(gateway)
    served = until_refused(gateway)
    wait_until("both planes are ready", gateway.ready, 60)
    wait_until("all is recorded", lambda: recorded(gateway) == served, 60)

    assert spent(gateway) == COST * served
    assert until_refused(gateway) == 0
    assert gateway.verified()["ok"]


def test_a_session_goes_on_while_somebody_has_locked_the_ledger(gateway: Gateway) -> None:
    """It can be read, and where a session stands is asked for at its first call. It began anew after five seconds."""
    gateway.up()
    assert told(gateway, "s") == COST
    assert gateway.stop(30) == 0
    with closing(sqlite3.connect(gateway.ledger.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        start(gateway)
        assert told(gateway, "s") == 2 * COST
        other.execute("ROLLBACK")


def test_refused_calls_are_told_while_somebody_has_locked_the_ledger(gateway: Gateway) -> None:
    """Whose agent stopped finds out why. The log had it once the ledger was open."""
    gateway.up()
    until_refused(gateway)
    assert gateway.stop(30) == 0
    before = gateway.log.stat().st_size
    with closing(sqlite3.connect(gateway.ledger.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        start(gateway)
        assert until_refused(gateway) == 0
        told = "a call was refused: budget_exceeded, budget b"
        wait_until("it is told", lambda: told in gateway.log.read_text()[before:], 20)
        other.execute("ROLLBACK")


def test_a_ledger_that_knows_nothing_of_what_was_served_is_said(gateway: Gateway) -> None:
    """Another one, or a new file in its place: every budget began at 0, and nothing told why."""
    gateway.up()
    assert ask(gateway) == 200
    assert gateway.stop(30) == 0
    gateway.up()
    assert gateway.stop(30) == 0
    ledger = Path(gateway.ledger.removeprefix("sqlite:///"))
    said = f"ledger: {gateway.ledger} is empty, though calls were served out of {gateway.spool.parent} before"
    assert said not in gateway.log.read_text()
    ledger.rename(ledger.with_suffix(".away"))
    gateway.up()

    assert gateway.log.read_text().count(said) == 1


def test_what_is_kept_for_a_ledger_that_lacks_it_is_counted_before_a_first_call(gateway: Gateway) -> None:
    """As a server's ledger leaves it, in whose place there is a new file."""
    gateway.up()
    assert [ask(gateway) for _ in range(3)] == [200] * 3
    gateway.kill()
    for left in gateway.spool.iterdir():
        left.rename(left.with_suffix(".shipped")) if left.suffix == ".spool" else left.unlink()
    for file in Path(gateway.ledger.removeprefix("sqlite:///")).parent.glob("ledger.db*"):
        file.unlink()
    start(gateway)
    served = 3 + until_refused(gateway)
    wait_until("both planes are ready", gateway.ready, 60)
    wait_until("all is recorded", lambda: recorded(gateway) == served, 60)

    assert spent(gateway) == COST * served <= LIMIT


def test_a_signal_to_all_processes_at_once_is_a_clean_stop_too(gateway: Gateway) -> None:
    """As systemd sends it where it is not told otherwise. The control process ended first, and what data planes wrote while they
    drained waited for the next start."""
    gateway.up()
    assert ask(gateway) == 200
    slow = CALL | {"messages": [{"role": "user", "content": "[10, 0, 5, 2]"}]}
    headers = {"authorization": f"Bearer {KEY}"}
    with ThreadPoolExecutor() as pool:
        call = pool.submit(httpx.post, f"{gateway.url}/v1/chat/completions", headers=headers, json=slow, timeout=20)
        in_flight = "taximeter_inflight_requests 1"
        wait_until("it is in flight", lambda: in_flight in get(f"{gateway.admin_url}/metrics", ADMIN_KEY)[1])
        assert gateway.process is not None
        for pid in gateway.members():
            os.kill(pid, signal.SIGTERM)
        assert gateway.process.wait(60) == 0

    assert call.result().status_code == 200
    assert list(gateway.spool.glob("*.spool")) == []
    assert recorded(gateway) == 2
