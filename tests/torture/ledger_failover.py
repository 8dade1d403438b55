"""The ledger's PostgreSQL fails over under load: the primary is killed in the middle of a commit, the standby promoted, and the
old one comes back for a while as if nothing had happened. In the end each call is in the ledger once, and none was kept waiting.

A standby is synchronous, or lacks what was committed lately. The ledger is addressed as both servers or through a PgBouncer
that is told of the fail-over. Two control processes have one data directory: one records, the other stands by and takes over.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from tests.support.pgbouncer import Pooler
from tests.support.postgres import PostgresServer
from tests.support.postgres_pair import PostgresPair
from tests.support.waiting import wait_until

from . import evidence
from .harness import _READY_S, Gateway, Rig
from .invoice import read_invoice
from .scenarios import Outcome, bad_ends
from .traffic import Traffic

_DATABASE = "ledger"
_SLOW_S = 5.0  # no call takes so long, however busy the machine is: none of them waits for a database
_IDS = "SELECT id FROM entries"
_WAITING = f"SELECT FROM pg_stat_activity WHERE datname = '{_DATABASE}' AND wait_event_type = 'Lock'"
_UNANSWERED = f"SELECT FROM pg_stat_activity WHERE datname = '{_DATABASE}' AND wait_event = 'SyncRep'"


class Ways(NamedTuple):
    """synchronous: the standby. pooled: there is a PgBouncer before the servers. taken_over: the gateway is killed, too."""

    synchronous: bool
    pooled: bool
    taken_over: bool


def ways_of(seed: int) -> Ways:
    """Eight seeds in a row have all."""
    return Ways(bool(seed & 1), bool(seed & 2), bool(seed & 4))


def fail_overs(folder: Path, ways: Ways, *, times: int = 2, seed: int = 1, rate: float = 40) -> Outcome:
    """Calls of 6 s around each fail-over."""
    rng = random.Random(seed)
    with ExitStack() as stack:
        pair = stack.enter_context(PostgresPair(synchronous=ways.synchronous))
        pair.primary.execute(f"CREATE DATABASE {_DATABASE}")
        pooler = stack.enter_context(Pooler(pair.primary, _DATABASE)) if ways.pooled else None
        url = pooler.url if pooler else pair.url(_DATABASE)
        rig = stack.enter_context(Rig(folder, changes={"ledger": url}))
        facts: dict[str, Any] = {**ways._asdict(), "entries_that_the_standby_lacked": 0, "written_by_the_old_one": 0}
        standing_by = _stands_by(rig, 0)
        for number in range(times):
            load = rig.begin_load(_calls(rate, seed * 1000 + number))
            time.sleep(rng.uniform(0.3, 1.0))  # the moment is random, that is the point
            promoted = _kill_in_a_commit(pair, ways, rng)
            if pooler:
                pooler.stand_before(pair.primary)
            pair.other.start()
            stranger = _ids(pair.other)
            facts["entries_that_the_standby_lacked"] += len(stranger - promoted)
            if pooler and rng.random() < 0.5:
                _goes_astray(pooler, pair, rng)
            if ways.taken_over:
                rig.gateway.kill()
                rig.gateway = standing_by
            time.sleep(rng.uniform(0.5, 2.0))
            facts["written_by_the_old_one"] += len(_ids(pair.other)) - len(stranger)
            pair.other.kill()
            pair.join()
            if ways.taken_over:
                wait_until("who stood by serves", rig.gateway.ready, _READY_S)
                standing_by = _stands_by(rig, number + 1)
            rig.end_load(load)
            rig.quiet(_READY_S)
        verdict = rig.verdict(clean=not ways.taken_over)
        client = evidence.read_client(rig.logs)
        slowest = max((row["t1_ns"] - row["t0_ns"]) / 1e9 for row in client)
        ends = bad_ends(client, read_invoice(rig.provider.invoice), _SLOW_S)
        if ways.taken_over:  # what a killed gateway had in flight is cut off; but nobody waits
            ends = {name: found for name, found in ends.items() if name == "late"}
        facts |= {"fail_overs": times, "calls": len(client), "slowest_s": round(slowest, 2)}
        return Outcome(verdict, not ways.taken_over, facts, ends)


def _calls(rate: float, seed: int) -> Traffic:
    return Traffic(calls=int(rate * 6), rate=rate, seed=seed, stream=0.3, out=(0, 20), words=(4, 10), timeout_s=20)


def _stands_by(rig: Rig, number: int) -> Gateway:
    """Another `taximeter serve` with the same configuration, that waits for the first one's end."""
    folder = rig.folder / f"standing-by-{number}"
    folder.mkdir()
    gateway = Gateway(folder, rig.made, rig.module)
    rig.loads.append(gateway)  # it ends with the rig
    gateway.start([sys.executable, "-m", rig.module, "serve", "--config", str(gateway.config_file), "--standby"])
    wait_until("another stands by", lambda: "standing by" in gateway.tail(), _READY_S)
    return gateway


def _kill_in_a_commit(pair: PostgresPair, ways: Ways, rng: random.Random) -> set[str]:
    """The recorder's transaction is done and not answered, or is not done; the standby lacks it in either case. What that has,
    before it is promoted: from then on it is given what it lacks."""
    primary, standby = pair.primary, pair.other
    pair.hold_back()
    if ways.synchronous:
        wait_until("a commit waits for the standby", lambda: primary.ask(_UNANSWERED), _READY_S)
        promoted = _ids(standby)
        pair.fail_over()
        return promoted
    had = len(_ids(primary))
    wait_until("the standby lacks something", lambda: len(_ids(primary)) > had, _READY_S)
    time.sleep(rng.uniform(0.0, 1.0))
    with contextlib.closing(psycopg.connect(primary.url(_DATABASE))) as holding:
        holding.execute("LOCK TABLE spool_positions IN EXCLUSIVE MODE")  # what a batch writes last but one
        wait_until("a batch is nearly written", lambda: primary.ask(_WAITING), _READY_S)
        promoted = _ids(standby)
        pair.fail_over()
    return promoted


def _ids(server: PostgresServer) -> set[str]:
    return {row[0] for row in server.ask(_IDS, _DATABASE)}


def _goes_astray(pooler: Pooler, pair: PostgresPair, rng: random.Random) -> None:
    """The pooler goes back to the old server for a while."""
    pooler.stand_before(pair.other)
    time.sleep(rng.uniform(0.5, 2.0))
    pooler.stand_before(pair.primary)
