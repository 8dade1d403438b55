"""Two instances with one data directory and one PostgreSQL, of which one records: it is killed under load, and the one that
stood by takes over. Each call that was answered is in the ledger once, and so is each that was cut."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from proxy.ledger.database import connect
from proxy.ledger.schema import entries
from proxy.serve.data_dir import lock_data_dir
from tests.support.gateway import Gateway, server
from tests.support.http_server import listening
from tests.support.postgres import PostgresServer
from tests.support.provider import StatedUsage
from tests.support.waiting import wait_until

KEY = "sk-standby-of-the-tests"
CALLERS = 4


@pytest.fixture
def database() -> Iterator[str]:
    with PostgresServer() as postgres, postgres.new_database() as url:
        yield url


class Callers:
    """Call again as soon as they are answered, each call under a session of its own; `answered` are those with a 200."""

    def __init__(self, url: str) -> None:
        self.answered: list[str] = []
        self._url = url
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        body = {"model": "m", "messages": [{"role": "user", "content": "[10, 0, 5, 0]"}], "max_tokens": 100}
        while not self._stop.is_set():
            session = f"call-{next(self._numbers)}"
            headers = {"authorization": f"Bearer {KEY}", "x-taximeter-session-id": session}
            try:
                status = httpx.post(
                    f"{self._url}/v1/chat/completions", json=body, headers=headers, timeout=30
                ).status_code
            except httpx.TransportError:
                self._stop.wait(0.02)  # killed, or nobody listens yet
                continue
            if status == 200:
                self.answered.append(session)


def test_who_stands_by_takes_over_from_one_that_is_killed(tmp_path: Path, database: str) -> None:
    with listening(StatedUsage, wait_for_requests=False) as port:
        config: dict[str, Any] = {
            "server": server(), "ledger": database, "data_dir": str(tmp_path / "data"),
            "keys": [{"name": "load", "key": KEY}],
            "upstreams": {"u": {"base_url": f"http://127.0.0.1:{port}/v1", "api_key": "sk-up", "provider": "openai"}},
            "models": {"*": {"upstream": "u"}},
            "prices": [{"provider": "openai", "model": "*", "input": "1", "output": "2"}],
            "budgets": [{"name": "all", "limit_usd": 1000, "window": "total"}],
        }  # fmt: skip
        folders = [tmp_path / "first", tmp_path / "second"]
        for folder in folders:
            folder.mkdir()
        first, second = (Gateway(folder, config) for folder in folders)
        try:
            first.up()
            second.start([sys.executable, "-m", "proxy", "serve", "--config", str(second.config_file), "--standby"])
            wait_until("the other stands by", lambda: "standing by" in second.tail(), 30)
            with Callers(first.url) as callers:
                wait_until("calls are recorded", lambda: len(callers.answered) > 50, 30)
                first.kill()
                before = len(callers.answered)
                wait_until("the other serves", lambda: len(callers.answered) > before + 50, 60)
            wait_until("everything is recorded", lambda: set(callers.answered) <= set(recorded(database)), 30)
            counted = recorded(database)
            assert {session: counted[session] for session in callers.answered if counted[session] != 1} == {}
            assert set(counted.values()) == {1}
            assert len(counted) <= len(callers.answered) + CALLERS  # those that the kill cut
            assert second.verified()["ok"]
        finally:
            first.close()
            second.close()


def test_who_stands_by_can_be_stopped(tmp_path: Path) -> None:
    config = {"server": server(), "ledger": f"sqlite:///{tmp_path}/l.db", "data_dir": str(tmp_path / "data")}
    lock = lock_data_dir(tmp_path / "data")
    waiting = Gateway(tmp_path, config)
    waiting.start([sys.executable, "-m", "proxy", "serve", "--config", str(waiting.config_file), "--standby"])
    wait_until("it stands by", lambda: "standing by" in waiting.tail(), 30)
    assert waiting.stop(30) == 0
    os.close(lock)


def recorded(database: str) -> Counter[str]:
    """How many attempts each session has."""
    engine = connect(database)
    with engine.connect() as connection:
        query = sa.select(entries.c.session_id).where(entries.c.kind == "attempt")
        sessions = Counter(connection.execute(query).scalars())
    engine.dispose()
    return sessions
