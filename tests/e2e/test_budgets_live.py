"""Budgets that change under way, on a running server: raises in the middle of a session, budgets that a reload brings or
defines anew, restarts. Both stores where both can."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.gateway import ADMIN_KEY
from tests.support.hook import Hook
from tests.support.processes import taximeter
from tests.support.waiting import wait_until
from tests.torture.harness import CALLERS, Rig

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
CHAT: dict[str, Any] = {
    "model": "tm-plain",
    "messages": [{"role": "user", "content": "hello [[n:live;out=5]]"}],
    "max_tokens": 50,
}


@contextmanager
def running(folder: Path, *budgets: dict[str, Any]) -> Iterator[Rig]:
    with Rig(folder, budgets=list(budgets)) as rig:
        yield rig


def ask(rig: Rig, session: str = "s", caller: int = 0) -> httpx.Response:
    headers = {"authorization": f"Bearer {CALLERS[caller].key}", "x-taximeter-session-id": session}
    return httpx.post(f"{rig.gateway.url}/v1/chat/completions", headers=headers, json=CHAT, timeout=20)


def budget(rig: Rig, name: str) -> dict[str, Any]:
    return dict(httpx.get(f"{rig.gateway.admin_url}/api/budgets/{name}", headers=ADMIN).raise_for_status().json())


def until_refused(rig: Rig, **who: Any) -> int:
    for number in range(1000):
        if ask(rig, **who).status_code == 402:
            return number
    raise AssertionError("never refused")


def command(rig: Rig, *arguments: str) -> subprocess.CompletedProcess[str]:
    return taximeter(*arguments, "--config", str(rig.gateway.config_file))


def reload(rig: Rig, budgets: list[dict[str, Any]]) -> None:
    settings = yaml.safe_load(rig.gateway.config_file.read_text())
    rig.gateway.config_file.write_text(yaml.safe_dump(settings | {"budgets": budgets}))
    assert rig.gateway.process is not None
    rig.gateway.process.send_signal(signal.SIGHUP)


SESSIONS = {"name": "sessions", "per": ["session"], "limit_usd": "0.0002", "window": "total", "clamp": False}


def test_a_raise_is_effective_at_once_in_the_middle_of_a_session(tmp_path: Path) -> None:
    with running(tmp_path, SESSIONS) as rig:
        assert until_refused(rig) >= 1
        assert until_refused(rig, session="other") >= 1
        raised = httpx.post(
            f"{rig.gateway.admin_url}/api/budgets/sessions/raises",
            headers=ADMIN,
            json={"group": "s", "by_usd": "0.0002"},
        )
        assert raised.status_code == 201, raised.text
        assert (raised.json()["by_usd"], raised.json()["until"]) == ("0.0002", None)
        assert ask(rig).status_code == 200
        assert ask(rig, session="other").status_code == 402
        groups = {group["group"]: group["limit_usd"] for group in budget(rig, "sessions")["groups"]}
        assert groups == {"s": "0.0004", "other": "0.0002"}
        done = command(rig, "budgets", "raise", "sessions", "--by", "0.001", "--all-groups")
        assert done.returncode == 0, done.stderr
        wait_until("the raise of all groups", lambda: ask(rig, session="other").status_code == 200, 2)
        rig.gateway.stop(30)
        rig.gateway.up()
        assert {group["limit_usd"] for group in budget(rig, "sessions")["groups"]} == {"0.0014", "0.0012"}


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("nothing", {"by_usd": "1"}, 404),
        ("sessions", {"by_usd": "0"}, 400),
        ("sessions", {"by_usd": "-1"}, 400),
        ("sessions", {"by_usd": "1e-10"}, 400),
        ("sessions", {"by_usd": "NaN"}, 400),
        ("sessions", {"by_usd": "1e30"}, 400),
        ("sessions", {"by_usd": "1", "until": "2020-01-01T00:00:00Z"}, 400),
        ("sessions", {"by_usd": "1", "until": "soon"}, 400),
        ("sessions", {"by_usd": "1", "more": 1}, 400),
        ("whole", {"by_usd": "1", "group": "x"}, 400),
    ],
)
def test_a_raise_that_makes_no_sense_is_refused(live: Rig, name: str, body: dict[str, Any], status: int) -> None:
    answer = httpx.post(f"{live.gateway.admin_url}/api/budgets/{name}/raises", headers=ADMIN, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    whole = {"name": "whole", "limit_usd": 5, "window": "day"}
    with running(tmp_path_factory.mktemp("live"), SESSIONS, whole) as rig:
        yield rig


@pytest.mark.parametrize("arguments", [["nothing", "--by", "1"], ["whole", "--by", "much"], ["whole", "--by", "1", "--until", "2020-01-01"]])  # fmt: skip
def test_the_command_says_what_is_wrong(live: Rig, arguments: list[str]) -> None:
    done = command(live, "budgets", "raise", *arguments)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_raise_ends_when_it_was_said_to(tmp_path: Path) -> None:
    with running(tmp_path, {"name": "b", "limit_usd": "1", "window": "hour"}) as rig:
        answer = httpx.post(f"{rig.gateway.admin_url}/api/budgets/b/raises", headers=ADMIN, json={"by_usd": "2"})
        now = budget(rig, "b")
        assert now["limit_usd"] == "3"
        assert answer.json()["until"].startswith(now["window"]["end"][:19])


def test_a_budget_that_a_reload_brings_knows_what_was_spent(tmp_path: Path) -> None:
    first = {"name": "first", "limit_usd": 5, "window": "day"}
    with running(tmp_path, first) as rig:
        for caller in (0, 0, 2):
            assert ask(rig, caller=caller).status_code == 200
        rig.quiet()
        spent = Decimal(budget(rig, "first")["spent_usd"])
        team = {"name": "team", "match": {"team": "payments"}, "limit_usd": 5, "window": "month"}
        each = {"name": "each", "per": ["team"], "limit_usd": 5, "window": "total"}
        reload(rig, [first, team, each])
        wait_until(
            "the new budgets",
            lambda: httpx.get(f"{rig.gateway.admin_url}/api/budgets/each", headers=ADMIN).status_code == 200,
            5,
        )
        wait_until("what they begin with", lambda: Decimal(budget(rig, "each")["spent_usd"]) == spent, 5)
        groups = {group["group"]: Decimal(group["spent_usd"]) for group in budget(rig, "each")["groups"]}
        assert Decimal(budget(rig, "team")["spent_usd"]) == groups["payments"]
        assert groups["payments"] + groups["research"] == spent
        assert ask(rig).status_code == 200
        rig.quiet()
        after = {name: Decimal(budget(rig, name)["spent_usd"]) for name in ("first", "team", "each")}
        assert after["first"] == after["each"] == spent + (after["team"] - groups["payments"])
        rig.gateway.stop(30)
        rig.gateway.up()
        assert {name: Decimal(budget(rig, name)["spent_usd"]) for name in after} == after


def test_a_budget_that_is_defined_anew_begins_with_what_it_now_counts(tmp_path: Path) -> None:
    def named(team: str) -> dict[str, Any]:
        return {"name": "b", "match": {"team": team}, "limit_usd": 5, "window": "total"}

    with running(tmp_path, named("payments")) as rig:
        ask(rig, caller=0)
        ask(rig, caller=0)
        ask(rig, caller=2)
        rig.quiet()
        both = Decimal(budget(rig, "b")["spent_usd"])
        reload(rig, [named("research")])
        wait_until("the new definition", lambda: Decimal(budget(rig, "b")["spent_usd"]) == both / 2, 5)
        reload(rig, [named("payments") | {"limit_usd": "0.000001"}])
        wait_until("the old one, with another limit", lambda: budget(rig, "b")["limit_usd"] == "0.000001", 5)
        wait_until("and what it counted", lambda: Decimal(budget(rig, "b")["spent_usd"]) == both, 5)
        assert ask(rig, caller=0).status_code == 402
        assert ask(rig, caller=2).status_code == 200


def test_a_new_limit_holds_at_once(tmp_path: Path) -> None:
    b = {"name": "b", "limit_usd": 5, "window": "total"}
    with running(tmp_path, b) as rig:
        assert ask(rig).status_code == 200
        reload(rig, [b | {"limit_usd": "0.00000001"}])
        wait_until("the limit", lambda: ask(rig).status_code == 402, 3)
        reload(rig, [b])
        wait_until("the limit as it was", lambda: ask(rig).status_code == 200, 3)
        rig.quiet()
        assert rig.verdict(clean=False).numbers["store_difference"] == 0


def test_a_crossing_reaches_the_webhook_at_the_settlement(tmp_path: Path, hook: tuple[str, type[Hook]]) -> None:
    """Not at the next call: there is none."""
    url, taken = hook
    b = {
        "name": "b",
        "limit_usd": "0.0000033",
        "window": "day",
        "alert_at": [0.5, 1.0],
        "action": "warn",
        "alert_webhook": url,
    }
    with running(tmp_path, b) as rig:
        assert ask(rig).status_code == 200
        seconds = wait_until("the alert", lambda: len(taken.taken) == 2, 5)
        assert [one["event"]["threshold"] for one in taken.taken] == ["0.5", "1"]
        assert seconds < 2
        rig.gateway.stop(30)
        rig.gateway.up()
        ask(rig)
        rig.quiet()
        assert len(taken.taken) == 2
        text = httpx.get(f"{rig.gateway.admin_url}/metrics", headers=ADMIN).text
        assert 'taximeter_alert_events_total{kind="threshold",budget="b"} 2' in text
