"""The front door says what the API says, whoever asks; and the API is made once, when somebody asks for more."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import ASGITransport, AsyncClient
from sqlalchemy.exc import OperationalError
from starlette.responses import Response

from proxy.control.api import front, probes
from proxy.control.api.front import Front
from proxy.control.state import Unavailable
from proxy.processes.not_installed import require
from tests.unit.control.conftest import ADMIN_KEY, METRICS_TOKEN, Control

PATHS = ["/healthz", "/readyz?x=1", "/metrics", "/metrics?name=a", "/healthz/", "/Metrics"]
HEADERS = {
    "nothing": {},
    "the admin key": {"authorization": f"Bearer {ADMIN_KEY}"},
    "the metrics token": {"authorization": f"bearer  {METRICS_TOKEN}"},
    "another key": {"authorization": "Bearer wrong"},
    "OpenMetrics": {
        "authorization": f"Bearer {METRICS_TOKEN}", "accept": "application/openmetrics-text;version=1.0.0,text/plain",
    },
}  # fmt: skip


class Door:
    """A front door as uvicorn has it, which tells it nothing of a lifespan."""

    def __init__(self, control: Control) -> None:
        app: Any = control.client.app
        self.front = Front(app.state.control)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self.front(scope, receive, send)
            return
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})


@pytest.fixture
def door(control: Control, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The same control plane, by its front door."""
    monkeypatch.setattr(Front, "_make", lambda _: control.client.app)
    with TestClient(Door(control), raise_server_exceptions=False) as client:
        yield client


def told(answer: Any) -> tuple[int, dict[str, str], bytes]:
    return answer.status_code, dict(answer.headers), answer.content


@pytest.mark.long
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", PATHS)
def test_it_says_what_the_api_says(control: Control, door: TestClient, path: str, method: str) -> None:
    del control.client.headers["authorization"]
    for away in (False, True):
        if away:
            control.link.answers, control.recorder.database_down_since = None, 1.0
        for headers in HEADERS.values():
            through_the_api = control.client.request(method, path, headers=headers)
            assert told(door.request(method, path, headers=headers)) == told(through_the_api)


@pytest.mark.parametrize("error", [Unavailable("A data plane does not answer."), OperationalError("", {}, Exception())])
def test_what_is_away_is_told_alike(
    control: Control, door: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(_: object) -> None:
        raise error

    monkeypatch.setattr(probes, "gauges", fails)
    sent = {"authorization": f"Bearer {ADMIN_KEY}"}

    answer = door.get("/metrics", headers=sent)

    assert answer.status_code == 503
    assert told(answer) == told(control.client.get("/metrics", headers=sent))


def test_scrapes_that_wait_leave_the_control_process_its_threads(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    state: Any = control.client.app.state.control  # type: ignore[attr-defined]
    go_on = threading.Event()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        waits = asyncio.Event()

        def scraped(*_: object) -> Response:
            loop.call_soon_threadsafe(waits.set)
            assert go_on.wait(20)
            return Response()

        monkeypatch.setattr(front, "scraped", scraped)
        async with AsyncClient(transport=ASGITransport(Front(state)), base_url="http://127.0.0.1") as client:
            scrape = asyncio.create_task(client.get("/metrics", headers={"authorization": f"Bearer {ADMIN_KEY}"}))
            try:
                await asyncio.wait_for(waits.wait(), 20)
                await asyncio.wait_for(asyncio.to_thread(int), 5)  # as a data plane's question to the ledger
            finally:
                go_on.set()
            assert (await scrape).status_code == 200

    asyncio.run(serve())


def test_the_api_is_made_once_for_all_who_ask_meanwhile(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    app: Any = control.client.app
    began, go_on, made = threading.Event(), threading.Event(), []

    def make(_: Front) -> FastAPI:
        made.append(1)
        began.set()
        assert go_on.wait(20)
        return app

    monkeypatch.setattr(Front, "_make", make)
    sent = {"authorization": f"Bearer {ADMIN_KEY}"}
    with TestClient(Door(control)) as client, ThreadPoolExecutor(3) as askers:
        asked = [askers.submit(client.get, "/api/keys", headers=sent) for _ in range(2)]
        assert began.wait(20)
        assert client.get("/healthz").status_code == 200  # who makes it holds up nobody
        go_on.set()
        assert [each.result(20).status_code for each in asked] == [200, 200]
        assert client.get("/api/keys", headers=sent).status_code == 200
    assert made == [1]


def test_an_api_that_could_not_be_made_is_tried_again(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    app: Any = control.client.app
    answers: list[Any] = [MemoryError(), app]

    def make(_: Front) -> FastAPI:
        answer: FastAPI | Exception = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(Front, "_make", make)
    with TestClient(Door(control), raise_server_exceptions=False) as client:
        assert client.get("/sign-in").status_code == 500
        assert client.get("/sign-in").status_code == 200


# In the order in which a process comes to need them: what the first must not import, the next may not have from it.
IMPORTED = {
    "proxy.control.process": {"proxy.control.services", "starlette", "proxy.reports", "proxy.exports"},
    "proxy.control.services": {"starlette", "proxy.control.api.front", "proxy.control.metrics.gauges"},
    "proxy.control.api.front": {"fastapi", "jinja2", "proxy.control.pages.site"},
}


@pytest.mark.long
def test_a_process_imports_what_it_needs_when_it_needs_it() -> None:
    """The API and the pages once somebody asks, and what is beside the recorder once calls are served."""
    code = (
        f"import importlib, sys\nfor name, heavy in {IMPORTED}.items():\n    importlib.import_module(name)\n"
        "    if found := heavy & set(sys.modules):\n        sys.exit(f'{name} imports {found}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_imported_later_has_to_be_installed_at_once() -> None:
    require("jinja2", "fastapi")
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found") as raised:
        require("jinja2", "nowhere_to_be_found")
    assert raised.value.name == "nowhere_to_be_found"


def test_an_api_that_is_made_with_another_version_s_files_is_told(
    control: Control, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr("proxy.processes.installed._COMPARED", tmp_path)
    Door(control).front._make()

    assert "another version of Taximeter has been installed since this one was started; start it again." in caplog.text
