"""Faults of the network: between the gateway and its upstream, its database, its budget store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support.postgres import PostgresServer
from tests.support.redis import RedisServer

from .harness import BUDGETS, Rig
from .scenarios import Outcome
from .tcp_proxy import TcpProxy
from .traffic import Traffic

UPSTREAM_FAULTS: dict[str, dict[str, Any]] = {
    "latency": {"latency_s": 0.05, "jitter_s": 0.1},
    "throttle": {"bytes_per_s": 20_000},
    "cut": {"cut_after": 900},
    "half close": {"half_close_after": 900},
    "refuse": {"refuse": True},
    "away": {"away": True},
    "lost replies": {"lose_replies": 0.05},
    "black hole": {"blackhole": True},
}


def bad_upstream(folder: Path, *, calls: int = 200, seed: int = 1, timeout_s: float = 2.0) -> Outcome:
    """Each fault of the network before the upstream in turn, and a moment without between them."""
    changes = {"upstream": {"first_byte_timeout_s": timeout_s, "idle_timeout_s": timeout_s, "connect_timeout_s": 1}}
    soft = [budget | {"action": "warn"} for budget in BUDGETS]
    seen: dict[str, Any] = {}
    with ExitStack() as stack:

        def front(port: int) -> int:
            proxy = stack.enter_context(TcpProxy(("127.0.0.1", port), seed=seed))
            proxies.append(proxy)
            return proxy.port

        proxies: list[TcpProxy] = []
        rig = stack.enter_context(Rig(folder, budgets=soft, changes=changes, front=front))
        (proxy,) = proxies
        for number, (name, faults) in enumerate(UPSTREAM_FAULTS.items()):
            proxy.change(**faults)
            wanted = Traffic(
                calls=calls, concurrency=50, seed=seed * 100 + number, timeout_s=timeout_s + 10, out=(0, 40)
            )
            seen[name] = rig.load(wanted)["ends"]
            proxy.change()
            proxy.reset_all()
        return Outcome(rig.verdict(clean=False), False, {"ends": seen, "proxy": dict(proxy.seen)})


@contextlib.contextmanager
def _ledger(seed: int) -> Iterator[tuple[str, TcpProxy]]:
    """A PostgreSQL behind a proxy: its URL and the proxy."""
    with PostgresServer() as server, server.new_database() as database:
        name = database.partition("@/")[2].partition("?")[0]
        with TcpProxy(server.socket, seed=seed) as proxy:
            yield f"postgresql://taximeter@127.0.0.1:{proxy.port}/{name}", proxy


def lossy_database(folder: Path, *, calls: int = 2000, seed: int = 1, share: float = 0.05, resets: int = 5) -> Outcome:
    """Of the database's replies a share is lost (commits among them), and now and then all its connections are reset."""
    with _ledger(seed) as (url, proxy), Rig(folder, changes={"ledger": url}) as rig:
        proxy.change(lose_replies=share)
        loads = []
        for number in range(resets + 1):
            wanted = Traffic(calls=calls // (resets + 1), concurrency=32, rate=300, seed=seed * 100 + number)
            loads.append(rig.load(wanted)["ends"])
            proxy.reset_all()
        lost = proxy.seen["lost"]
        proxy.change()
        return Outcome(rig.verdict(clean=False), False, {"lost_replies": lost, "ends": loads})


def away_database(folder: Path, *, seconds: float = 10, rate: float = 200, seed: int = 1) -> Outcome:
    """The database is away while calls go on: they are answered as ever, and all of them are in the ledger afterwards."""
    with _ledger(seed) as (url, proxy), Rig(folder, changes={"ledger": url}) as rig:
        proxy.change(refuse=True)
        proxy.reset_all()
        summary = rig.load(Traffic(calls=int(seconds * rate), rate=rate, seed=seed), timeout_s=seconds + 120)
        proxy.change()
        return Outcome(rig.verdict(clean=True), True, {"load": summary})


def lossy_store(folder: Path, *, calls: int = 1500, rate: float = 150, seed: int = 1, share: float = 0.05) -> Outcome:
    """Of Redis' replies a share is lost: it may have reserved, settled or released what its caller does not know of."""
    place = folder / "redis"
    place.mkdir(parents=True)
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer(place))
        proxy = stack.enter_context(TcpProxy(server.socket, seed=seed))
        rig = stack.enter_context(Rig(folder, changes={"store": f"redis://127.0.0.1:{proxy.port}/0"}))
        proxy.change(lose_replies=share)
        summary = rig.load(Traffic(calls=calls, rate=rate, seed=seed))
        lost = proxy.seen["lost"]
        proxy.change()
        return Outcome(rig.verdict(clean=False), False, {"lost_replies": lost, "load": summary})
