"""A stop, as clients see it: whoever asks is answered until the last call has ended, and behind that refused at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.waiting import wait_until
from tests.torture.harness import CALLERS, Rig

_HEADERS = {"authorization": f"Bearer {CALLERS[0].key}"}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as made:
        yield made


def ask(rig: Rig, orders: str, client: httpx.Client) -> httpx.Response:
    body = {
        "model": "tm-plain",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": f"hello [[n:{orders};out=5]]"}],
    }
    return client.post(f"{rig.gateway.url}/v1/chat/completions", headers=_HEADERS, json=body, timeout=20)


def test_whoever_asks_while_a_call_is_waited_for_is_told_to_come_again(rig: Rig) -> None:
    """The system went on to accept connections for the supervisor and the control process, who answer nobody there: they
    hung until the end, and were reset."""
    gateway = rig.gateway
    answers = list[httpx.Response]()
    with httpx.Client() as slow, httpx.Client() as kept, httpx.Client() as fresh:
        assert ask(rig, "first", kept).status_code == 200
        in_flight = threading.Thread(target=lambda: answers.append(ask(rig, "slow;delay=2", slow)))
        in_flight.start()
        wait_until("the slow call is at its provider", lambda: "slow" in (rig.folder / "invoice.jsonl").read_text())
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        wait_until("it drains", lambda: fresh.get(f"{gateway.url}/readyz", timeout=5).status_code == 503)

        told = [ask(rig, f"late-{number}", client) for number, client in enumerate((kept, fresh))]

        assert [(answer.status_code, answer.json()["error"]["code"]) for answer in told] == [(503, "not_ready")] * 2
        assert {answer.headers["connection"] for answer in told} == {"close"}
        in_flight.join()
        assert [answer.status_code for answer in answers] == [200]
        assert gateway.process.wait(30) == 0
        with pytest.raises(httpx.ConnectError):
            fresh.get(f"{gateway.url}/readyz")


def named(rig: Rig, name: str) -> list[int]:
    """The pids of its processes of this name."""
    found = []
    for pid in rig.gateway.members():
        with contextlib.suppress(OSError):  # it may have ended
            if Path(f"/proc/{pid}/comm").read_text().startswith(f"taximeter-{name}"):
                found.append(pid)
    return found


def test_a_control_process_that_is_told_to_end_by_itself_is_started_again(rig: Rig) -> None:
    """It went on as if nobody had told it, and ended with the next data plane that died. Calls go on meanwhile."""
    with httpx.Client() as client:
        (before,) = named(rig, "contr")
        os.kill(before, signal.SIGTERM)
        served = 0
        while named(rig, "contr") in ([before], []):
            served += 1
            assert ask(rig, f"meanwhile-{served}", client).status_code == 200

    wait_until("it is there again", rig.gateway.ready)
    assert "the control process ended unexpectedly (exit code 0); it is started again" in rig.gateway.log.read_text()
    assert rig.gateway.stop(60) == 0
    assert list(rig.gateway.spool.glob("*.spool")) == []
