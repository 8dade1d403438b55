"""A day of machines of one's own, simulated: bursts, an idle night, instances that are killed and come back, hang-ups, calls
that take longer than anybody waits for. What goes into the ledger goes the way that it always does: records, batches, minutes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.capacity.rates import Rates, Step
from proxy.capacity.split import Terms
from proxy.control.metrics.series import MetricState
from proxy.ids import Ids
from proxy.ledger.capacity.books import close_minutes, keep, open_books
from proxy.ledger.capacity.totals import SHARES
from proxy.ledger.capacity.watch import Life, final_until, lives, say
from proxy.ledger.capacity_schema import capacities, capacity_minutes
from proxy.ledger.database import writing
from proxy.ledger.entries.entry import Entry, entry_of
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.shipping import Positions, Shipper
from proxy.ledger.schema import entries, metric_state
from proxy.times import DAY_US, HOUR_US, MINUTE_US

MORNING = 1_795_392_000_000_000  # 2026-11-23, midnight
POOL = "pool"
TERMS = Terms(Rates([Step(0, 2_500_000_000)], [Step(0, 4)]), milliwatts=(700_000, 80_000))
_MAX_CALL_US = HOUR_US
_IDS = Ids()
_NIGHT = range(60, 360)  # minutes of the day without a call


@dataclass(slots=True)
class Instance:
    """One of those on the ledger: what it has not shipped yet, and its lives."""

    name: str
    shipper: Shipper
    life: Life | None = None
    waiting: list[tuple[int, Entry]] = field(default_factory=list)  # by when it ends


@dataclass(slots=True)
class Day:
    """What came of it. Times are seconds of CPU of this program."""

    calls: int = 0
    late: int = 0
    killed: int = 0
    shipping_s: float = 0.0
    closing_s: float = 0.0


def simulate(
    engine: Engine,
    calls: int,
    *,
    seed: int = 1,
    minutes: int = 1440,
    instances: int = 2,
    terms: Terms = TERMS,
    open_from: int = 10**9,
) -> Day:
    """Fill an empty ledger. The instances take turns in closing; each is killed some times, with calls in flight.
    open_from: from that minute on nobody closes any."""
    chance = random.Random(seed)
    day, ids = Day(), Ids()
    crew = [
        Instance(f"i{n}", Shipper(engine, f"i{n}", MetricState.load(engine, f"i{n}"), lambda: {"gpu": POOL}))
        for n in range(instances)
    ]
    away = {
        (number, at)
        for number in range(instances)
        for begin in chance.sample(range(min(10, minutes - 3), minutes), 3)
        for at in range(begin, begin + chance.choice([1, 3, 90]))
    }
    night = range(_NIGHT.start * minutes // 1440, _NIGHT.stop * minutes // 1440)
    plan = _plan(calls, minutes, night, chance)
    with writing(engine).begin() as connection:
        open_books(connection, POOL, MORNING)
    for minute in range(minutes):
        now = MORNING + (minute + 1) * MINUTE_US
        for number, one in enumerate(crew):
            if (number, minute) in away:
                day.killed += one.life is not None
                _kill(one, now - MINUTE_US, chance)
                continue
            for at in plan.get(minute, ())[number::instances]:
                entry, ended_at = _call(at, one.name, ids, chance)
                one.waiting.append((ended_at, entry))
                day.calls += 1
            began = time.process_time()
            _ship(one, now)
            day.shipping_s += time.process_time() - began
        began = time.process_time()
        _close(engine, crew, minute, min(now, MORNING + open_from * MINUTE_US), terms)
        day.closing_s += time.process_time() - began
    return day


def _plan(calls: int, minutes: int, night: range, chance: random.Random) -> dict[int, list[int]]:
    """When calls begin: half of them in bursts."""
    plan: dict[int, list[int]] = {}
    awake = [minute for minute in range(minutes) if minute not in night]
    bursts = chance.sample(awake, max(1, len(awake) // 20))
    for _ in range(calls):
        minute = chance.choice(bursts if chance.random() < 0.5 else awake)
        plan.setdefault(minute, []).append(MORNING + minute * MINUTE_US + chance.randrange(MINUTE_US))
    return plan


def _call(at: int, instance: str, ids: Ids, chance: random.Random) -> tuple[Entry, int]:
    length = int(chance.lognormvariate(15.2, 1.1))  # a median of four seconds
    if chance.random() < 0.0005:
        length = chance.randrange(2 * HOUR_US)
    ended_at = at + length
    intent = {
        "t": "intent", "id": ids.new(at), "request_id": ids.new(at), "attempt": 1, "started_at": at, "dialect": "openai",
        "operation": "chat", "stream": True, "upstream": "gpu" if chance.random() < 0.97 else "elsewhere", "provider": "vllm",
        "model_requested": "m", "model": "m", "key": "k", "key_id": "0" * 64, "team": chance.choice(["a", "b", None]),
        "labels": {}, "untrusted_labels": {}, "session_id": "s", "session_source": "header", "root_session_id": "s",
        "client": "other", "reserved_nanousd": 5000, "budgets": [], "price_version": "v",
    }  # fmt: skip
    if chance.random() < 0.01:
        return entry_of(intent, {"t": "void", "id": intent["id"], "ended_at": at + 5, "outcome": "x"}, instance), at + 5
    usage = {"input": chance.randrange(1, 4000), "cache_read": chance.randrange(2000), "output": chance.randrange(900)}
    end: dict[str, Any] = {
        "t": "settle", "id": intent["id"], "ended_at": ended_at, "status": "settled", "http_status": 200, "model": "m",
        "outcome": chance.choice(["ok", "ok", "ok", "client_disconnected"]), "usage": usage, "usage_source": "provider",
        "cost_nanousd": 400, "cost_source": "computed", "flags": [], "budgets": [], "cost_lines": [], "price_version": "v",
        "duration_ms": length / 1000, "overhead_ms": 1.5, "ttft_ms": min(length / 1000, 250.0),
    }  # fmt: skip
    return entry_of(intent, end, instance), ended_at


def _kill(one: Instance, now: int, chance: random.Random) -> None:
    """What is in flight crashes; what has ended is in the spool, and is shipped after the next start."""
    one.life = None
    for position, (ended_at, entry) in enumerate(one.waiting):
        if ended_at > now and entry.row.outcome != "crashed":
            row = entry.row._replace(outcome="crashed", status="unconfirmed", cost_nanousd=5000, duration_ms=None)
            row = row._replace(usage=None, output_tokens=0, input_tokens=0)
            one.waiting[position] = now, entry.with_row(row)


def _ship(one: Instance, now: int) -> None:
    for position, (ended_at, entry) in enumerate(one.waiting):
        if entry.row.outcome == "crashed":  # found out now
            found_out = entry.row._replace(ended_at=max(entry.row.started_at, now))
            one.waiting[position] = ended_at, entry.with_row(found_out)
    ended = [entry for ended_at, entry in one.waiting if ended_at <= now]
    one.waiting = [(ended_at, entry) for ended_at, entry in one.waiting if ended_at > now]
    one.shipper.ship(Batch(entries=ended), Positions([], []))
    opened = [entry.row.started_at for _, entry in one.waiting]
    if one.life is None:
        one.life = Life(one.name, now - MINUTE_US, now, 0)
    one.life = one.life._replace(until_at=now, complete_until=min([now, *opened]))


def _close(engine: Engine, crew: Sequence[Instance], minute: int, now: int, terms: Terms) -> None:
    """By whoever's turn it is; and by the other one too, which finds nothing to do."""
    with writing(engine).begin() as connection:
        for one in crew:
            if one.life is not None:
                say(connection, one.life)
        known = lives(connection, now)
        keep(connection, POOL, crew[minute % len(crew)].name, now, now + 15_000_000)
    for _ in crew:
        while close_minutes(engine, POOL, terms, final_until(known, now, _MAX_CALL_US)) is not None:
            pass


