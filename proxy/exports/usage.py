"""What an entry says to others: one shape, which every sink writes in its own words. Pure.

Amounts are exact decimals as text, times RFC 3339, units numbers. What a client says of itself (`untrusted_labels`), keys'
digests and prompts are never in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from pricing.units import INPUT_SIDE, UNITS
from proxy.ledger.beside.export_log import CAPACITY, Item
from proxy.ledger.entries.corrections import NOW_PRICED
from proxy.ledger.entries.row_checks import MOST
from proxy.ledger.schema import TOKEN_COLUMNS
from proxy.money import usd_text
from proxy.times import rfc3339

NOBODY = "(none)"
"""Who pays for what has no payer; as groups of budgets."""

_PLAIN = (
    "request_id", "attempt", "status", "outcome", "http_status", "operation", "dialect", "upstream", "provider",
    "model_requested", "model", "service_tier", "key", "team", "user", "customer", "session_id", "root_session_id", "agent",
    "client", "usage_source", "cost_source", "price_version", "ttft_ms", "duration_ms", "upstream_request_id",
)  # fmt: skip

Number = int | float


def units_of(row: Mapping[str, Any]) -> dict[str, Number]:
    """What was used, by unit; those that are 0 are left out. Token units are disjoint: `input` is without what was cached."""
    units: dict[str, Number] = {unit: row[column] for unit, column in TOKEN_COLUMNS.items() if row[column]}
    for unit, amount in orjson.loads(row["usage"] or "{}").items():
        if unit != NOW_PRICED and (number := _number(amount)):
            units[unit] = number
    return units


def _number(amount: Any) -> Number | None:
    """The number; None for what is not a number, or too large for sums or for a receiver's JSON."""
    if isinstance(amount, int | float) and not isinstance(amount, bool):
        return amount if -MOST <= amount <= MOST else None
    try:
        exact = Decimal(str(amount))
    except InvalidOperation:
        return None
    if not exact.is_finite() or not -MOST <= exact <= MOST:
        return None
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def tokens_in(units: Mapping[str, Number]) -> int:
    """All input, what was cached included, as providers and OpenTelemetry count it."""
    return sum(int(amount) for unit, amount in units.items() if unit in INPUT_SIDE)


def tokens_out(units: Mapping[str, Number]) -> int:
    """All output, reasoning included."""
    return sum(int(amount) for unit, amount in units.items() if unit in UNITS and UNITS[unit].side == "out")


def _sum(units: Mapping[str, Number], beginning: str) -> int:
    return sum(int(amount) for unit, amount in units.items() if unit.startswith(beginning))


def payer_of(row: Mapping[str, Any], subject: str) -> str | None:
    """Who pays: `subject` is an attribute, or `label.NAME`."""
    if subject.startswith("label."):
        value = orjson.loads(row["labels"] or "{}").get(subject.removeprefix("label."))
        return None if value is None else str(value)
    return row[subject] or None


def usage_of(item: Item) -> dict[str, Any]:
    """The whole event. Of a share of a machine only whose it is and what that costs."""
    row = item.row
    usage: dict[str, Any] = {
        "id": item.id,
        "kind": CAPACITY if item.part == CAPACITY else row["kind"],
        "corrects_id": row["id"] if item.part == CAPACITY else row["corrects_id"],
        "started_at": rfc3339(row["started_at"]),
        "ended_at": rfc3339(row["ended_at"]),
        **{name: row[name] for name in _PLAIN},
        "labels": orjson.loads(row["labels"] or "{}"),
        "flags": orjson.loads(row["flags"] or "[]"),
    }
    if item.part == CAPACITY:
        units: dict[str, Number] = {}
        cost = row["capacity_nanousd"]
        usage |= {"capacity": row["capacity"], "cost_source": "capacity", "price_version": None}
    else:
        units, cost = units_of(row), row["cost_nanousd"]
    usage["units"] = units
    usage |= {
        "input_tokens": tokens_in(units), "cache_read_tokens": _sum(units, "cache_read"),
        "cache_write_tokens": _sum(units, "cache_write"), "output_tokens": tokens_out(units),
        "reasoning_tokens": _sum(units, "reasoning"),
    }  # fmt: skip
    usage["cost_usd"] = None if cost is None else usd_text(cost)
    return usage
