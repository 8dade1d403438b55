"""Several instances, each a `taximeter serve` of its own, race for one budget in one Redis, while instances are killed, Redis
begins empty, or a copy of it that is behind takes its place, by hand or by a Sentinel: what the provider bills stays below the limit.

Round trips are counted by Redis: every script that anybody had it run, less what the same instances ask when nobody calls.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.postgres import PostgresServer
from tests.support.redis import RedisServer
from tests.support.waiting import wait_until

from .harness import _READY_S, Gateway, Rig, config
from .promoted import Pair
from .scenarios import Outcome
from .shared import _reserved
from .traffic import Traffic

_MAX_CALL_S = 6  # what nobody could end is over then
_IDLE_S = 3.0
_USED = 0.99  # of the budget, where no call was lost
_COUNTED = re.compile(r"cmdstat_evalsha:calls=(\d+)")


def _asked(server: RedisServer) -> int:
    """How many scripts it has run."""
    found = _COUNTED.search(server.say("INFO", "commandstats"))
    return int(found[1]) if found else 0


class _AsksCounted:
    """Scripts that Redis has run from now on, less what the same instances ask when nobody calls."""

    def __init__(self, server: RedisServer) -> None:
        asked, began = _asked(server), time.monotonic()
        time.sleep(_IDLE_S)
        self._idle_per_s = (_asked(server) - asked) / (time.monotonic() - began)
        self._server, self._asked, self._began = server, _asked(server), time.monotonic()

    def since(self) -> float:
        return _asked(self._server) - self._asked - self._idle_per_s * (time.monotonic() - self._began)


def _lag(gateway: Gateway) -> Any:
    return max((value for _, value in gateway.metrics().get("taximeter_ledger_lag_seconds", ())), default=None)


def _answered_by(gateways: list[Gateway]) -> dict[str, int]:
    """Reservations, by who answered."""
    counts: dict[str, int] = {}
    for gateway in gateways:
        for labels, value in gateway.metrics().get("taximeter_budget_store_calls_total", ()):
            name = f"by_{labels['by']}"
            counts[name] = counts.get(name, 0) + int(value)
    return counts


def _killed(server: RedisServer, gateways: list[Gateway], rng: random.Random) -> None:
    victim = rng.choice(gateways)
    victim.kill()
    victim.up(timeout_s=_READY_S)


def _restarted(server: RedisServer, gateways: list[Gateway], rng: random.Random) -> None:
    server.down()
    server.lose_copies()
    server.up()


def _older(server: RedisServer, gateways: list[Gateway], rng: random.Random) -> None:
    """As a replica that is promoted while it is behind: other data of the same life, in a server that is another."""
    server.say("SAVE")
    time.sleep(rng.uniform(0.3, 1.5))
    server.down()
    server.up()


def _promoted(pair: Pair, gateways: list[Gateway], rng: random.Random) -> None:
    pair.promote(rng)


TROUBLES: dict[str, Callable[[Any, list[Gateway], random.Random], None]] = {
    "killed": _killed,
    "restarted": _restarted,
    "older": _older,
    "promoted": _promoted,
}


def raced(
    folder: Path,
    *,
    trouble: str = "",
    times: int = 3,
    instances: int = 4,
    limit_usd: str = "1",
    calls: int = 10_000,
    callers: int = 16,
    share: float = 0.05,
    seed: int = 1,
    around: int = 0,
) -> Outcome:
    """`calls` in all, until the budget refuses them; with trouble so many times meanwhile, and a last load after it.
    around: so many wider budgets count each call too.

    A caller ends by what it is told, never by the time: on a machine that does much else Redis answers late, and each call
    that was refused for that (503) is made again. Without trouble the budget has to be used up.
    """
    rng = random.Random(seed)
    budgets = [{"name": "small", "limit_usd": limit_usd, "window": "total"}]
    budgets += [
        {"name": f"around-{n}", "limit_usd": str(10 * int(limit_usd)), "window": "month"} for n in range(around)
    ]
    wanted = Traffic(
        calls=calls // instances, concurrency=callers, retry_busy=True, retry_away=not trouble, until_402=True,
        stream=0.3, models={"tm-odd": 1.0}, kinds={"chat": 1.0}, out=(4, 24), words=(2, 10), delay=(0, 0.02), cap_slack=(0, 30), timeout_s=20,
    )  # fmt: skip
    (folder / "redis").mkdir(parents=True)
    with ExitStack() as stack:
        place = folder / "redis"
        server = stack.enter_context(Pair(place) if trouble == "promoted" else RedisServer(place))
        ledger = stack.enter_context(stack.enter_context(PostgresServer()).new_database())
        changes: dict[str, Any] = {"store": server.url, "store_lease_share": share, "ledger": ledger}
        changes["server"] = {"max_call_s": _MAX_CALL_S if trouble else 600}
        rig = stack.enter_context(Rig(folder, budgets=budgets, changes=dict(changes)))
        gateways = [rig.gateway]
        for number in range(1, instances):
            (folder / f"instance-{number}").mkdir()
            gateway = Gateway(
                folder / f"instance-{number}",
                config(folder / f"instance-{number}", rig.provider.port, budgets, **dict(changes)),
            )
            rig.loads.append(gateway)  # it ends with the rig
            gateway.up(timeout_s=_READY_S)
            gateways.append(gateway)
        asks = _AsksCounted(server) if isinstance(server, RedisServer) else None
        loads = [rig.begin_load(replace(wanted, seed=seed * 1000 + n), gateway) for n, gateway in enumerate(gateways)]
        for _ in range(times if trouble else 0):
            time.sleep(rng.uniform(1.0, 3.0))  # the moment is random, that is the point
            TROUBLES[trouble](server, gateways, rng)
        for load in loads:
            rig.end_load(load)
        round_trips = asks.since() if asks else 0.0
        if trouble:
            for gateway in gateways:
                wait_until("an instance is ready", gateway.ready, _READY_S)
            last = rig.begin_load(replace(wanted, seed=seed * 1000 + 99, calls=calls, retry_away=True))
            rig.end_load(last)
        rig.quiet(_READY_S)
        wait_until("leases are given back", lambda: _reserved(rig) == 0, _READY_S)
        for gateway in gateways:
            wait_until("all is shipped", lambda gateway=gateway: _lag(gateway) == 0, _READY_S)
        verdict = rig.verdict(clean=False)
        for name in [name for name in verdict.numbers if name.startswith("metric_")]:
            del verdict.numbers[name]  # each instance has metrics of its own, and the auditor looked at one's
        told = [json.loads(line) for log in rig.logs for line in log.read_text().splitlines()]
        figures = verdict.budgets["small"]
        answered = sum(line["status"] == 200 for line in told)
        facts: dict[str, Any] = {
            "answered": answered,
            "refused_402": sum(line["status"] == 402 for line in told),
            "busy_429": sum(line["status"] == 429 for line in told),
            "away_503": sum(line["status"] == 503 for line in told),
            "billed_of_limit": round(figures["most_nano"] / figures["limit_nano"], 6),
        }
        if isinstance(server, Pair):
            facts["bytes_that_promoted_servers_lacked"] = server.lacked
        if not trouble:
            facts |= _answered_by(gateways)
            verdict.numbers["failed"] = 0  # refusals are what was asked for
            facts["round_trips_a_call"] = round(round_trips / max(1, answered), 4)
            if figures["most_nano"] < _USED * figures["limit_nano"] and answered < wanted.calls * instances:
                ends = Counter(f"{line['end']} {line['status']} {line['code'] or ''}".strip() for line in told)
                return Outcome(verdict, True, facts, {"money is left, and calls were not made": [str(dict(ends))]})
        return Outcome(verdict, not trouble, facts)
