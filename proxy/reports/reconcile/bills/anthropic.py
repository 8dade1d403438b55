"""Anthropic: cost, usage and Claude Code reports of its Admin API (JSON), costs and usage of its Console (CSV). Pure.

Reports by platform.claude.com/docs, "Cost Report" and "Usage Report" (amounts are cents). The Console's export is described at
support.claude.com, "Cost and usage reporting in the Claude Console", without its columns; those are of published files of May
to September 2026. It is in UTC, its amounts are dollars, and its models have the names that people read ("Claude Haiku 4.5").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from proxy.reports.reconcile.bills.format import Asked, Format, Row
from proxy.reports.reconcile.stated import Stated, day_of, dollars, kind_of, line_named, number, tier_named

_CENTS = Decimal("0.01")
_USED = {
    "usage_input_tokens_no_cache": "input",
    "usage_input_tokens_cache_read": "cache_read",
    "usage_input_tokens_cache_write": "cache_write",
    "usage_input_tokens_cache_write_5m": "cache_write",
    "usage_input_tokens_cache_write_1h": "cache_write",
    "usage_output_tokens": "output",
    "web_search_count": "web_search",
}
_DATE = re.compile(r"-(\d{4})-(\d\d)-(\d\d)\Z")


def _buckets(items: Iterable[Row], asked: Asked) -> Iterator[Stated]:
    for bucket in items:
        day = day_of(bucket["starting_at"], asked.zone)
        for row in bucket["results"]:
            if "amount" in row:
                yield _cost(day, row)
            else:
                yield from _usage(day, row)


def _cost(day: str, row: Row) -> Stated:
    dollars(row.get("currency"))
    cents = number(row["amount"])
    usd = None if cents is None else cents * _CENTS
    line = row.get("token_type") or (row["cost_type"] if row.get("cost_type") not in (None, "tokens") else None)
    return Stated(
        day, row.get("model"), line_named(line or row.get("description")), usd, None, kind_of(usd),
        tier_named(row.get("service_tier")),
    )  # fmt: skip


def _usage(day: str, row: Row) -> Iterator[Stated]:
    written = sum((number(amount) or Decimal(0) for amount in (row.get("cache_creation") or {}).values()), Decimal(0))
    for line, amount in (
        ("input", row.get("uncached_input_tokens")),
        ("cache_read", row.get("cache_read_input_tokens")),
        ("cache_write", written),
        ("output", row.get("output_tokens")),
        ("web_search", (row.get("server_tool_use") or {}).get("web_search_requests")),
    ):
        if amount is not None:
            yield Stated(day, row.get("model"), line, None, number(amount), tier=tier_named(row.get("service_tier")))


def _claude_code(items: Iterable[Row], asked: Asked) -> Iterator[Stated]:
    """A sum a model: it says what the whole is estimated at."""
    for item in items:
        for row in item["model_breakdown"]:
            cost = row.get("estimated_cost") or {}
            dollars(cost.get("currency"))
            cents = number(cost.get("amount"))
            usd = None if cents is None else cents * _CENTS
            yield Stated(day_of(item["date"], asked.zone), row.get("model"), None, usd)


def _console_costs(rows: Iterable[Row], asked: Asked) -> Iterator[Stated]:
    """`cost_usd` is what is charged, `list_price_usd` what it would be without the account's discounts."""
    for row in rows:
        usd = number(row["cost_usd"])
        line = line_named(row.get("token_type") or row.get("cost_type"))
        yield Stated(
            day_of(row["usage_date_utc"], asked.zone), _as_asked_for(row.get("model")), line, usd, None, kind_of(usd),
            tier_named(row.get("usage_type")), number(row.get("list_price_usd")),
        )  # fmt: skip


def _console_usage(rows: Iterable[Row], asked: Asked) -> Iterator[Stated]:
    for row in rows:
        day, model = day_of(row["usage_date_utc"], asked.zone), _as_asked_for(row.get("model_version"))
        for column, line in _USED.items():
            if (amount := number(row.get(column))) is not None:
                yield Stated(day, model, line, None, amount, tier=tier_named(row.get("usage_type")))


def _as_asked_for(model: Any) -> str | None:
    """`Claude 3.5 Sonnet 2024-10-22` as `claude-3-5-sonnet-20241022`."""
    name = str(model or "").strip().lower().replace(" ", "-").replace(".", "-")
    return _DATE.sub(r"-\1\2\3", name) or None


_OF = ("anthropic",)
FORMATS = (
    Format(_OF, "Anthropic's cost or usage report", ("starting_at", "results"), _buckets),
    Format(_OF, "Anthropic's Claude Code report", ("date", "model_breakdown"), _claude_code, is_part=True),
    Format(_OF, "costs of Anthropic's Console", ("usage_date_utc", "cost_usd"), _console_costs),
    Format(
        _OF, "usage of Anthropic's Console", ("usage_date_utc", "model_version", "usage_output_tokens"), _console_usage
    ),
)
