"""Who may ask, what every error looks like, and that health needs no key."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from proxy.control.api.probes import missing
from tests.unit.control.conftest import METRICS_TOKEN, Control

GUARDED = ["/metrics", "/api/spend", "/api/requests", "/api/requests/x", "/api/sessions", "/api/sessions/x", "/api/budgets", "/api/budgets/day", "/api/keys", "/api/openapi.json"]  # fmt: skip


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("sent", ["", "Bearer wrong", "Basic dGhlLWFkbWluLWtleQ=="])
def test_what_is_guarded_wants_the_admin_key(control: Control, path: str, sent: str) -> None:
    answer = control.client.get(path, headers={"authorization": sent})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "admin key" in answer.json()["error"]["message"]


def test_the_metrics_token_is_good_for_the_metrics_alone(control: Control) -> None:
    token = {"authorization": f"Bearer {METRICS_TOKEN}"}

    assert control.client.get("/metrics", headers=token).status_code == 200
    assert control.client.get("/api/spend", headers=token).status_code == 401


def test_health_needs_no_key_and_says_what_is_missing(control: Control) -> None:
    anybody = {"authorization": ""}
    assert control.client.get("/healthz", headers=anybody).json() == {"status": "ok"}
    assert control.client.get("/readyz", headers=anybody).json() == {"status": "ready", "missing": []}

    control.link.answers, control.recorder.database_down_since = None, 1.0

    answer = control.client.get("/readyz", headers=anybody)
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "missing": ["the ledger database", "a data plane"]}


@pytest.mark.parametrize(
    ("is_up", "wanting"), [(True, ["a data plane"]), (False, ["a data plane", "the shared budget store"])]
)
def test_a_data_plane_that_waits_for_the_shared_store_is_missing_and_so_is_the_store(
    control: Control, monkeypatch: pytest.MonkeyPatch, *, is_up: bool, wanting: list[str]
) -> None:
    """It has connected, and refuses calls."""
    state = SimpleNamespace(
        recorder=control.recorder,
        link=control.link,
        expected_workers=1,
        shared=SimpleNamespace(store=SimpleNamespace(up=is_up)),
    )
    answers = {"data-0": {"ready": False}}

    async def ask(_: str) -> dict[str, Any]:
        return answers

    monkeypatch.setattr(control.link, "ask", ask)

    assert asyncio.run(missing(cast(Any, state))) == wanting
    answers["data-0"]["ready"] = True
    assert asyncio.run(missing(cast(Any, state))) == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("PUT", "/api/keys", 405),
        ("GET", "/api/requests/none", 404),
        ("GET", "/api/sessions/none", 404),
        ("GET", "/api/budgets/none", 404),
        ("DELETE", "/api/keys/none", 404),
        ("GET", "/api/requests?limit=0", 400),
        ("GET", "/api/requests?limit=1001", 400),
        ("GET", "/api/requests?colour=red", 400),
        ("GET", "/api/spend?since=soon", 400),
        ("GET", "/api/spend?by=weather", 400),
        ("GET", "/api/spend?by=team,team", 400),
        ("GET", "/api/spend?by=" + ",".join(f"label.l{n}" for n in range(99)), 400),
        ("GET", "/api/sessions?next=nowhere", 400),
        ("GET", "/api/sessions?order=random", 400),
        ("POST", "/api/keys", 400),
        ("POST", "/api/budgets/day/raises", 400),
    ],
)
def test_every_error_is_json_with_a_message(control: Control, method: str, path: str, status: int) -> None:
    answer = control.client.request(method, path)

    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_without_a_data_plane_what_it_alone_knows_is_503(control: Control) -> None:
    control.link.answers = None

    answer = control.client.get("/api/budgets")

    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "No data plane answers: it is starting, or busy."


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/models", "/chat/completions"])
def test_a_call_to_a_model_is_told_the_other_port(control: Control, path: str) -> None:
    answer = control.client.post(path, json={})

    assert answer.status_code == 404
    assert "port 4100" in answer.json()["error"]["message"]
    assert "port" not in control.client.get("/api/none").json()["error"]["message"]