def call(start_s: float, end_s: float, **fields: Any) -> Entry:
    """One call on the pool, by its seconds of the morning."""
    started_at, ended_at = (MORNING + int(second * 1_000_000) for second in (start_s, end_s))
    intent: Any = {
        "t": "intent", "id": _IDS.new(started_at), "request_id": _IDS.new(started_at), "attempt": 1, "started_at": started_at,
        "upstream": "gpu", "team": "a", "root_session_id": "s", "reserved_nanousd": 9,
    }  # fmt: skip
    end: Any = {
        "t": "settle", "ended_at": ended_at, "status": "settled", "outcome": "ok", "usage": {"input": 10, "output": 10},
        "cost_nanousd": 7, "cost_source": "computed", "usage_source": "provider",
    } | fields  # fmt: skip
    return entry_of(intent, end, "i")


def ship(engine: Engine, *made: Entry) -> None:
    """Into the ledger, the way that entries go."""
    shipper = Shipper(engine, "i", MetricState.load(engine, "i"), lambda: {"gpu": POOL})
    shipper.ship(Batch(entries=list(made)), Positions([], []))


def finish(engine: Engine, until: int, terms: Terms = TERMS) -> None:
    """Long after: everybody has left, and every minute is closed."""
    while close_minutes(engine, POOL, terms, until) is not None:
        pass


