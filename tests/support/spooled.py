"""Records as a data plane spools them, and a ledger that they are shipped to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ids import Ids
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.entry import Entry
from proxy.ledger.recording.recorder import Recorder
from proxy.ledger.schema import budget_spend, entries, metric_state
from proxy.spool.frames import Records, frame, frames
from proxy.spool.writer import SpoolWriter

IDS = Ids()
AT = 1_795_435_785_000_000


class Counts:
    """Metrics that count what they are told, and keep it only once it is added."""

    def __init__(self) -> None:
        self.entries = 0
        self.refusals: list[tuple[str, str | None]] = []

    def due(self) -> bool:
        return False

    def observe(self) -> Seen:
        return Seen()

    def changed_by(self, seen: Seen) -> list[tuple[str, str, str]]:
        return [("entries", "[]", str(self.entries + seen.entries))]

    def add(self, seen: Seen) -> None:
        self.entries += seen.entries
        self.refusals += seen.refusals

    def reload(self, rows: Iterable[tuple[str, str, str]]) -> None:
        self.entries = next((int(value) for name, _, value in rows if name == "entries"), 0)

    def begin_again(self, connection: Connection) -> None:
        rows = connection.execute(sa.select(metric_state.c.name, metric_state.c.labels, metric_state.c.value)).all()
        self.reload((row[0], row[1], row[2]) for row in rows)


class Seen:
    def __init__(self) -> None:
        self.entries = 0
        self.refusals: list[tuple[str, str | None]] = []

    def observe_entries(self, entries: Sequence[Entry]) -> None:
        self.entries += len(entries)

    def observe_refusal(self, reason: str, budget: str | None) -> None:
        self.refusals.append((reason, budget))

    def observe_tally(self, tally: Mapping[str, Any]) -> None:
        pass


def as_read(payloads: Iterable[bytes]) -> Records:
    """Records as they are read, from a segment's beginning."""
    return frames(b"".join(map(frame, payloads)), 0, 0)[0]


def intent(**fields: Any) -> dict[str, Any]:
    return {
        "t": "intent", "id": IDS.new(AT), "request_id": "r", "attempt": 1, "started_at": AT, "dialect": "openai.chat",
        "operation": "chat", "stream": False, "upstream": "u", "provider": "p", "model_requested": "m", "model": "m", "key": "k",
        "team": "t", "labels": {"plan": "pro"}, "session_id": "s", "session_source": "none", "root_session_id": "s",
        "reserved_nanousd": 1000, "budgets": [["b", "", 0, "usd", 1000]], "client": "other",
    } | fields  # fmt: skip


def settle(of: Mapping[str, Any], cost: int = 400, **fields: Any) -> dict[str, Any]:
    return {
        "t": "settle", "id": of["id"], "ended_at": AT + 5, "status": "settled", "outcome": "ok", "http_status": 200, "model": "m",
        "usage": {"input": 7, "output": 3, "web_search": 2}, "usage_source": "provider", "cost_nanousd": cost,
        "cost_source": "computed", "budgets": [["b", "", 0, "usd", cost]], "flags": [], "cost_lines": [{"unit": "input"}],
    } | fields  # fmt: skip


def whole_intent(**fields: Any) -> dict[str, Any]:
    """As a data plane writes it, in its order."""
    own = {
        "t": "intent", "id": "a", "request_id": "r", "attempt": 1, "started_at": AT, "deadline_at": AT + 60, "session_id": "r",
        "session_source": "none", "root_session_id": "r", "reserved_nanousd": 1000, "budgets": [["b", "", 0, "usd", 1000]],
    }  # fmt: skip
    common = {
        "dialect": "openai.chat", "operation": "chat", "stream": False, "upstream": "u", "provider": "p",
        "model_requested": "m", "model": "m", "key": "k", "key_id": "d1", "team": "t", "user": None, "customer": "c",
        "labels": {"plan": "pro"}, "untrusted_labels": {}, "client": "other", "price_version": "v1",
    }  # fmt: skip
    return own | {name: value for name, value in fields.items() if name not in common} | common | fields


def whole_settle(**fields: Any) -> dict[str, Any]:
    """As a data plane writes it, in its order."""
    own = {
        "t": "settle", "id": "a", "ended_at": AT + 5, "usage": {"input": 7, "web_search": 2, "output": 3},
        "cost_nanousd": 400, "budgets": [["b", "", 0, "usd", 400]], "duration_ms": 5.5, "overhead_ms": 1.5,
        "upstream_request_id": "up", "provider_cost_nanousd": 17,
    }  # fmt: skip
    lines = {"cost_lines": [{"unit": "input", "cost_usd": "0.0000004"}]}
    common = {
        "status": "settled", "outcome": "ok", "http_status": 200, "model": "m2", "service_tier": None,
        "usage_source": "provider", "cost_source": "computed", "flags": ["partial"], "price_version": "v2",
    }  # fmt: skip
    said = own | {name: value for name, value in fields.items() if name not in common | lines} | lines | common
    return said | fields


class Ledger:
    """A ledger in a folder, with a recorder that can be killed (forgotten) and started again."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder / "spool"
        self.engine: Engine = open_ledger(database)
        self.counts = Counts()
        self.start()

    def start(self) -> None:
        self.recorder = Recorder(self.engine, self.folder, instance="i", metrics=self.counts)

    def ship(self) -> None:
        while self.recorder.step():
            pass

    def rows(self) -> list[Mapping[str, Any]]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(entries).order_by(entries.c.id)).mappings())

    def spent(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.sum(budget_spend.c.amount))).scalar() or 0)


def append(writer: SpoolWriter, *records: Mapping[str, Any]) -> None:
    for record in records:
        writer.append(orjson.dumps(record))
