"""Power loss: a real spool is cut at any byte, and what the recorder makes of it is compared with a reading of our own.

What `fsync` mode had promised when the lights went out is all there; in `write` mode what had not reached the disk may be
gone, and nothing else. No entry is missing for what is on disk, none is there twice, none costs anything else.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy.engine import Connection

from proxy.ledger.database import open_ledger
from proxy.ledger.recording.recorder import Recorder
from proxy.spool.writer import SpoolWriter

from .evidence import Entry, read_ledger, spool_records


class NoMetrics:
    """A recorder needs somewhere to count; nobody looks here."""

    def observe(self) -> NoMetrics:
        return self

    def changed_by(self, observed: object) -> list[tuple[str, str, str]]:
        return []

    def add(self, observed: object) -> None: ...

    def reload(self, rows: Iterable[tuple[str, str, str]]) -> None: ...

    def begin_again(self, connection: Connection) -> None: ...

    def observe_entries(self, entries: object) -> None: ...

    def observe_refusal(self, reason: str, budget: str | None) -> None: ...

    def observe_tally(self, tally: Mapping[str, Any]) -> None: ...


@dataclass
class Acknowledged:
    """A spool as its writer left it, and how much of it each `append` had promised by then."""

    folder: Path
    segment: Path
    edges: list[int] = field(default_factory=list)


def write_spool(folder: Path, seed: int, calls: int, mode: str) -> Acknowledged:
    """Some calls' records, woven into each other as they are when many calls run at once."""
    rng = random.Random(seed)
    writer = SpoolWriter(folder, "data-0", mode=mode)
    (segment,) = folder.glob("*.spool")
    done = Acknowledged(folder, segment, [segment.stat().st_size])
    waiting: list[list[bytes]] = [_call(rng, number) for number in range(calls)]
    running: list[list[bytes]] = []
    while waiting or running:
        if waiting and (len(running) < 8 or not running):
            running.append(waiting.pop())
        one = rng.choice(running)
        writer.append(one.pop(0))
        done.edges.append(segment.stat().st_size)
        if not one:
            running.remove(one)
    writer.close()
    return done


def _call(rng: random.Random, number: int) -> list[bytes]:
    attempt = f"01a20000-0000-7000-8000-{number:012d}"
    ceiling, cost = rng.randint(1000, 9000), rng.randint(0, 900)
    intent = {
        "t": "intent", "id": attempt, "request_id": attempt, "attempt": 1, "started_at": 1_795_000_000_000_000 + number,
        "dialect": "openai.chat", "operation": "chat", "stream": False, "upstream": "up", "provider": "torture",
        "model": "tm-plain", "key": "k", "reserved_nanousd": ceiling, "price_version": "1",
        "budgets": [["company", "", 0, "usd", ceiling]], "agent": rng.choice([None, "a" * rng.randint(1, 300)]),
    }  # fmt: skip
    end = {
        "t": "settle", "id": attempt, "ended_at": 1_795_000_000_500_000 + number, "status": "settled", "outcome": "ok",
        "usage": {"input": 10}, "usage_source": "provider", "cost_nanousd": cost, "cost_source": "computed",
        "budgets": [["company", "", 0, "usd", cost]],
    }  # fmt: skip
    kind = rng.random()
    if kind < 0.1:
        end = {"t": "refused", "id": attempt, "at": 1, "reason": "budget_exceeded", "budget": "company"}
    elif kind < 0.2:
        end = {"t": "void", "id": attempt, "ended_at": 1, "outcome": "upstream_unreachable"}
    return [orjson.dumps(intent), orjson.dumps(end)]


def expected(records: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, int]]:
    """By our own reading: attempt -> status and cost."""
    owed: dict[str, tuple[str, int]] = {}
    for record in records:
        if record["t"] == "intent":
            owed[record["id"]] = ("unconfirmed", record["reserved_nanousd"])
        elif record["t"] == "settle":
            owed[record["id"]] = ("settled", record["cost_nanousd"])
        elif record["t"] == "void":
            owed[record["id"]] = ("void", 0)
        elif record["t"] == "refused":
            owed.pop(record["id"], None)
    return owed


def shipped(folder: Path, database: Path) -> list[Entry]:
    """What the recorder makes of a spool whose writer is gone."""
    engine = open_ledger(f"sqlite:///{database}")
    recorder = Recorder(engine, folder, instance="i", metrics=NoMetrics())
    while recorder.step():
        pass
    engine.dispose()
    return read_ledger(f"sqlite:///{database}")


@dataclass
class Losses:
    """Over all cuts: what was wrong, and how many attempts there were to lose."""

    cuts: int = 0
    attempts: int = 0
    missing: int = 0
    double: int = 0
    different: int = 0
    promised_and_lost: int = 0


def cut(folder: Path, *, cuts: int, seed: int = 1, mode: str = "write") -> Losses:
    """Cut copies of a spool: `write` mode anywhere, `fsync` mode behind what had been promised at a random moment."""
    rng = random.Random(seed)
    made = write_spool(folder / "spool", seed, 40, mode)
    empty = folder / "empty.db"
    open_ledger(f"sqlite:///{empty}").dispose()
    whole = made.segment.read_bytes()
    losses = Losses()
    for number in range(cuts):
        copy, database = folder / f"cut-{number}", folder / f"cut-{number}.db"
        copy.mkdir()
        shutil.copy(empty, database)
        edge = rng.randrange(len(made.edges))
        promised = made.edges[edge] if mode == "fsync" else 0
        last = made.edges[min(edge + 1, len(made.edges) - 1)] if mode == "fsync" else len(whole)
        at = rng.randint(promised, last)
        (copy / made.segment.name).write_bytes(whole[:at])
        owed = expected(spool_records(copy))
        vowed = expected(orjson.loads(r) for r in _payloads(whole[:promised]))
        entries = shipped(copy, database)
        found = {entry.id: (entry.status, entry.cost_nano) for entry in entries}
        losses.cuts += 1
        losses.attempts += len(owed)
        losses.missing += len(owed.keys() - found.keys())
        losses.double += len(entries) - len(found) + len(found.keys() - owed.keys())
        losses.different += sum(found.get(attempt) != what for attempt, what in owed.items() if attempt in found)
        settled = Counter(attempt for attempt, what in vowed.items() if what[0] != "unconfirmed")
        losses.promised_and_lost += sum(found.get(attempt) != vowed[attempt] for attempt in settled)
        shutil.rmtree(copy)
        for left in folder.glob(f"cut-{number}.db*"):
            left.unlink()
    return losses


def _payloads(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        found.append(data[at + 8 : at + 8 + length])
        at += 8 + length
    return found
