"""A key that was made with a budget and a rate: held on a running server, in memory and shared by two workers, through a raise,
a restart and a rotation; other keys are free."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.test_budgets_live import ADMIN, CHAT, command
from tests.support.redis import RedisServer
from tests.support.waiting import wait_until
from tests.torture.harness import Rig

LIMIT = Decimal("0.0002")


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.needs("redis-server"))])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with contextlib.ExitStack() as stack:
        changes: dict[str, Any] = {}
        options: tuple[str, ...] = ()
        if request.param == "redis":
            (tmp_path / "redis").mkdir()
            changes = {"store": stack.enter_context(RedisServer(tmp_path / "redis")).url}
            options = ("--workers", "2")
        yield stack.enter_context(Rig(tmp_path / "rig", budgets=[], changes=changes, options=options))


def made(rig: Rig, name: str, *limits: str) -> str:
    """The secret, once every worker knows it."""
    done = command(rig, "keys", "create", name, *limits)
    assert done.returncode == 0, done.stderr
    secret = done.stdout.strip()
    models = f"{rig.gateway.url}/v1/models"

    def known() -> bool:  # whichever worker answers
        return all(httpx.get(models, headers=bearer(secret)).status_code == 200 for _ in range(8))

    wait_until("the key is known", known, 10)
    return secret


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def ask(rig: Rig, secret: str) -> httpx.Response:
    return httpx.post(f"{rig.gateway.url}/v1/chat/completions", headers=bearer(secret), json=CHAT, timeout=20)


def group(rig: Rig, budget: str, key: str) -> dict[str, Any]:
    answer = httpx.get(f"{rig.gateway.admin_url}/api/budgets/{budget}", headers=ADMIN).raise_for_status().json()
    return next(group for group in answer["groups"] if group["group"] == key)


def spent_until_refused(rig: Rig, secret: str) -> Decimal:
    """What its calls cost, many at once, until each is refused."""
    total = Decimal()
    with ThreadPoolExecutor(8) as pool:
        while True:
            answers = list(pool.map(lambda _: ask(rig, secret), range(8)))
            assert not [answer.text for answer in answers if answer.status_code not in (200, 402, 429, 503)]
            total += sum(
                Decimal(answer.headers["x-taximeter-cost-usd"]) for answer in answers if answer.status_code == 200
            )
            if all(answer.status_code == 402 for answer in answers):
                return total


def test_a_keys_budget_is_held_like_any_other(rig: Rig) -> None:
    secret = made(rig, "limited", "--budget", str(LIMIT), "--per", "month")
    other = httpx.post(f"{rig.gateway.admin_url}/api/keys", headers=ADMIN, json={"name": "free"}).json()["key"]
    total = spent_until_refused(rig, secret)
    assert LIMIT / 2 < total <= LIMIT
    assert ask(rig, other).status_code == 200
    assert ask(rig, secret).json()["error"]["budget"]["name"] == "key:month"
    assert Decimal(group(rig, "key:month", "limited")["spent_usd"]) == total
    assert Decimal(group(rig, "key:month", "limited")["limit_usd"]) == LIMIT

    rig.gateway.stop(30)
    rig.gateway.up(*rig.options)
    assert ask(rig, secret).status_code == 402
    more = {"group": "limited", "by_usd": "0.001"}
    assert (
        httpx.post(f"{rig.gateway.admin_url}/api/budgets/key:month/raises", headers=ADMIN, json=more).status_code == 201
    )
    wait_until("the raise", lambda: ask(rig, secret).status_code == 200, 10)
    again = httpx.post(f"{rig.gateway.admin_url}/api/keys/limited/rotate", headers=ADMIN, json={}).json()["key"]
    wait_until("the new secret", lambda: ask(rig, again).status_code == 200, 10)
    assert ask(rig, secret).status_code == 401
    assert group(rig, "key:month", "limited")["limit_usd"] == str(LIMIT + Decimal("0.001"))
    rig.gateway.verified()


def test_a_keys_rate_is_held_and_asked_again_later(rig: Rig) -> None:
    secret = made(rig, "slow", "--rpm", "3")
    statuses = [ask(rig, secret).status_code for _ in range(9)]
    assert 3 <= statuses.count(200) <= 6, "a minute may end under way"
    refused = ask(rig, secret) if statuses[-1] != 200 else None
    if refused is not None and refused.status_code == 429:
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers.get("x-should-retry") != "false"
        assert "key:rpm (slow): 0 of 3 requests left" in refused.json()["error"]["message"]
    assert 429 in statuses
