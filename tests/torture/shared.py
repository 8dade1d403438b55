"""Budgets that several processes share in one Redis, and what happens to Redis and to them."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support.gateway import ADMIN_KEY
from tests.support.processes import get
from tests.support.redis import RedisServer
from tests.support.waiting import wait_until

from .harness import _READY_S, BUDGETS, CALLERS, Gateway, Rig, config
from .scenarios import Outcome, plane_pid
from .stampede import stampede
from .traffic import Traffic

WORKERS = ("--workers", "2")
_LEASED = {"store_lease_share": 0.02}


@dataclass
class Watch:
    """Asks a gateway for a key's budgets all the time: how long the store could not be used, and since when it can."""

    url: str
    outages: list[tuple[float, float]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        down: float | None = None
        while not self._stop.wait(0.02):
            up = get(f"{self.url}/v1/key", CALLERS[0].key)[0] == 200
            now = time.monotonic()
            if not up and down is None:
                down = now
            if up and down is not None:
                self.outages.append((down, now))
                down = None

    def usable_after(self, moment: float) -> float:
        """Seconds from `moment` until the store could be used again."""
        return max((end - moment for start, end in self.outages if end > moment), default=0.0)


def _frozen(server: RedisServer) -> None:
    server.freeze()
    time.sleep(1.5)
    server.thaw()


def _restarted(server: RedisServer) -> None:
    server.down()
    time.sleep(1.0)
    server.up()


TROUBLES: dict[str, Callable[[RedisServer], None]] = {
    "frozen": _frozen,
    "flushed": RedisServer.flush,
    "restarted": _restarted,
}


def clean_workers(folder: Path, *, calls: int, seed: int = 1) -> Outcome:
    """Mixed traffic over two workers and one Redis: every number is zero, as with one worker and no Redis."""
    (folder / "redis").mkdir(parents=True)
    with RedisServer(folder / "redis") as server, Rig(folder, changes={"store": server.url}, options=WORKERS) as rig:
        summary = rig.load(Traffic(calls=calls, concurrency=32, seed=seed, sessions=20))
        return Outcome(rig.verdict(clean=True), True, {"load": summary})


def shared_stampede(folder: Path, *, seed: int = 1, **wanted: Any) -> Outcome:
    """Four processes race for a budget that two workers count in one Redis."""
    (folder / "redis").mkdir(parents=True)
    with RedisServer(folder / "redis") as server:
        return stampede(folder, seed=seed, changes={"store": server.url} | _LEASED, options=WORKERS, **wanted)


def killed_stampede(folder: Path, *, times: int, limit_usd: str = "0.5", seed: int = 1, whom: str = "data") -> Outcome:
    """Four data planes lease slices of one small budget, and one of them, or all with the control process, is killed again and
    again: what a crash left unknown counts against the budget too, and no slice stays behind."""
    rng = random.Random(seed)
    budgets = [{"name": "small", "limit_usd": limit_usd, "window": "total"}]
    wanted = Traffic(
        calls=100_000, concurrency=24, retry_busy=True, until_402=True, stream=0.3, models={"tm-odd": 1.0},
        kinds={"chat": 1.0}, out=(1, 16), words=(2, 10), delay=(0, 0.02), cap_slack=(0, 30), timeout_s=20,
    )  # fmt: skip
    changes: dict[str, Any] = {"server": {"max_call_s": 6}}  # what nobody could end is over then
    (folder / "redis").mkdir(parents=True)
    with (
        RedisServer(folder / "redis") as server,
        Rig(
            folder, budgets=budgets, changes=changes | {"store": server.url} | _LEASED, options=("--workers", "4")
        ) as rig,
    ):
        loads = [rig.begin_load(replace(wanted, seed=seed * 1000 + number)) for number in range(2)]
        for _ in range(times):
            time.sleep(rng.uniform(1.0, 2.5))  # the moment is random, that is the point
            if whom == "all":
                rig.gateway.kill()
                rig.gateway.up()
            else:
                rig.gateway.kill([plane_pid(rig, "data")])
        for load in loads:
            rig.end_load(load)
        last = rig.load(replace(wanted, seed=seed * 1000 + 9))
        rig.quiet()
        verdict = rig.verdict(clean=False)
        figures = verdict.budgets["small"]
        return Outcome(
            verdict, False, {"last": last["ends"], "billed": round(figures["most_nano"] / figures["limit_nano"], 4)}
        )


def store_trouble(folder: Path, *, trouble: str, seed: int = 1, limit_usd: str = "0.06", rounds: int = 2) -> Outcome:
    """Redis is frozen, flushed, or killed and started empty, under racing calls: nothing passes the limit, and soon it goes on."""
    budgets = [*BUDGETS, {"name": "small", "limit_usd": limit_usd, "window": "total"}]
    wanted = Traffic(
        calls=rounds * 400, rate=80, seed=seed, stream=0.5, models={"tm-odd": 1.0}, kinds={"chat": 1.0},
        out=(1, 40), words=(4, 20), delay=(0, 1.0), cap_slack=(0, 5), timeout_s=20,
    )  # fmt: skip
    (folder / "redis").mkdir(parents=True)
    recovered = []
    with (
        RedisServer(folder / "redis") as server,
        Rig(folder, budgets=budgets, changes={"store": server.url}, options=WORKERS) as rig,
    ):
        with Watch(rig.gateway.url) as watch:
            load = rig.begin_load(wanted)
            for _ in range(rounds):
                time.sleep(1.5)
                TROUBLES[trouble](server)
                back = time.monotonic()
                time.sleep(2.0)
                recovered.append(round(watch.usable_after(back), 2))
            rig.end_load(load)
        last = rig.load(replace(wanted, seed=seed + 1, calls=20_000, rate=0, concurrency=32, delay=(0, 0), until_402=True, retry_busy=True))  # fmt: skip
        verdict = rig.verdict(clean=False)
        told = [json.loads(line) for log in rig.logs for line in log.read_text().splitlines()]
        verdict.start("other_failures")
        for line in told:
            if line["status"] not in (200, 402, 503) and line["code"] != "budget_busy":
                verdict.add("other_failures", f"{line['nonce']} {line['status']} {line['code']} {line['end']}")
        figures = verdict.budgets["small"]
        facts = {
            "recovered_after_s": recovered,
            "refused_503": sum(line["status"] == 503 for line in told),
            "answered": sum(line["status"] == 200 for line in told),
            "last": last["ends"],
            "billed_of_limit": round(figures["most_nano"] / figures["limit_nano"], 4),
        }
        return Outcome(verdict, False, facts)


def replica_kills(folder: Path, *, times: int = 1, seed: int = 1, max_call_s: int = 4) -> Outcome:
    """Two replicas on one Redis and one ledger; one is killed in the middle of calls, and comes back after its reservations
    expired: by then the other has charged them; then nothing is stuck and every counter is the sum of its entries."""
    rng = random.Random(seed)
    wanted = Traffic(
        calls=120, concurrency=40, stream=0.7, kinds={"chat": 1.0}, out=(10, 60), chunk_delay=(0.005, 0.02),
        delay=(0, 0.5), timeout_s=20,
    )  # fmt: skip
    (folder / "redis").mkdir(parents=True)
    (folder / "other").mkdir(parents=True)
    stuck_s = []
    with RedisServer(folder / "redis") as server:
        changes: dict[str, Any] = {"store": server.url, "server": {"max_call_s": max_call_s}}
        with Rig(folder, changes=dict(changes)) as rig:
            made = config(folder / "other", rig.provider.port, BUDGETS, **changes) | {"ledger": rig.gateway.ledger}
            other = Gateway(folder / "other", made)
            rig.loads.append(other)  # it ends with the rig
            other.up()
            for number in range(times):
                loads = [
                    rig.begin_load(replace(wanted, seed=seed * 1000 + 2 * number + mine), (rig.gateway, other)[mine])
                    for mine in (0, 1)
                ]
                wait_until("the other is in the middle of calls", lambda: _in_flight(other) >= 20, _READY_S)
                time.sleep(rng.uniform(0, 0.3))
                other.kill()
                killed = time.monotonic()
                for load in loads:
                    rig.end_load(load)
                wait_until("nothing is reserved any more", lambda: _reserved(rig) == 0, max_call_s + 15)
                stuck_s.append(round(time.monotonic() - killed, 1))
                other.up()
            wait_until("the other is ready", other.ready, _READY_S)
            rig.quiet()
            wait_until("the other has shipped everything", lambda: _lag(other) == 0, _READY_S)
            verdict = rig.verdict(clean=False)
            for name in [name for name in verdict.numbers if name.startswith("metric_")]:
                del verdict.numbers[name]  # each replica has metrics of its own, and the auditor looked at one's
            return Outcome(verdict, False, {"free_again_after_s": stuck_s})


def _in_flight(gateway: Gateway) -> float:
    return sum(value for _, value in gateway.metrics().get("taximeter_inflight_requests", ()))


def _reserved(rig: Rig) -> float:
    status, text = get(f"{rig.gateway.admin_url}/api/budgets", ADMIN_KEY)
    return sum(float(item["reserved_usd"]) for item in json.loads(text)["items"]) if status == 200 else -1.0


def _lag(gateway: Gateway) -> Any:
    return max((value for _, value in gateway.metrics().get("taximeter_ledger_lag_seconds", ())), default=None)