def has_worked(engine: Engine, name: str, at: int) -> bool:
    """Put a minute of work into the books of a capacity whose keeper runs; False where it has not begun them yet."""
    minute_at = at - at % MINUTE_US - 30 * MINUTE_US
    totals = {
        "busy": 2 * 10**9, "idle": 10**9, "outside": 10**8, "saved": 10**8, "millijoules": 4 * 10**9,
        "elsewhere": {"openai/gpt-5-mini": 15 * 10**8},
    }  # fmt: skip
    numbers: dict[str, Any] = dict.fromkeys((column.name for column in capacity_minutes.columns), 0)
    numbers |= {"weights": None, "server": None, "levels": None, "energy_source": "estimated"}
    numbers |= {
        "capacity": name, "minute_at": minute_at, "time_us": MINUTE_US, "cost_nanousd": 3 * 10**9, "busy_nanousd": 2 * 10**9,
        "idle_nanousd": 10**9, "busy_us": MINUTE_US // 2, "calls_us": MINUTE_US, "input_tokens": 10**6, "output_tokens": 10**5,
        "cache_read_tokens": 10**5, "input_nanousd": 10**9,
    }  # fmt: skip
    with writing(engine).begin() as connection:
        c = capacities.c
        done = connection.execute(
            sa.update(capacities).where(c.name == name).values(totals=orjson.dumps(totals).decode())
        )
        m = metric_state.c  # what an instance has closed already is of the sums that were
        connection.execute(sa.delete(metric_state).where(m.name == SHARES, m.labels == orjson.dumps([name]).decode()))
        if done.rowcount:
            connection.execute(sa.insert(capacity_minutes).values(**numbers))
    return bool(done.rowcount)


def sums(engine: Engine) -> dict[str, int]:
    """What the minutes and the entries come to."""
    c = capacity_minutes.c
    names = (
        "cost_nanousd",
        "busy_nanousd",
        "idle_nanousd",
        "outside_nanousd",
        "late_nanousd",
        "unobserved_us",
        "time_us",
    )
    with engine.connect() as connection:
        row = connection.execute(sa.select(sa.func.count(), *[sa.func.sum(c[name]) for name in names])).one()
        shared = connection.execute(sa.select(sa.func.sum(entries.c.capacity_nanousd))).scalar()
        open_ones = connection.execute(
            sa.select(sa.func.count()).where(entries.c.capacity.is_not(None), entries.c.capacity_nanousd.is_(None))
        ).scalar()
    values = dict(zip(("minutes", *names), map(int, row), strict=True))
    return values | {"shares_nanousd": int(shared or 0), "open": int(open_ones or 0)}


__all__ = ["DAY_US", "MORNING", "POOL", "TERMS", "Day", "call", "finish", "has_worked", "ship", "simulate", "sums"]
