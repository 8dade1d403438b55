"""Exports of a running `taximeter serve`: killed in the middle, with its receiver away, nothing is lost, and repeats are told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.export_receiver import KEY
from tests.support.exported import Told, receiver
from tests.support.gateway import ADMIN_KEY, Gateway, gateway, server
from tests.support.http_server import listening
from tests.support.provider import StatedUsage
from tests.support.waiting import eventually, wait_until

CLIENT_KEY = "sk-of-a-client-0000000001"


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with receiver(tmp_path) as made:
        yield made


@pytest.fixture
def rig(tmp_path: Path, told: Told) -> Iterator[Gateway]:
    with listening(StatedUsage) as port:
        config = {
            "server": server(),
            "upstreams": {"openai": {"base_url": f"http://127.0.0.1:{port}/v1", "api_key": "sk-upstream"}},
            "models": {"gpt-5-mini": {"upstream": "openai"}},
            "keys": [{"name": "k", "key": CLIENT_KEY, "customer": "acme"}],
            "exports": [
                {"name": "meter", "type": "cloudevents", "url": f"{told.url}/api/v1/events", "api_key": KEY},
                {"name": "traces", "type": "otlp", "url": told.url, "api_key": KEY, "metrics": False},
            ],
            "ledger": f"sqlite:///{tmp_path}/ledger.db",
            "data_dir": str(tmp_path / "data"),
        }
        with gateway(tmp_path, config) as running:
            yield running


def call(rig: Gateway, number: int, **headers: str) -> None:
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": json.dumps([100 + number, 0, 10, 0])}]}
    answer = httpx.post(
        f"{rig.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {CLIENT_KEY}", **headers}
    )
    assert answer.status_code == 200


def ledger_ids(rig: Gateway) -> list[str]:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    answer = (
        httpx.get(f"{rig.admin_url}/api/requests", params={"limit": "1000"}, headers=headers).raise_for_status().json()
    )
    return sorted(item["id"] for item in answer["items"])


def exported(told: Told) -> Counter[str]:
    return Counter(str(event["id"]) for event in told.taken() if "specversion" in event)


def test_killed_in_the_middle_of_an_export_nothing_is_lost(rig: Gateway, told: Told) -> None:
    """The receiver has events, its answer never arrives: they come once more, under the same ids."""
    told.plan(*[{"status": 200, "hold": True}] * 2)  # one for each sink
    for number in range(5):
        call(rig, number)
    eventually(lambda: exported(told), lambda counted: len(counted) > 0)
    call(rig, 5)
    rig.kill()
    told.plan()
    rig.up()
    call(rig, 6)
    wanted = eventually(lambda: ledger_ids(rig), lambda found: len(found) == 7)
    counted: Any = eventually(lambda: exported(told), lambda found: len(found) == 7, 20)
    assert sorted(counted) == wanted
    assert max(counted.values()) == 2  # what was taken and not acknowledged


def test_a_receiver_that_was_away_gets_everything(rig: Gateway, told: Told) -> None:
    told.plan({"status": 503}, {"status": 503}, {"status": 429, "headers": {"retry_after": "1"}})
    for number in range(4):
        call(rig, number)
    wait_until("all are exported", lambda: len(exported(told)) == 4, 30)
    assert 503 in told.statuses()
    assert set(exported(told).values()) == {1}
    assert {event["subject"] for event in told.taken() if "specversion" in event} == {"acme"}


def test_a_call_is_a_span_under_its_callers_trace(rig: Gateway, told: Told) -> None:
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    call(rig, 1, traceparent=f"00-{trace}-{parent}-01")
    call(rig, 2, traceparent="nonsense")
    spans = eventually(lambda: [event for event in told.taken() if "trace" in event], lambda found: len(found) == 2)
    by_input = {span["attributes"]["gen_ai.usage.input_tokens"]: span for span in spans}
    assert (by_input[101]["trace"], by_input[101]["parent"]) == (trace, parent)
    assert by_input[102]["parent"] == ""
    assert by_input[101]["attributes"]["taximeter.customer"] == "acme"
