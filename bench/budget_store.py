"""What a reservation costs: `python -m bench.budget_store [--sessions 1000000]`, in memory and in a real Redis of its own.

Each call reserves and settles in three budgets, the last of which has a counter for each session.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from pathlib import Path

import uvloop

from proxy.budgets.memory import MemoryStore
from proxy.budgets.redis.store import RedisStore
from proxy.types import Claim
from tests.support.redis import RedisServer

NOW = time.time()
LATER = NOW + 3600
RECORD = b"x" * 700  # about as long as an INTENT
PAGE = 4096


def claims(session: int) -> list[Claim]:
    group = f"0199{session:08x}-7abc-7def-8123-{session:012x}"
    return [
        Claim("company", "", 0, None, 10**15, 1000),
        Claim("team", "payments", 0, None, 10**15, 1000),
        Claim("every-session", group, 0, None, 5 * 10**9, 1000),
    ]


async def call(store: MemoryStore | RedisStore, name: str, taken: list[Claim]) -> None:
    await store.reserve(name, taken, NOW, LATER, RECORD)
    await store.settle(name, (900, 900, 900))


async def timed(store: MemoryStore | RedisStore, count: int, first: int, run: str) -> list[float]:
    """Seconds of each call, one after the other, over the last 1,000 sessions."""
    taken = [claims(first + number) for number in range(1000)]
    names = [f"{run}-{number}" for number in range(count)]
    seconds = []
    for number, name in enumerate(names):
        began = time.perf_counter()
        await call(store, name, taken[number % 1000])
        seconds.append(time.perf_counter() - began)
    return seconds


def told(what: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    p50, p99 = ordered[len(ordered) // 2] * 1e6, ordered[len(ordered) * 99 // 100] * 1e6
    print(f"{what:44} reserve + settle: p50 {p50:7.1f} us, p99 {p99:7.1f} us")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


async def in_memory(sessions: int) -> None:
    store = MemoryStore()
    told("memory, few sessions", await timed(store, 50_000, 0, "a"))
    gc.collect()
    before = resident_bytes()
    for number in range(sessions):
        await call(store, f"s{number}", claims(10_000 + number))
    gc.collect()
    print(f"memory: {(resident_bytes() - before) / sessions:.0f} bytes a session at {sessions:,}")
    told(f"memory, {sessions:,} sessions", await timed(store, 50_000, sessions + 5000, "b"))


async def in_redis(sessions: int) -> None:
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        store = RedisStore(server.url, deadline_s=5)
        running = asyncio.create_task(store.member.run())
        await store.member.joined.wait()
        await store.member.open()
        told("Redis (unix socket), few sessions", await timed(store, 5000, 0, "a"))
        before = used_bytes(server)
        for first in range(0, sessions, 500):
            await asyncio.gather(
                *[call(store, f"s{n}", claims(10_000 + n)) for n in range(first, min(first + 500, sessions))]
            )
        print(f"Redis: {(used_bytes(server) - before) / sessions:.0f} bytes a session at {sessions:,}")
        told(f"Redis, {sessions:,} sessions", await timed(store, 5000, sessions + 5000, "b"))
        began = time.perf_counter()
        for _ in range(50):
            await asyncio.gather(*[call(store, f"g{_}-{n}", claims(n)) for n in range(100)])
        print(f"Redis, 100 calls at once: {5000 / (time.perf_counter() - began):,.0f} calls/s")
        print(f"round trips a call: {await round_trips(store, server):g}")
        running.cancel()
        await store.member.close()


def used_bytes(server: RedisServer) -> int:
    info = server.say("INFO", "memory")
    return int(next(line for line in info.splitlines() if line.startswith("used_memory:")).partition(":")[2])


def commands(server: RedisServer) -> int:
    info = server.say("INFO", "commandstats")
    line = next(line for line in info.splitlines() if line.startswith("cmdstat_evalsha:"))
    return int(line.partition("calls=")[2].partition(",")[0])


async def round_trips(store: RedisStore, server: RedisServer) -> float:
    before = commands(server)
    for number in range(100):
        await call(store, f"t{number}", claims(number))
    return (commands(server) - before) / 100


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=1_000_000)
    sessions = parser.parse_args().sessions
    gc.set_threshold(50_000, 20, 50)
    uvloop.run(in_memory(sessions))
    uvloop.run(in_redis(sessions))


if __name__ == "__main__":
    main()
