"""The API and the pages without a server: FastAPI's test client on a filled ledger, with a data plane that answers from a table."""

from __future__ import annotations

import asyncio
import functools
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.engine import Engine

from pricing.book import Book
from pricing.load import load_book
from proxy.budgets.budget import Budget, compile_budgets
from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.control.api.app import create_app
from proxy.control.auditing import Auditor
from proxy.control.metrics.series import MetricState
from proxy.control.pages.live import LiveZones
from proxy.control.pages.site import add_pages
from proxy.control.state import ControlState
from proxy.ledger import schema
from proxy.ledger.database import open_ledger, writing
from proxy.ledger.planes import raises
from proxy.ledger.planes.snapshot import as_raises

ADMIN_KEY = "the-admin-key"
METRICS_TOKEN = "for-metrics-alone"


RECORDER: dict[str, Any] = {
    "database_down_since": None,
    "database_down_because": "",
    "lag_s": 0.25,
    "unreadable_records": 0,
    "intents_overdue": 0,
    "spool_bytes": 123,
    "in_flight": list,
}


def answers() -> dict[str, Any]:
    """A data plane's, at rest."""
    return {
        "gauges": {"inflight_requests": 3, "store_up": True},
        "standing": [],
        "totals": [],
        "fullest": {"rows": [], "counts": {}},
    }


class Link:
    """A data plane that answers: question -> answer. None: none is there."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] | None = answers()

    @property
    def workers(self) -> list[str]:
        return [] if self.answers is None else ["data-0"]

    async def ask(self, name: str, payload: object = None) -> dict[str, Any]:
        return {} if self.answers is None else {"data-0": self.answers[name]}


@dataclass
class Control:
    """A client with the admin key, and what stands behind the API."""

    client: TestClient
    engine: Engine
    link: Link
    recorder: SimpleNamespace
    refreshed: list[float]
    state: ControlState

    def get(self, path: str, **params: Any) -> Any:
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()


CONFIG: dict[str, Any] = {
    "server": {"admin_key": ADMIN_KEY, "metrics_token": METRICS_TOKEN},
    "upstreams": {"own": {"base_url": "http://127.0.0.1:1/v1", "provider": "vllm"}},
    "capacity": [
        {"name": "pool", "upstreams": ["own"], "usd_per_hour": "2.50", "units": 2, "compare": ["openai/gpt-5-mini"]}
    ],
    "exports": [{"name": "meter", "type": "cloudevents", "url": "http://127.0.0.1:1/events"}],
    "prices": [{"provider": "vllm", "model": "own-model", "input": "0.10"}],
    "keys": [{"name": "configured", "key": "sk-of-the-file", "team": "ops"}],
    "budgets": [
        {"name": "day", "limit_usd": "5", "window": "day"},
        {"name": "teams", "per": ["team"], "limit_tokens": 1000, "window": "total"},
        {"name": "calls", "limit_requests": 7, "window": "hour", "action": "warn"},
    ],
}


@functools.cache
def _book() -> Book:
    book = load_book().with_operator(())
    book.version = "v"
    return book


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, made_up_ledger: Path) -> Iterator[Engine]:
    path = tmp_path_factory.mktemp("api") / "ledger.db"
    shutil.copy(made_up_ledger, path)
    engine = open_ledger(f"sqlite:///{path}")
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The control process's loop: handlers in threads wait for what runs on it."""
    running = asyncio.new_event_loop()
    thread = threading.Thread(target=running.run_forever)
    thread.start()
    yield running
    running.call_soon_threadsafe(running.stop)
    thread.join()
    running.close()


@pytest.fixture(scope="module")
def served(ledger: Engine, loop: asyncio.AbstractEventLoop) -> Iterator[Control]:
    """The application, made once for a module's tests: a fifth of what one of them costs. `control` is what each gets."""
    config = read_section(Config, CONFIG)
    link, refreshed = Link(), list[float]()

    async def refresh() -> None:
        refreshed.append(1.0)

    def budgets() -> tuple[Budget, ...]:
        return compile_budgets(config.budgets, as_raises(raises.in_force(ledger)))

    recorder = SimpleNamespace()
    state = ControlState(
        config=lambda: config, engine=ledger, link=link, metrics=MetricState.load(ledger, "made-up"),  # type: ignore[arg-type]  # as far as it is asked
        recorder=recorder, loop=loop, refresh=refresh, budgets=budgets,  # type: ignore[arg-type]  # as above
        alerts=SimpleNamespace(counts=dict), book=_book(),  # type: ignore[arg-type]  # as above
    )  # fmt: skip
    app = create_app(state)
    add_pages(app, LiveZones(lambda _: [], loop))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Control(client, ledger, link, recorder, refreshed, state)


@pytest.fixture
def control(served: Control) -> Control:
    """As if it had just been made, but for its ledger, in which no budget is raised."""
    with writing(served.engine).begin() as connection:
        connection.execute(sa.delete(schema.raises))
    app: Any = served.client.app
    app.state.control = served.state
    app.state.auditor = Auditor(served.state)
    served.client.cookies.clear()
    served.client.headers["authorization"] = f"Bearer {ADMIN_KEY}"
    served.link.answers = answers()
    served.refreshed.clear()
    vars(served.recorder).clear()
    vars(served.recorder).update(RECORDER)
    return served
