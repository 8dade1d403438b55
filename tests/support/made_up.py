"""Entries made up from a seed: many of everything that a ledger can hold, in the times that a test asks for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from sqlalchemy.engine import Engine

from proxy.control.metrics.series import MetricState
from proxy.ids import Ids, first_id
from proxy.ledger.entries.corrections import correction_of
from proxy.ledger.entries.entry import Entry, entry_of
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.shipping import Positions, Shipper

HOUR_US = 3_600_000_000
START = 1_795_392_000_000_000  # 2026-11-23, midnight
INSTANCE = "made-up"

_PRICES = {"small": ("0.15", "0.60"), "big": ("2.5", "10"), "odd": ("0.0731", "0.4099")}
_KEYS = [("checkout", "payments"), ("search", "payments"), ("intern", "research"), ("nobody", None), ("empty", "")]


def fill(engine: Engine, made: list[Entry], *, batch: int = 100, instance: str = INSTANCE) -> None:
    """Ship them as a recorder would, some at a time."""
    shipper = Shipper(engine, instance, MetricState.load(engine, instance))
    for first in range(0, len(made), batch):
        shipper.ship(Batch(entries=made[first : first + batch]), Positions([], []))


def made_up(count: int, *, seed: int = 1, hours: int = 60, start: int = START) -> list[Entry]:
    """Entries of `hours` hours, in the order in which they end; some are corrections of earlier ones."""
    chance = random.Random(seed)
    return list(_made_up(count, chance, hours, start))


def _made_up(count: int, chance: random.Random, hours: int, start: int) -> Iterator[Entry]:
    ids = Ids()
    moments = sorted(start + chance.randrange(hours * HOUR_US) for _ in range(count))
    for number, at in enumerate(moments):
        if chance.random() < 0.1:
            at -= at % HOUR_US  # on the edge  # noqa: PLW2901
        intent, end = _call(number, at, chance, ids)
        if chance.random() < 0.05:
            late = entry_of(intent, end, INSTANCE)
            charged = entry_of(intent, _at_its_ceiling(intent, end), INSTANCE)
            yield charged
            correction = correction_of(late, charged.row._asdict())
            if correction is not None:
                yield correction
        else:
            yield entry_of(intent, end, INSTANCE)


def _session(number: int) -> str:
    """Some have a name of a client's, some an id."""
    if number % 3 != 2:
        return f"session-{number}"
    return f"{first_id(START + number * HOUR_US)}-7000-8000-{number:012}"


def _at_its_ceiling(intent: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    return {
        "t": "settle", "id": intent["id"], "ended_at": end["ended_at"], "status": "unconfirmed", "outcome": "expired",
        "cost_nanousd": intent["reserved_nanousd"], "cost_source": "computed", "usage_source": "none",
    }  # fmt: skip


def _call(number: int, at: int, chance: random.Random, ids: Ids) -> tuple[dict[str, Any], dict[str, Any]]:
    key, team = chance.choice(_KEYS)
    model = chance.choice([*_PRICES, "free"])
    session = _session(chance.randrange(1 + number // 5))
    usage: dict[str, Any] = {"input": chance.randrange(5000), "output": chance.randrange(900)}
    if chance.random() < 0.3:
        usage |= chance.choice([
            {"cache_read": 2048}, {"reasoning": 77, "cache_write_5m": 10}, {"web_search": 2}, {"audio_second": "1.25"},
            {"audio_second": "0.3", "image": 1}, {"citation": 12}, {"gpu_second": "0.000123"},
        ])  # fmt: skip
    usage = {unit: quantity for unit, quantity in usage.items() if quantity}
    prices = _PRICES.get(model)
    lines = [
        {"unit": unit, "quantity": str(usage[unit]), "price_usd": price, "per": 1_000_000,
         "cost_usd": str(Decimal(price) * usage[unit] / 1_000_000)}
        for unit, price in zip(("input", "output"), prices or (), strict=False) if unit in usage
    ]  # fmt: skip
    exact = sum((Decimal(line["cost_usd"]) for line in lines), Decimal())
    cost = int((exact * 1_000_000_000).to_integral_value()) if prices else None
    measured = [["company", "", 0, "usd", cost or 0], ["each-session", session, 0, "usd", cost or 0]]
    measured.append(["hourly", key, at // HOUR_US * 3600, "requests", 1])
    intent = {
        "t": "intent", "id": ids.new(at), "request_id": f"r-{number}", "attempt": 1, "started_at": at, "dialect": "openai.chat",
        "operation": "chat", "stream": chance.random() < 0.5, "upstream": chance.choice(["a", "b"]), "provider": "p",
        "model_requested": model, "model": model, "key": key, "key_id": "0" * 64, "team": team,
        "user": chance.choice([None, "ida", "tom"]), "customer": chance.choice([None, "acme", "globex", "ümlaut"]),
        "labels": chance.choice([{}, {"plan": "pro"}, {"plan": "free", "a.b-c": "x"}]), "untrusted_labels": {},
        "session_id": session, "session_source": "header", "parent_session_id": None, "root_session_id": session,
        "agent": chance.choice([None, "claude-code"]), "client": "other", "reserved_nanousd": (cost or 0) + 5000,
        "budgets": [[*item[:4], item[4] + 5000 if item[3] == "usd" else 1] for item in measured], "price_version": "v",
    }  # fmt: skip
    if chance.random() < 0.03:
        return intent, {"t": "void", "id": intent["id"], "ended_at": at + 10, "outcome": "upstream_unreachable"}
    end = {
        "t": "settle", "id": intent["id"], "ended_at": at + chance.randrange(1, 90_000_000), "status": "settled",
        "outcome": chance.choice(["ok", "ok", "ok", "client_disconnected"]), "http_status": 200, "model": model,
        "usage": usage, "usage_source": "provider", "cost_nanousd": cost, "cost_source": "computed", "flags": [],
        "budgets": measured, "cost_lines": lines, "duration_ms": 12.5, "overhead_ms": 0.4, "price_version": "v",
    }  # fmt: skip
    return intent, end
