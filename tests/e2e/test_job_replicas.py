"""Two replicas with one ledger (PostgreSQL) and one budget store (Redis) before one vendor: both poll the same jobs, and clients
ask either, yet each job is settled once, at the vendor's bill. A flush of Redis while jobs run takes nothing from a budget."""

from __future__ import annotations

import concurrent.futures
import contextlib
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.support.gateway import gateway, server
from tests.support.media_rig import KEY, POOR_KEY, MediaRig, config
from tests.support.postgres import PostgresServer
from tests.support.processes import module_running
from tests.support.redis import RedisServer
from tests.support.waiting import eventually

ENDS = ("end=done", "end=done", "end=failed", "end=aborted")


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MediaRig, MediaRig, RedisServer]]:
    folder = tmp_path_factory.mktemp("replicas")
    bill = folder / "bill.jsonl"
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        ledger = stack.enter_context(postgres.new_database())
        redis = stack.enter_context(RedisServer(folder))
        port = stack.enter_context(module_running(folder, "tests.support.media_vendors", "--bill", str(bill)))
        rigs = []
        for name in ("one", "other"):
            place = folder / name
            place.mkdir()
            own = config(
                place, f"http://127.0.0.1:{port}", server=server(busy_wait_s=0.2), ledger=ledger, store=redis.url,
                jobs={"poll_s": 0.2, "recheck_s": 1},
            )  # fmt: skip
            rigs.append(MediaRig(stack.enter_context(gateway(place, own)), f"http://127.0.0.1:{port}", bill))
        yield rigs[0], rigs[1], redis


def create(rig: MediaRig, nonce: str, orders: str, key: str = KEY) -> httpx.Response:
    """Tried again while the budget store does not answer, as on a machine that is busy: nothing was sent then."""
    return eventually(
        lambda: httpx.post(
            f"{rig.url}/replicate/v1/models/acme/upscaler/predictions",
            json={"input": {"prompt": f"nonce={nonce} {orders}"}},
            headers={"authorization": f"Bearer {key}", "x-taximeter-session-id": nonce, "cancel-after": "60s"},
        ),
        lambda answer: answer.status_code != 503,
    )


def ask(rig: MediaRig, job_id: str) -> int:
    headers = {"authorization": f"Bearer {KEY}"}
    return httpx.get(f"{rig.url}/replicate/v1/predictions/{job_id}", headers=headers).status_code


def cancelled(rig: MediaRig, job_id: str) -> int:
    headers = {"authorization": f"Bearer {POOR_KEY}"}
    return httpx.post(f"{rig.url}/replicate/v1/predictions/{job_id}/cancel", headers=headers).status_code


def left(rig: MediaRig, budget: str, key: str = KEY) -> dict[str, Any]:
    standings: list[dict[str, Any]] = httpx.get(f"{rig.url}/v1/key", headers={"authorization": f"Bearer {key}"}).json()[
        "budgets"
    ]
    return next(one for one in standings if one["name"] == budget)


def of(rig: MediaRig, names: set[str], number: int) -> list[dict[str, Any]]:
    """The entries of these sessions, as soon as all of them have ended."""
    return eventually(
        lambda: [one for one in rig.entries(limit="1000") if one["session_id"] in names],
        lambda found: len(found) >= number and all(one["status"] != "running" for one in found),
    )


def test_two_replicas_that_ask_for_the_same_jobs_settle_each_once(
    replicas: tuple[MediaRig, MediaRig, RedisServer],
) -> None:
    one, other, _ = replicas
    rng = random.Random(7)
    before = Decimal(left(one, "all")["spent_usd"])
    names = [f"twice-{number}" for number in range(24)]

    def begin(name: str) -> str:
        rig = rng.choice((one, other))
        made = create(rig, name, f"gpu={rng.randint(1, 9)} after={rng.choice(('0', '0.3', '0.8'))} {rng.choice(ENDS)}")
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(begin, names))
        asked = [pool.submit(ask, rig, job_id) for job_id in ids for rig in (one, other) for _ in range(2)]
        assert {answer.result() for answer in asked} == {200}
    entries = of(other, set(names), len(names))
    assert sorted(entry["session_id"] for entry in entries) == sorted(names)
    billed = one.billed()
    for entry in entries:
        assert (entry["kind"], entry["status"]) == ("attempt", "settled")
        assert Decimal(entry["cost_usd"]) == billed[entry["session_id"]]
    spent = sum(Decimal(entry["cost_usd"]) for entry in entries)
    for rig in (one, other):
        standing = eventually(lambda rig=rig: left(rig, "all"), lambda found: found["reserved_usd"] == "0")  # type: ignore[misc]
        assert Decimal(standing["spent_usd"]) - before == spent
    assert one.leaks() == []


def test_a_flush_of_redis_while_jobs_run_takes_nothing_from_a_budget(
    replicas: tuple[MediaRig, MediaRig, RedisServer],
) -> None:
    """$1, and each job may run a minute at $0.000975 a second: seventeen fit at a time, whatever Redis forgets."""
    one, other, redis = replicas
    names = [f"flush-{number}" for number in range(17)]
    made = [create((one, other)[number % 2], name, "gpu=2 after=600", POOR_KEY) for number, name in enumerate(names)]
    assert {answer.status_code for answer in made} == {201}
    redis.flush()
    for rig in (one, other):
        assert create(rig, "flush-more", "gpu=2 after=600", POOR_KEY).status_code in (402, 429)
    for number, answer in enumerate(made):  # by the replica that did not make it
        assert cancelled((other, one)[number % 2], answer.json()["id"]) == 200
    entries = of(one, set(names), len(names))
    assert [Decimal(entry["cost_usd"]) for entry in entries] == [Decimal("0.00195")] * len(names)
    for rig in (one, other):
        standing = eventually(lambda rig=rig: left(rig, "poor", POOR_KEY), lambda found: found["reserved_usd"] == "0")  # type: ignore[misc]
        assert Decimal(standing["spent_usd"]) == Decimal("0.00195") * len(names)
        assert rig.gateway.verified()["ok"] is True
