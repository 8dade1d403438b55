"""Providers' own exports, read: what they say that was used and charged, a line each. Pure.

Shapes: OpenAI's costs and usage (types of openai 3.54), Anthropic's cost, usage and Claude Code reports (its Admin API's
reference, 2026-11; amounts are cents), OpenRouter's activity (JSON as its API gives it, or CSV), any FOCUS CSV, and the clouds'
own exports (`cloud_bills`). What a file is shows in what it has, not in its name.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from decimal import Decimal
from itertools import chain
from typing import Any, NamedTuple

from proxy.reports import cloud_bills
from proxy.reports.stated import TAX, Stated, day_of, dollars, line_named, number
from proxy.times import BadQuestion

_CENTS = Decimal("0.01")
_TOOLS = ("web_search", "file_search")


class Statement(NamedTuple):
    """shape: what the file is, for a person. places: decimals of its amounts at most."""

    shape: str
    lines: Sequence[Stated]
    places: int


def read_statement(text: str, provider: str, zone: tzinfo = UTC) -> Statement:
    """The lines of a provider's file. zone: whose days the times of its lines are dated by. Raises `BadQuestion`."""
    try:
        if text.lstrip()[:1] in ("{", "["):
            shape, lines = _json(_documents(text), provider, zone)
        else:
            shape, lines = _csv(text, provider, zone)
        stated = list(lines)
    except BadQuestion:
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ArithmeticError,
        OSError,
        csv.Error,
        RecursionError,
    ) as bad:
        raise BadQuestion(f"the file cannot be read: {type(bad).__name__}: {bad}") from None
    if not stated:
        raise BadQuestion("the file has no line with a cost or a usage")
    return Statement(shape, stated, max((_places(line.usd) for line in stated), default=0))


def _places(usd: Decimal | None) -> int:
    exponent = 0 if usd is None else usd.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


# JSON


def _documents(text: str) -> list[Any]:
    """One document (a page, or a list of them), or one in each line."""
    try:
        body = json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError as bad:
        if bad.msg != "Extra data":
            raise
        return [json.loads(line, parse_float=Decimal) for line in text.splitlines() if line.strip()]
    return body if isinstance(body, list) else [body]


def _json(pages: Sequence[Any], provider: str, zone: tzinfo) -> tuple[str, Iterable[Stated]]:
    items = [item for page in pages for item in (page["data"] if isinstance(page.get("data"), list) else [page])]
    first = next((item for item in items if item), None)
    if first is None:
        raise BadQuestion("the file has no data")
    if "sku" in first and ("usage_start_time" in first or "usage_start_date" in first):
        lines = cloud_bills.google(map(cloud_bills.flat, items), provider)
        return "Google Cloud's billing export", _dated(lines, zone)
    if "start_time" in first:
        return "OpenAI's costs or usage", _openai(items, zone)
    if "starting_at" in first:
        return "Anthropic's cost or usage report", _anthropic(items, zone)
    if "model_breakdown" in first:
        return "Anthropic's Claude Code report", _claude_code(items, zone)
    if "date" in first and "usage" in first:
        return "OpenRouter's activity", _openrouter(items, zone)
    raise BadQuestion("the file is not a known export of OpenAI, Anthropic, OpenRouter or Google Cloud")


def _openai(buckets: Iterable[Mapping[str, Any]], zone: tzinfo) -> Iterator[Stated]:
    for bucket in buckets:
        day = day_of(bucket["start_time"], zone)
        for row in bucket["results"]:
            if "amount" not in row and row.get("object") != "organization.costs.result":
                yield from _openai_usage(day, row)
                continue
            amount = row.get("amount") or {}
            dollars(amount.get("currency"))
            usd, item = number(amount.get("value")), row.get("line_item")
            model, comma, line = (item or "").rpartition(", ")
            quantity = number(row.get("quantity"))
            if quantity is not None and row.get("quantity_unit") == "1000_tokens":
                quantity *= 1000
            kind = "credit" if usd is not None and (usd < 0 or "credit" in (item or "").lower()) else "charge"
            if comma:
                yield Stated(day, model, line_named(line), usd, quantity, kind)
            else:
                tool = line_named(item)
                yield Stated(day, None, tool if tool in _TOOLS else item, usd, quantity, kind)


def _openai_usage(day: str, row: Mapping[str, Any]) -> Iterator[Stated]:
    """`input_tokens` has the cached and the written ones in it."""
    model = row.get("model")
    whole, cached, written = (
        number(row.get(name)) or Decimal(0)
        for name in ("input_tokens", "input_cached_tokens", "input_cache_write_tokens")
    )
    yield Stated(day, model, "input", None, whole - cached - written)
    yield Stated(day, model, "cache_read", None, cached)
    yield Stated(day, model, "cache_write", None, written)
    yield Stated(day, model, "output", None, number(row.get("output_tokens")) or Decimal(0))


def _anthropic(buckets: Iterable[Mapping[str, Any]], zone: tzinfo) -> Iterator[Stated]:
    for bucket in buckets:
        day = day_of(bucket["starting_at"], zone)
        for row in bucket["results"]:
            if "amount" not in row:
                yield from _anthropic_usage(day, row)
                continue
            dollars(row.get("currency"))
            cents = number(row["amount"])
            usd = None if cents is None else cents * _CENTS
            line_name = row.get("token_type") or (
                row["cost_type"] if row.get("cost_type") not in (None, "tokens") else None
            )
            line = line_named(line_name or row.get("description"))
            yield Stated(day, row.get("model"), line, usd, kind="credit" if usd is not None and usd < 0 else "charge")


