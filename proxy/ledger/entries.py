"""From spool records to ledger rows. Pure: records in, rows and counts out; what it remembers are the open INTENTs.

A row is a dict with every column of `entries`, in their order. Nothing that a record may say can raise beyond `Pairing`.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from proxy.ledger.schema import TOKEN_COLUMNS
from proxy.ledger.sound import MOST, BudgetAmount, Row, bounded_amount, is_amount, is_sound, json_text, repaired
from proxy.spool.writer import Position, Record


class Entry(NamedTuple):
    """One row for the ledger, with what follows from it: the record that ended it, and what it adds to the budgets."""

    row: Row
    end: Mapping[str, Any]
    budgets: Sequence[BudgetAmount]


class RefusedCall(NamedTuple):
    """An INTENT that a refusal closed: why, by which counter, of which session."""

    reason: str
    budget: str | None
    group: str
    window_start: int
    session_id: str


@dataclass(slots=True)
class Batch:
    """What some records came to: entries for the ledger, the counts that have no row, and what nobody could read."""

    entries: list[Entry] = field(default_factory=list)
    refusals: list[RefusedCall] = field(default_factory=list)
    tallies: list[Mapping[str, Any]] = field(default_factory=list)
    unreadable: list[Record] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.entries or self.refusals or self.tallies or self.unreadable)


class Pairing:
    """Joins each INTENT of one run to its end.

    done: ends before this position are in the ledger already (a restart reads them again to pair them, not to count them).
    lately: how many of the last ends are remembered.
    """

    def __init__(self, instance: str, done: Position, *, lately: int = 0) -> None:
        self._instance = instance
        self._done = done
        self._open: dict[str, tuple[Mapping[str, Any], Position]] = {}
        self._waiting: set[str] = set()
        self._expired: set[str] = set()
        self.lately: deque[Entry] = deque(maxlen=lately)

    def resume_at(self, behind: Position) -> Position:
        """Where a restart has to read from: the earliest open INTENT, else `behind`."""
        for _, start in self._open.values():
            return start
        return behind

    @property
    def open_intents(self) -> int:
        return len(self._open)

    def take(self, records: Iterable[Record], batch: Batch) -> None:
        """Never raises: a record that makes no sense is kept in `batch.unreadable`, and its attempt is charged all the same."""
        for record in records:
            value = None
            try:
                value = orjson.loads(record.payload)
                self._take(value, record, batch)
            except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError, ValueError):
                if record.end_position > self._done:  # else: the end of an attempt that began before where we resumed
                    batch.unreadable.append(record)
                    self._end_unread(value, batch)

    def _take(self, value: Mapping[str, Any], record: Record, batch: Batch) -> None:
        kind, known = value["t"], record.end_position <= self._done
        if kind == "intent":
            self._open[value["id"]] = (value, record.start_position)
        elif kind in ("settle", "void"):
            intent, _ = self._open[value["id"]]
            entry = entry_of(intent, value, self._instance)
            self._close(value["id"])
            self.lately.append(entry)
            if not known:
                batch.entries.append(entry)
        elif kind == "waiting":
            self._waiting.add(value["id"])
        elif kind == "reserved":
            self._reserved_after_all(value)
        elif kind == "expired":
            if value["id"] in self._open:  # else another instance's
                self._expired.add(value["id"])
            if not known:
                intent = value.get("intent") or self._open[value["id"]][0]
                batch.entries.append(self._at_its_ceiling(intent, "expired", value["at"], value.get("epoch")))
        elif kind == "refused":
            intent, _ = self._open.get(value["id"], ({}, None))
            self._close(value["id"])
            if not known:
                batch.refusals.append(_refused(value, intent))
        elif kind == "tally":
            if not known:
                batch.tallies.append(_sound_tally(value))
        elif kind not in ("open", "epoch"):
            raise ValueError(kind)

    def _close(self, attempt_id: str) -> None:
        self._open.pop(attempt_id, None)
        self._waiting.discard(attempt_id)
        self._expired.discard(attempt_id)

    def _reserved_after_all(self, value: Mapping[str, Any]) -> None:
        """The reservation stands after a wait, or is smaller than the INTENT says."""
        self._waiting.discard(value["id"])
        intent, start = self._open[value["id"]]
        smaller = {name: value[name] for name in ("reserved_nanousd", "budgets")}
        self._open[value["id"]] = ({**intent, **smaller}, start)

    def _end_unread(self, value: Any, batch: Batch) -> None:
        """The end of an attempt could not be read: it may have been billed, and is charged at its ceiling."""
        attempt_id = value.get("id") if isinstance(value, dict) and value.get("t") in ("settle", "void") else None
        if not isinstance(attempt_id, str) or attempt_id not in self._open:
            return
        intent, _ = self._open[attempt_id]
        self._close(attempt_id)
        batch.entries.append(self._at_its_ceiling(intent, "cut", intent.get("started_at")))

    def crashed(self, batch: Batch, ended_at: int) -> None:
        """The run is over. Its open INTENTs may have been billed, so each is charged at its ceiling, `unconfirmed`; but
        one that was waiting for room had reserved nothing and sent nothing, and an expired one is charged already."""
        for attempt_id, (intent, _) in self._open.items():
            if attempt_id in self._waiting:
                void = {"t": "void", "id": attempt_id, "ended_at": ended_at, "outcome": "crashed"}
                batch.entries.append(entry_of(intent, void, self._instance))
            elif attempt_id not in self._expired:
                batch.entries.append(self._at_its_ceiling(intent, "crashed", ended_at))
        self._open.clear()
        self._waiting.clear()
        self._expired.clear()

    def _at_its_ceiling(self, intent: Mapping[str, Any], outcome: str, ended_at: Any, epoch: Any = None) -> Entry:
        end = {
            "t": "settle",
            "id": intent["id"],
            "ended_at": ended_at,
            "status": "unconfirmed",
            "outcome": outcome,
            "cost_nanousd": intent.get("reserved_nanousd"),
            "cost_source": "computed",
            "usage_source": "none",
            "epoch": epoch,
        }
        return entry_of(intent, end, self._instance)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _refused(value: Mapping[str, Any], intent: Mapping[str, Any]) -> RefusedCall:
    return RefusedCall(
        _text(value["reason"]),
        _text_or_none(value.get("budget")),
        _text(value.get("group") or ""),
        operator.index(value.get("window_start") or 0),
        _text(intent.get("root_session_id") or ""),
    )


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _sound_tally(value: Mapping[str, Any]) -> Mapping[str, Any]:
    for reason, budget, count in value["refusals"]:
        _text(reason), _text_or_none(budget), operator.index(count)
    for budget, count in value["would_refuse"]:
        _text(budget), operator.index(count)
    return value


def entry_of(intent: Mapping[str, Any], end: Mapping[str, Any], instance: str) -> Entry:
    """The entry of one attempt. What a column or a counter cannot hold is repaired, and flagged `unreadable_record`."""
    row = entry_row(intent, end, instance)
    told: Any = () if row["status"] == "void" else end.get("budgets", intent.get("budgets")) or ()
    budgets = list(told) if isinstance(told, list | tuple) else [told]
    sound = [bounded_amount(item) for item in budgets if is_amount(item)]
    if sound == budgets and is_sound(row):
        return Entry(row, end, sound)
    return Entry(repaired(row, sound), end, sound)


def entry_row(intent: Mapping[str, Any], end: Mapping[str, Any], instance: str) -> Row:
    """The ledger row of one attempt, in the order of the table's columns; None where a record does not say."""
    void = end["t"] == "void"
    usage = end.get("usage") or {}
    known, rest = _split_usage(usage)
    told = intent.get
    seen = end.get
    return {
        "id": intent["id"],
        "kind": "attempt",
        "corrects_id": None,
        "request_id": told("request_id"),
        "attempt": told("attempt"),
        "started_at": told("started_at"),
        "ended_at": seen("ended_at"),
        "status": "void" if void else seen("status"),
        "outcome": seen("outcome"),
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
        "labels": json_text(told("labels")),
        "untrusted_labels": json_text(told("untrusted_labels")),
        "session_id": told("session_id"),
        "session_source": told("session_source"),
        "parent_session_id": told("parent_session_id"),
        "root_session_id": told("root_session_id"),
        "agent": told("agent"),
        "parent_agent": told("parent_agent"),
        "input_tokens": known("input", 0),
        "cache_read_tokens": known("cache_read", 0),
        "cache_write_5m_tokens": known("cache_write_5m", 0),
        "cache_write_30m_tokens": known("cache_write_30m", 0),
        "cache_write_1h_tokens": known("cache_write_1h", 0),
        "output_tokens": known("output", 0),
        "reasoning_tokens": known("reasoning", 0),
        "usage": json_text(rest),
        "told_usage": json_text(seen("told_usage")),
        "usage_source": seen("usage_source", "none"),
        "cost_nanousd": 0 if void else seen("cost_nanousd"),
        "cost_source": seen("cost_source", "computed"),
        "cost_lines": json_text(seen("cost_lines")),
        "flags": json_text(seen("flags")),
        "price_version": seen("price_version") or told("price_version"),
        "provider_cost_nanousd": seen("provider_cost_nanousd"),
        "reserved_nanousd": seen("reserved_nanousd", told("reserved_nanousd")),
        "budgets": None if void else json_text(seen("budgets", told("budgets"))),
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
        if unit not in TOKEN_COLUMNS or type(quantity) is not int or not 0 <= quantity <= MOST:
            known = {u: q for u, q in usage.items() if u in TOKEN_COLUMNS and type(q) is int and 0 <= q <= MOST}
            return known.get, {unit: q for unit, q in usage.items() if unit not in known}
    return usage.get, {}


def budget_amounts(shipped: Iterable[Entry]) -> dict[tuple[str, str, int, str], int]:
    """What the entries add to each budget's counter: (name, group, window start, measure) -> amount."""
    amounts: dict[tuple[str, str, int, str], int] = {}
    for entry in shipped:
        for name, group, window_start, measure, amount in entry.budgets:
            key = (name, group, window_start, measure)
            amounts[key] = amounts.get(key, 0) + amount
    return amounts
