"""Calls of which a test says what they cost: entries for a ledger, one after the other."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

from proxy.ids import Ids
from proxy.ledger.entries.entry import Entry, entry_of
from tests.support.made_up import INSTANCE

_ids, _numbers = Ids(), itertools.count()
NANO = 1_000_000_000


def bought(at: int, usd: str | None, usage: dict[str, Any] | None = None, **named: Any) -> Entry:
    """One call at `at` (epoch microseconds) that cost so much (None: unpriced); `named`: its customer, model, labels, …."""
    cost = None if usd is None else int(Decimal(usd) * NANO)
    number = next(_numbers)
    usage = {"input": 1000, "output": 100} if usage is None else usage
    intent = {
        "t": "intent", "id": _ids.new(at), "request_id": f"bought-{number}", "attempt": 1, "started_at": at,
        "dialect": "openai", "operation": "chat", "stream": False, "upstream": "up", "provider": "openai",
        "model_requested": "small", "model": "small", "key": "app", "key_id": "0" * 64, "team": "shop", "user": None,
        "customer": None, "labels": {}, "untrusted_labels": {}, "session_id": f"s-{number}", "session_source": "none",
        "parent_session_id": None, "root_session_id": f"s-{number}", "agent": None, "client": "other",
        "reserved_nanousd": cost, "budgets": [["company", "", 0, "usd", cost or 0]], "price_version": "v",
    } | named  # fmt: skip
    end = {
        "t": "settle", "id": intent["id"], "ended_at": at + 1_000_000, "status": "settled", "outcome": "ok", "http_status": 200,
        "model": intent["model"], "usage": usage, "usage_source": "provider", "cost_nanousd": cost, "cost_source": "computed",
        "flags": [], "budgets": intent["budgets"], "duration_ms": 10.0, "overhead_ms": 0.1, "price_version": "v",
        "service_tier": named.get("service_tier"),
        "cost_lines": [] if usd is None else [{"unit": "request", "quantity": "1", "price_usd": usd, "per": 1, "cost_usd": usd}],
    }  # fmt: skip
    return entry_of(intent, end, INSTANCE)


def with_row(entry: Entry, **columns: Any) -> Entry:
    """The entry with other values in these columns."""
    return entry.with_row(entry.row._replace(**columns))
