"""A batch in a body that is larger than what is held: passed on line by line, and made only when all of it is reserved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import httpx
import pytest

from tests.support.gateway import server
from tests.support.jobs_rig import KEY, OTHER_KEY, POOR_KEY, JobsRig, running
from tests.support.waiting import eventually

LONG = "long " * 400


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsRig]:
    with running(tmp_path_factory.mktemp("passed"), server=server(max_body_mb=0.05)) as made:
        yield made


def messages(rig: JobsRig, key: str = KEY, session: str = "") -> anthropic.Anthropic:
    headers = {"x-taximeter-session-id": session} if session else {}
    return anthropic.Anthropic(base_url=rig.url, api_key=key, default_headers=headers, max_retries=0)


def asked(number: int, text: str, **fields: Any) -> Any:
    message = {"role": "user", "content": f"{text} {LONG}"}
    params = {"model": "claude-haiku-4-5", "max_tokens": 60, "messages": [message]} | fields
    return {"custom_id": f"c{number}", "params": params}


def test_a_large_batch_costs_the_lines_that_succeeded(rig: JobsRig) -> None:
    client = messages(rig, session="l-1")
    lines = [asked(n, f"nonce=l1 after=0.3 in={1200 + n} out={n % 50}") for n in range(60)]  # 120 kB
    made = client.messages.batches.create(requests=[*lines, asked(999, "line=failed")])
    done = eventually(lambda: client.messages.batches.retrieve(made.id), lambda one: one.processing_status == "ended")
    assert done.request_counts.succeeded == 60
    (entry,) = rig.settled("l-1")
    assert Decimal(entry["cost_usd"]) == rig.billed()["l1"] > 0
    assert Decimal(entry["reserved_usd"]) > Decimal(entry["cost_usd"])
    assert (entry["operation"], entry["model"]) == ("batch", "claude-haiku-4-5")
    with pytest.raises(anthropic.NotFoundError):
        messages(rig, OTHER_KEY).messages.batches.retrieve(made.id)


def test_a_large_batch_that_a_budget_does_not_afford_is_never_whole(rig: JobsRig) -> None:
    with pytest.raises(anthropic.APIStatusError) as refused:
        messages(rig, POOR_KEY, "l-poor").messages.batches.create(
            requests=[asked(n, "nonce=lpoor in=9 out=9", max_tokens=60_000) for n in range(40)]
        )
    assert (refused.value.status_code, refused.value.response.json()["error"]["type"]) == (402, "billing_error")
    assert "lpoor" not in rig.billed()
    assert rig.entries(session="l-poor") == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (lambda lines: b'{"requests":[' + b",".join(lines), 400),
        (lambda lines: b'{"requests":[' + b",".join(lines) + b"],}", 400),
        (lambda lines: b'{"requests":[' + b",".join(lines) + b'],"model":"x"}', 400),
        (lambda lines: b'{"model":"x","requests":[' + b",".join(lines) + b"]}", 400),
        (lambda lines: b'{"requests":[' + b",".join([*lines, b'{"params":{"a":NaN}}']) + b"]}", 400),
        (lambda lines: b'{"requests":[' + b",".join([*lines, b'{"custom_id":"x"}']) + b"]}", 400),
        (lambda lines: b'{"requests":[' + b",".join([*lines, lines[0].replace(b"claude-haiku-4-5", b"nobody")]) + b"]}", 404),
        (lambda lines: b'{"requests":[' + b",".join([lines[0].replace(b"claude-haiku-4-5", b"nobody"), *lines]) + b"]}", 404),
        (lambda lines: b'{"requests":[' + b",".join([*lines, lines[0][:-60] + b"y" * 60_000]) + b"]}", 400),
    ],
)  # fmt: skip
def test_what_cannot_be_read_to_its_end_is_refused_and_made_nowhere(rig: JobsRig, body: Any, status: int) -> None:
    lines = [json.dumps(asked(n, "nonce=lbad")).encode() for n in range(30)]
    headers = {"x-api-key": KEY, "content-type": "application/json", "x-taximeter-session-id": "l-bad"}
    answer = httpx.post(f"{rig.url}/v1/messages/batches", content=body(lines), headers=headers, timeout=60)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert "lbad" not in rig.billed()
    assert rig.entries(session="l-bad") == []


def test_nothing_differs_when_all_have_ended(rig: JobsRig) -> None:
    assert rig.gateway.verified()["first_difference"] is None
