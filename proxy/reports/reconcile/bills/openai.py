"""OpenAI: costs and usage, of its API (JSON) and of its dashboard's export (CSV). Pure.

The API's fields are those of `GET /organization/costs` and `/organization/usage/completions` (developers.openai.com/api, and
the types of openai 3.54). The dashboard's export is of the same buckets, flat, in UTC (help.openai.com, "Understanding your API
usage"); its columns by docs.pelanor.io, "OpenAI", and published files of October 2025 and September 2026. A bucket without
anything is a row without an amount.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from proxy.reports.reconcile.bills.format import Asked, Format, Row, first
from proxy.reports.reconcile.stated import Stated, day_of, dollars, line_named, number, tier_named

_TOOLS = ("web_search", "file_search")
_START = "start_time|start_time_iso"


def _buckets(items: Iterable[Row], asked: Asked) -> Iterator[Stated]:
    for bucket in items:
        day = day_of(bucket["start_time"], asked.zone)
        for row in bucket["results"]:
            if "amount" in row or row.get("object") == "organization.costs.result":
                amount = row.get("amount") or {}
                yield _cost(day, row, amount.get("value"), amount.get("currency"))
            else:
                yield from _usage(day, row)


def _costs(rows: Iterable[Row], asked: Asked) -> Iterator[Stated]:
    for row in rows:
        if number(row["amount_value"]) is not None:
            day = day_of(first(row, _START), asked.zone)
            yield _cost(day, row, row["amount_value"], row.get("amount_currency") or None)


def _usages(rows: Iterable[Row], asked: Asked) -> Iterator[Stated]:
    for row in rows:
        if number(row["input_tokens"]) is not None:
            yield from _usage(day_of(first(row, _START), asked.zone), row)


def _cost(day: str, row: Row, value: Any, currency: Any) -> Stated:
    """`line_item` is "gpt-5-2025-08-07, cached input", or what is no model's: "web search tool calls"."""
    dollars(currency)
    usd, item = number(value), row.get("line_item") or None
    model, comma, line = (item or "").rpartition(", ")
    quantity = number(row.get("quantity"))
    if quantity is not None and row.get("quantity_unit") == "1000_tokens":
        quantity *= 1000
    kind = "credit" if usd is not None and (usd < 0 or "credit" in (item or "").lower()) else "charge"
    if comma:
        return Stated(day, model, line_named(line), usd, quantity, kind, tier_named(line))
    tool = line_named(item)
    return Stated(day, None, tool if tool in _TOOLS else item, usd, quantity, kind)


def _usage(day: str, row: Row) -> Iterator[Stated]:
    """`input_tokens` has the cached and the written ones in it."""
    model = row.get("model") or None
    tier = "batch" if str(row.get("batch")).lower() == "true" else tier_named(row.get("service_tier"))
    whole, cached, written = (
        number(row.get(name)) or Decimal(0)
        for name in ("input_tokens", "input_cached_tokens", "input_cache_write_tokens")
    )
    yield Stated(day, model, "input", None, whole - cached - written, tier=tier)
    yield Stated(day, model, "cache_read", None, cached, tier=tier)
    yield Stated(day, model, "cache_write", None, written, tier=tier)
    yield Stated(day, model, "output", None, number(row.get("output_tokens")) or Decimal(0), tier=tier)


_OF = ("openai",)
FORMATS = (
    Format(_OF, "OpenAI's costs or usage", ("start_time", "results"), _buckets),
    Format(_OF, "OpenAI's costs, of its dashboard", (_START, "amount_value", "amount_currency"), _costs),
    Format(
        _OF,
        "OpenAI's usage, of its dashboard",
        (_START, "input_tokens", "output_tokens", "num_model_requests"),
        _usages,
    ),
)
