"""From spool records to ledger rows. Pure: records in, rows and counts out; what it remembers are the open INTENTs.

A row is a dict with every column of `entries`. Strings are made safe for every database (no NUL), integers for 64 bits:
an odd value in one record must never take its neighbours with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.ledger.schema import TOKEN_COLUMNS, entries
from proxy.ledger.spool import Position, Record

Row = dict[str, Any]

_MAX_INTEGER = 2**63 - 1
_FROM_INTENT = (
    "request_id", "attempt", "started_at", "dialect", "operation", "stream", "upstream", "provider", "model_requested",
    "key", "key_id", "team", "user", "customer", "session_id", "session_source", "parent_session_id", "root_session_id",
    "agent", "client",
)  # fmt: skip
_FROM_END = (
    "ended_at", "status", "outcome", "http_status", "service_tier", "usage_source", "cost_nanousd", "cost_source",
    "provider_cost_nanousd", "ttft_ms", "duration_ms", "overhead_ms", "upstream_request_id",
)  # fmt: skip
_EMPTY: Row = {column.name: None for column in entries.columns} | dict.fromkeys(TOKEN_COLUMNS.values(), 0)


@dataclass(slots=True)
class Batch:
    """What some records came to: rows for the ledger, and the counts that have no row."""

    rows: list[Row] = field(default_factory=list)
    refusals: list[tuple[str, str | None]] = field(default_factory=list)
    tallies: list[Mapping[str, Any]] = field(default_factory=list)
    timings: list[tuple[Row, Mapping[str, Any]]] = field(default_factory=list)
    unreadable: int = 0

    def __bool__(self) -> bool:
        return bool(self.rows or self.refusals or self.tallies)


class Pairing:
    """Joins each INTENT of one run to its end.

    done: ends before this position are in the ledger already (a restart reads them again to pair them, not to count them).
    """

    def __init__(self, instance: str, done: Position) -> None:
        self._instance = instance
        self._done = done
        self._open: dict[str, tuple[Mapping[str, Any], Position]] = {}

    def resume_at(self, behind: Position) -> Position:
        """Where a restart has to read from: the earliest open INTENT, else `behind`."""
        for _, start in self._open.values():
            return start
        return behind

    @property
    def open_intents(self) -> int:
        return len(self._open)

    def take(self, records: Iterable[Record], batch: Batch) -> None:
        for record in records:
            try:
                value = orjson.loads(record.payload)
                self._take(value, record, batch)
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError):
                batch.unreadable += 1

    def _take(self, value: Mapping[str, Any], record: Record, batch: Batch) -> None:
        kind = value["t"]
        if kind == "intent":
            self._open[value["id"]] = (value, record.start)
            return
        known = record.end <= self._done
        if kind == "tally":
            if not known:
                batch.tallies.append(value)
        elif kind == "refused":
            self._open.pop(value["id"], None)
            if not known:
                batch.refusals.append((value["reason"], value.get("budget")))
        elif kind in ("settle", "void"):
            intent, _ = self._open.pop(value["id"], (None, None))
            if not known and intent is not None:
                row = entry_row(intent, value, self._instance)
                batch.rows.append(row)
                batch.timings.append((row, value))

    def crashed(self, batch: Batch, ended_at: int) -> None:
        """The run is over: its open INTENTs may have been billed, so each is charged at its ceiling, `unconfirmed`."""
        for intent, _ in self._open.values():
            end = {
                "t": "settle",
                "id": intent["id"],
                "ended_at": ended_at,
                "status": "unconfirmed",
                "outcome": "crashed",
                "cost_nanousd": intent.get("reserved_nanousd"),
                "cost_source": "computed",
                "usage_source": "none",
            }
            row = entry_row(intent, end, self._instance)
            batch.rows.append(row)
            batch.timings.append((row, end))
        self._open.clear()


def entry_row(intent: Mapping[str, Any], end: Mapping[str, Any], instance: str) -> Row:
    """The ledger row of one attempt. Raises KeyError where a record lacks what every record has."""
    row = _EMPTY.copy()
    row["id"] = intent["id"]
    row["kind"] = "attempt"
    row["instance"] = instance
    for name in _FROM_INTENT:
        row[name] = intent.get(name)
    for name in _FROM_END:
        row[name] = end.get(name)
    row["model"] = end.get("model") or intent["model"]
    row["price_version"] = end.get("price_version") or intent.get("price_version")
    row["reserved_nanousd"] = end.get("reserved_nanousd", intent.get("reserved_nanousd"))
    row["budgets"] = _json(end.get("budgets", intent.get("budgets")))
    row["labels"] = _json(intent.get("labels"))
    row["untrusted_labels"] = _json(intent.get("untrusted_labels"))
    row["cost_lines"] = _json(end.get("cost_lines"))
    row["flags"] = _json(end.get("flags"))
    if end["t"] == "void":
        row |= {"status": "void", "cost_nanousd": 0, "usage_source": "none", "budgets": None}
    _put_usage(row, end.get("usage") or {})
    return _safe(row)


def _put_usage(row: Row, usage: Mapping[str, Any]) -> None:
    rest = {}
    for unit, quantity in usage.items():
        column = TOKEN_COLUMNS.get(unit)
        if column is not None and type(quantity) is int and quantity <= _MAX_INTEGER:
            row[column] = quantity
        else:
            rest[unit] = quantity
    if rest:
        row["usage"] = _json(rest)


def _json(value: Any) -> str | None:
    return orjson.dumps(value).decode() if value else None


def _safe(row: Row) -> Row:
    for name, value in row.items():
        if isinstance(value, str):
            if "\x00" in value:
                row[name] = value.replace("\x00", "\ufffd")
        elif type(value) is int and not -_MAX_INTEGER <= value <= _MAX_INTEGER:
            row[name] = _MAX_INTEGER if value > 0 else -_MAX_INTEGER
    return row


def budget_amounts(rows: Iterable[Row]) -> dict[tuple[str, str, int, str], int]:
    """What the rows add to each budget's counter: (name, group, window start, measure) -> amount."""
    amounts: dict[tuple[str, str, int, str], int] = {}
    for row in rows:
        if row["budgets"]:
            for name, group, window_start, measure, amount in orjson.loads(row["budgets"]):
                key = (name, group, window_start, measure)
                amounts[key] = amounts.get(key, 0) + amount
    return amounts
