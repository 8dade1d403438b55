"""A disk that fills while it serves: whoever runs it is told when that begins and when it ends, and nothing is forgotten.

The kernel refuses the data plane's writes by a bound on its files (`tests/torture/disks.py` fills a real disk).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway import ADMIN_KEY
from tests.support.waiting import wait_until
from tests.torture.disks import Limited
from tests.torture.harness import CALLERS, Rig

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, changes={"log": {"sample": 0}}) as made:
        yield made


def ask(rig: Rig) -> httpx.Response:
    body = {
        "model": "tm-plain", "max_tokens": 50, "messages": [{"role": "user", "content": "hello [[n:disk;out=5]]"}],
    }  # fmt: skip
    headers = {"authorization": f"Bearer {CALLERS[0].key}"}
    return httpx.post(f"{rig.gateway.url}/v1/chat/completions", headers=headers, json=body, timeout=20)


def status(url: str) -> int:
    return httpx.get(f"{url}/readyz", timeout=20).status_code


def metric(rig: Rig, name: str) -> str:
    text = httpx.get(f"{rig.gateway.admin_url}/metrics", headers=ADMIN, timeout=20).text
    found = re.search(rf"^taximeter_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return found[1] if found else ""


def said(rig: Rig, logger: str) -> list[Any]:
    lines = [json.loads(line) for line in rig.gateway.log.read_text().splitlines() if line.startswith("{")]
    return [line["message"] for line in lines if line["logger"] == logger]


def test_a_disk_that_fills_is_told_and_so_is_its_end(rig: Rig) -> None:
    """There was a line about lost counts each second, everything said that it was well, and refusals were forgotten."""
    gateway = rig.gateway
    for _ in range(20):
        assert ask(rig).status_code == 200
    assert metric(rig, "spool_writable") == "1"

    disk = Limited(max(segment.stat().st_size for segment in gateway.spool.glob("data-*.spool")))
    assert gateway.log.stat().st_size < disk.most_bytes / 2
    disk.fill(rig)
    refused = [ask(rig) for _ in range(3)]
    wait_until("the data plane is not ready", lambda: status(gateway.url) == 503)

    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in refused} == {(503, "ledger_unavailable")}
    ready = httpx.get(f"{gateway.admin_url}/readyz", timeout=20)
    assert (ready.status_code, ready.json()["missing"]) == (503, ["room for the spool"])
    assert metric(rig, "spool_writable") == "0"
    assert "EFBIG" in httpx.get(f"{gateway.admin_url}/health", headers=ADMIN, timeout=20).text
    begun = said(rig, "taximeter.spool")
    assert len(begun) == 1
    assert re.fullmatch(
        rf"{gateway.spool} cannot be written: EFBIG: .*; calls are refused .*503 ledger_unavailable.*", begun[0]
    )

    disk.free(rig)
    wait_until("the data plane is ready again, unasked", lambda: status(gateway.url) == 200)

    assert status(gateway.admin_url) == 200
    assert ask(rig).status_code == 200
    assert len(said(rig, "taximeter.spool")) == 2
    assert re.fullmatch(rf"{gateway.spool} takes records again, after \d+ s", said(rig, "taximeter.spool")[1])
    counted = 'refusals_total{reason="ledger_unavailable",budget=""}'
    wait_until("the refusals are counted", lambda: metric(rig, counted) == "3")
    told = [
        re.match(r"(\d+|a) calls? w.* refused: ledger_unavailable", line) for line in said(rig, "taximeter.refused")
    ]
    assert sum(1 if line[1] == "a" else int(line[1]) for line in told if line) == 3