def _anthropic_usage(day: str, row: Mapping[str, Any]) -> Iterator[Stated]:
    written = sum((number(amount) or Decimal(0) for amount in (row.get("cache_creation") or {}).values()), Decimal(0))
    for line, amount in (
        ("input", row.get("uncached_input_tokens")),
        ("cache_read", row.get("cache_read_input_tokens")),
        ("cache_write", written),
        ("output", row.get("output_tokens")),
        ("web_search", (row.get("server_tool_use") or {}).get("web_search_requests")),
    ):
        if amount is not None:
            yield Stated(day, row.get("model"), line, None, number(amount))


def _claude_code(items: Iterable[Mapping[str, Any]], zone: tzinfo) -> Iterator[Stated]:
    """A sum a model: it says what the whole is estimated at."""
    for item in items:
        for row in item["model_breakdown"]:
            cost = row.get("estimated_cost") or {}
            dollars(cost.get("currency"))
            cents = number(cost.get("amount"))
            yield Stated(day_of(item["date"], zone), row.get("model"), None, None if cents is None else cents * _CENTS)


def _openrouter(items: Iterable[Mapping[str, Any]], zone: tzinfo) -> Iterator[Stated]:
    for row in items:
        tokens = [number(row.get(name)) for name in ("prompt_tokens", "completion_tokens")]
        counts = [amount for amount in tokens if amount is not None]
        yield Stated(
            day_of(str(row["date"])[:19], zone), row.get("model") or row.get("model_permaslug"), None, number(row["usage"]),
            sum(counts, Decimal(0)) if counts else None,
        )  # fmt: skip


# CSV


def _csv(text: str, provider: str, zone: tzinfo) -> tuple[str, Iterable[Stated]]:
    """Row by row: a cloud's export has some hundred columns, and few rows that are looked at."""
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline=""), strict=True)
    first = next(reader, {})
    rows = chain((first,) if first else (), reader)
    names = {(name or "").strip() for name in first}
    if "BilledCost" in names:
        return "a FOCUS table", _focus(list(rows), provider, zone)
    plain = cloud_bills.plain(first)
    if cloud_bills.is_aws(plain):
        return "AWS's cost and usage report", _dated(cloud_bills.aws(map(cloud_bills.plain, rows)), zone)
    if cloud_bills.is_google(plain):
        lines = cloud_bills.google(map(cloud_bills.plain, rows), provider)
        return "Google Cloud's billing export", _dated(lines, zone)
    lower = _lower(first)
    day = next((name for name in ("date", "day", "created_at", "timestamp") if name in lower), None)
    usd = next((name for name in ("usage", "cost", "cost_total", "total_cost", "amount_usd") if name in lower), None)
    if day is None or usd is None:
        raise BadQuestion(
            "the file is neither a FOCUS table (BilledCost), a cloud's export (line_item_usage_type, sku.description) nor an "
            "activity export (date, model, usage)"
        )
    renamed = (row | {"date": row[day], "usage": row[usd]} for row in map(_lower, rows))
    return "OpenRouter's activity", _openrouter(_with_tokens(renamed), zone)


def _lower(row: Mapping[str | None, Any]) -> dict[str, Any]:
    return {(name or "").strip().lower().replace(" ", "_"): value for name, value in row.items()}


def _dated(lines: Iterable[tuple[Any, Stated]], zone: tzinfo) -> Iterator[Stated]:
    return (line._replace(day=day_of(when, zone)) for when, line in lines)


def _with_tokens(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        named = {"prompt_tokens": row.get("tokens_prompt"), "completion_tokens": row.get("tokens_completion")}
        yield {name: value for name, value in named.items() if value is not None} | row


def _focus(rows: Sequence[Mapping[str, Any]], provider: str, zone: tzinfo) -> Iterator[Stated]:
    """Rows of the provider where any names it, else all; of services for AI where the table says which are."""
    of_provider = [row for row in rows if provider.lower() in {(row.get(name) or "").lower() for name in _PROVIDERS}]
    for row in of_provider or rows:
        category = row.get("ChargeCategory") or "Usage"
        if category == "Usage" and row.get("ServiceCategory") not in (None, "", "AI and Machine Learning"):
            continue
        dollars(row.get("BillingCurrency") or None)
        details = json.loads(row.get("SkuPriceDetails") or "{}")
        model = details.get("x_ModelId") or details.get("ModelId") or row.get("ResourceName") or row.get("ResourceId")
        line = line_named(row.get("SkuMeter"))
        late = row.get("ChargeClass") == "Correction" or category == "Adjustment"
        kind = "correction" if late else "credit" if category == "Credit" else "charge"
        if category == "Tax":
            model, line = None, TAX
        quantity = number(row.get("ConsumedQuantity"))
        yield Stated(
            day_of(row["ChargePeriodStart"], zone), model or None, line, number(row["BilledCost"]), quantity, kind
        )


_PROVIDERS = ("ServiceProviderName", "ProviderName", "PublisherName", "InvoiceIssuerName", "HostProviderName")
