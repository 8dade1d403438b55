"""From spool records to ledger rows. Pure: records in, rows and counts out; what it remembers are the open INTENTs.

A row is a dict with every column of `entries`, in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.ledger.schema import TOKEN_COLUMNS
from proxy.ledger.spool import Position, Record

Row = dict[str, Any]

_MAX_INTEGER = 2**63 - 1


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
        self._waiting: set[str] = set()

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
            self._open[value["id"]] = (value, record.start_position)
            return
        known = record.end_position <= self._done
        if kind == "waiting":
            self._waiting.add(value["id"])
            return
        if kind == "reserved":
            self._reserved_after_all(value)
            return
        if kind == "tally":
            if not known:
                batch.tallies.append(value)
        elif kind == "refused":
            self._open.pop(value["id"], None)
            self._waiting.discard(value["id"])
            if not known:
                batch.refusals.append((value["reason"], value.get("budget")))
        elif kind in ("settle", "void"):
            intent, _ = self._open.pop(value["id"], (None, None))
            if not known and intent is not None:
                row = entry_row(intent, value, self._instance)
                batch.rows.append(row)
                batch.timings.append((row, value))

    def _reserved_after_all(self, value: Mapping[str, Any]) -> None:
        """The reservation stands after a wait, or is smaller than the INTENT says."""
        self._waiting.discard(value["id"])
        intent, start = self._open.get(value["id"], (None, None))
        if intent is not None and start is not None:
            smaller = {name: value[name] for name in ("reserved_nanousd", "budgets")}
            self._open[value["id"]] = ({**intent, **smaller}, start)

    def crashed(self, batch: Batch, ended_at: int) -> None:
        """The run is over. Its open INTENTs may have been billed, so each is charged at its ceiling, `unconfirmed`; but
        one that was waiting for room had reserved nothing and sent nothing."""
        for intent, _ in self._open.values():
            if intent["id"] in self._waiting:
                end = {"t": "void", "id": intent["id"], "ended_at": ended_at, "outcome": "crashed"}
                batch.rows.append(entry_row(intent, end, self._instance))
                continue
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
        self._waiting.clear()


def entry_row(intent: Mapping[str, Any], end: Mapping[str, Any], instance: str) -> Row:
    """The ledger row of one attempt, in the order of the table's columns. Raises KeyError where a record lacks its core."""
    void = end["t"] == "void"
    usage = end.get("usage") or {}
    known, rest = _split_usage(usage)
    told = intent.get
    seen = end.get
    return {
        "id": intent["id"],
        "kind": "attempt",
        "corrects_id": None,
        "request_id": intent["request_id"],
        "attempt": intent["attempt"],
        "started_at": intent["started_at"],
        "ended_at": end["ended_at"],
        "status": "void" if void else end["status"],
        "outcome": end["outcome"],
        "http_status": seen("http_status"),
        "dialect": told("dialect"),
        "operation": told("operation"),
        "stream": told("stream"),
        "upstream": told("upstream"),
        "provider": told("provider"),
        "model_requested": told("model_requested"),
        "model": seen("model") or told("model"),
        "service_tier": seen("service_tier"),
        "key": told("key"),
        "key_id": told("key_id"),
        "team": told("team"),
        "user": told("user"),
        "customer": told("customer"),
        "labels": _json(told("labels")),
        "untrusted_labels": _json(told("untrusted_labels")),
        "session_id": told("session_id"),
        "session_source": told("session_source"),
        "parent_session_id": told("parent_session_id"),
        "root_session_id": told("root_session_id"),
        "agent": told("agent"),
        "input_tokens": known("input", 0),
        "cache_read_tokens": known("cache_read", 0),
        "cache_write_5m_tokens": known("cache_write_5m", 0),
        "cache_write_30m_tokens": known("cache_write_30m", 0),
        "cache_write_1h_tokens": known("cache_write_1h", 0),
        "output_tokens": known("output", 0),
        "reasoning_tokens": known("reasoning", 0),
        "usage": _json(rest),
        "told_usage": _json(seen("told_usage")),
        "usage_source": seen("usage_source", "none"),
        "cost_nanousd": 0 if void else seen("cost_nanousd"),
        "cost_source": seen("cost_source", "computed"),
        "cost_lines": _json(seen("cost_lines")),
        "flags": _json(seen("flags")),
        "price_version": seen("price_version") or told("price_version"),
        "provider_cost_nanousd": seen("provider_cost_nanousd"),
        "reserved_nanousd": seen("reserved_nanousd", told("reserved_nanousd")),
        "budgets": None if void else _json(seen("budgets", told("budgets"))),
        "ttft_ms": seen("ttft_ms"),
        "duration_ms": seen("duration_ms"),
        "overhead_ms": seen("overhead_ms"),
        "upstream_request_id": seen("upstream_request_id"),
        "client": told("client"),
        "instance": instance,
    }


def _split_usage(usage: Mapping[str, Any]) -> tuple[Callable[..., int], dict[str, Any]]:
    """A getter of the units that have a column, and the others."""
    for unit, quantity in usage.items():
        if unit not in TOKEN_COLUMNS or type(quantity) is not int:
            known = {unit: q for unit, q in usage.items() if unit in TOKEN_COLUMNS and type(q) is int}
            return known.get, {unit: q for unit, q in usage.items() if unit not in known}
    return usage.get, {}


def _json(value: Any) -> str | None:
    return orjson.dumps(value).decode() if value else None


def safe(row: Row) -> Row:
    """The row as any database takes it: no NUL in text, integers within 64 bits."""
    row = dict(row)
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
