"""The ground moves under the books: Redis is flushed in mid-commit, PostgreSQL fails over to a standby that is behind, clocks are
set back. In the end store, ledger and the provider's invoice say the same, and no window was spent twice."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.support.postgres import PostgresServer
from tests.support.processes import Marked, get
from tests.support.redis import RedisServer
from tests.support.waiting import wait_until

from . import clocked, evidence
from .harness import BUDGETS, CALLERS, Rig
from .scenarios import Outcome
from .traffic import Traffic

MINUTE_LIMIT_USD = "0.002"


def _usable(rig: Rig) -> bool:
    return get(f"{rig.gateway.url}/v1/key", CALLERS[0].key)[0] == 200


class _Load:
    """Calls that go on beside what is done to the servers, for some seconds at a time."""

    def __init__(self, rig: Rig, rate: float, seed: int) -> None:
        self.rig, self.rate, self.seed = rig, rate, seed
        self.running: Marked | None = None

    def begin(self, seconds: float) -> None:
        wanted = Traffic(
            calls=int(self.rate * seconds), rate=self.rate, seed=self.seed, stream=0.3, out=(0, 20), words=(4, 10),
            timeout_s=20, models={"tm-plain": 1.0, "tm-odd": 1.0}, kinds={"chat": 1.0},
        )  # fmt: skip
        self.seed += 1
        self.running = self.rig.begin_load(wanted)

    def end(self) -> None:
        assert self.running is not None
        self.rig.end_load(self.running)


def flushes(folder: Path, *, times: int, seed: int = 1, rate: float = 40) -> Outcome:
    """Redis is flushed while a batch waits for the ledger's write lock, with calls going on."""
    rng = random.Random(seed)
    (folder / "redis").mkdir(parents=True)
    with (
        RedisServer(folder / "redis") as server,
        Rig(folder, changes={"store": server.url}, options=("--workers", "2")) as rig,
    ):
        load = _Load(rig, rate, seed * 1000)
        for number in range(times):
            if number % 10 == 0:
                load.begin(min(10, times - number) * 1.5)
            with contextlib.closing(sqlite3.connect(folder / "ledger.db", timeout=30, isolation_level=None)) as busy:
                server.flush()
                time.sleep(rng.uniform(0, 0.1))
                busy.execute("BEGIN IMMEDIATE")  # what is read next has the marker behind it, and is not committed yet
                time.sleep(rng.uniform(0.5, 1.0))
                busy.execute("ROLLBACK")
            wait_until("the store can be used again", lambda: _usable(rig), 30)
            if number % 10 == 9 or number == times - 1:
                load.end()
        return Outcome(rig.verdict(clean=False), False, {"flushes": times})


def _more_than(had: int, url: str) -> int:
    return len(evidence.read_ledger(url)) - had


def fail_overs(folder: Path, *, times: int, seed: int = 1, rate: float = 30, restart_each: int = 4) -> Outcome:
    """The server is killed, and its copy of a while ago started in its place; now and then the gateway starts anew after it."""
    rng = random.Random(seed)
    lacking = []
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer(synchronous_commit="on"))
        url = stack.enter_context(server.new_database())
        rig = stack.enter_context(Rig(folder, changes={"ledger": url}))
        load = _Load(rig, rate, seed * 1000)
        for number in range(times):
            load.begin(4)
            time.sleep(rng.uniform(0.1, 0.5))
            server.copy()
            # Or a little more. Not asked of it later: what it lacks arrives again as soon as it is there.
            lacks = partial(_more_than, len(evidence.read_ledger(url)), url)
            time.sleep(rng.uniform(0.5, 1.5))
            wait_until("the copy lacks something", lacks, 30)
            lacking.append(lacks())
            server.fail_over()
            load.end()
            if number % restart_each == restart_each - 1:
                rig.gateway.stop(30)
                rig.gateway.up()
        return Outcome(rig.verdict(clean=True), True, {"fail_overs": times, "entries_that_copies_lacked": sum(lacking)})


class _Clock:
    """The wall clock of a gateway and, where there is one, of Redis: it can be set."""

    def __init__(self, folder: Path, server: RedisServer | None) -> None:
        self.offset_s = 0
        self._file, self._server = folder / "clock", server
        self.env = {clocked.VARIABLE: str(self._file)}
        self.set_by(0)

    def second(self) -> float:
        """Of the minute."""
        return (time.time() + self.offset_s) % 60

    def set_by(self, seconds: int) -> None:
        self.offset_s += seconds
        clocked.write_offset(self._file, self.offset_s * 10**9)
        if self._server is not None:
            self._server.say("SET", clocked.REDIS_KEY, str(self.offset_s))


def clock_steps(folder: Path, *, times: int, seed: int = 1, redis: bool = False) -> Outcome:
    """The clock goes over a minute's edge, and is set back over it: what was spent before the edge stays spent."""
    rng = random.Random(seed)
    (folder / "redis").mkdir(parents=True)
    budgets = [*BUDGETS, {"name": "minute", "limit_usd": MINUTE_LIMIT_USD, "window": "minute"}]
    wanted = {
        "stream": 0.3, "models": {"tm-odd": 1.0}, "kinds": {"chat": 1.0}, "out": (1, 20), "words": (4, 10),
        "cap_slack": (0, 5), "until_402": True, "retry_busy": True,
    }  # fmt: skip
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer(folder / "redis")) if redis else None
        clock = _Clock(folder, server)
        changes = {"store": server.url} if server is not None else {}
        module = f"{__package__}.clocked"
        rig = stack.enter_context(Rig(folder, budgets=budgets, changes=changes, module=module, env=clock.env))
        for number in range(times):
            before, after = (
                Traffic(calls=5000, concurrency=8, seed=seed * 10_000 + 2 * number + n, **wanted)  # type: ignore[arg-type]  # a dict of settings
                for n in (0, 1)
            )
            clock.set_by(117 - int(clock.second()))
            rig.load(before)  # until the minute's limit, or over the edge
            wait_until("the minute is over", lambda: clock.second() < 30, 5, poll_s=0.01)
            time.sleep(rng.choice((0.05, 1.2)))  # counters of windows that are over may be dropped by then
            clock.set_by(-rng.randint(2, 20))
            rig.load(after)
        windows = _windows(rig)
        verdict = rig.verdict(clean=False)
        del verdict.numbers["overshoot_nano"]  # the invoice has the true time, windows have another
        verdict.start("window_spent_twice")
        limit = round(float(MINUTE_LIMIT_USD) * 1e9)
        for start, spent in windows.items():
            if spent > limit:
                verdict.add("window_spent_twice", f"{start}: {spent} of {limit}")
        facts = {"steps": times, "windows": len(windows), "fullest": round(max(windows.values()) / limit, 4)}
        return Outcome(verdict, False, facts)


def _windows(rig: Rig) -> dict[int, int]:
    """What was spent in each minute, by the ledger."""
    rig.quiet()
    spent: dict[int, int] = {}
    with contextlib.closing(sqlite3.connect(rig.gateway.ledger.removeprefix("sqlite:///"))) as database:
        for (budgets,) in database.execute("SELECT budgets FROM entries WHERE budgets IS NOT NULL"):
            for name, _, start, _, amount in json.loads(budgets):
                if name == "minute":
                    spent[start] = spent.get(start, 0) + amount
    return spent
