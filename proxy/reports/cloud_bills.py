"""The clouds' own billing exports: AWS's Cost and Usage Report and Google Cloud's export from BigQuery. Pure.

Columns by the clouds' references (docs.aws.amazon.com/cur, line items, the older `lineItem/…` and CUR 2.0's `line_item_…`;
docs.aws.amazon.com/bedrock, "Understanding your Amazon Bedrock Cost and Usage Report data"; docs.cloud.google.com/billing,
"standard usage cost data"; 2026-11). Only rows of their services for models are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from proxy.reports.stated import HUMP, TAX, Stated, dollars, line_named, number
from proxy.times import BadQuestion

Row = Mapping[str, Any]

_COST_IN = re.compile(r"((?:unrounded )?cost) ?\((.*)\)\Z", re.IGNORECASE)
_AWS_CREDITS = ("Credit", "Refund", "BundledDiscount", "EdpDiscount", "PrivateRateDiscount", "SppDiscount", "Discount")
_GOOGLE_SERVICES = {"google": ("gemini", "generative language"), "google-vertex": ("vertex", "agent platform")}


def plain(row: Mapping[str | None, Any]) -> dict[str, Any]:
    """A row under names of one form: those of `lineItem/UsageStartDate`, `service.description` and `Service description` are
    parted by `_`, and `Cost ($)` is a cost. Raises `BadQuestion` where that is in another currency."""
    return {_plain(name or ""): value for name, value in row.items()}


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    if costs := _COST_IN.match(name.strip()):
        name, currency = costs.groups()
        dollars("USD" if currency in ("$", "US$") else currency)
    return re.sub(r"[^a-z0-9]+", "_", HUMP.sub("_", name).lower()).strip("_")


def is_aws(row: Row) -> bool:
    return "line_item_usage_type" in row and "line_item_unblended_cost" in row


def is_google(row: Row) -> bool:
    return "sku_description" in row and ("usage_start_time" in row or "usage_start_date" in row)


def aws(rows: Iterable[Row]) -> Iterator[tuple[Any, Stated]]:
    """(when, line): the line's day is still to be told from its moment."""
    for row in rows:
        texts = [str(row.get(name) or "") for name in _AWS_NAMES]
        if not any("bedrock" in text.lower() for text in texts):
            continue
        kind = str(row.get("line_item_line_item_type") or "Usage")
        dollars(row.get("line_item_currency_code") or None)
        usd, when = number(row["line_item_unblended_cost"]), row["line_item_usage_start_date"]
        if kind == "Tax":
            yield when, Stated("", None, TAX, usd)
            continue
        usage = str(row["line_item_usage_type"] or "")
        thousands = {"1k tokens": 1000, "1m tokens": 1_000_000, "tokens": 1}.get(
            str(row.get("pricing_unit") or "").lower()
        )
        amount = number(row.get("line_item_usage_amount")) if thousands else None
        yield (
            when,
            Stated(
                "", _aws_model(row, usage) or None, line_named(HUMP.sub(" ", usage).replace("-", " ")), usd,
                None if amount is None or thousands is None else amount * thousands,
                "credit" if kind in _AWS_CREDITS else "charge",
            ),
        )  # fmt: skip


_AWS_NAMES = ("line_item_product_code", "product_product_name", "product", "line_item_line_item_description")


def _aws_model(row: Row, usage: str) -> str:
    """By its resource, by the product's name (of those that the marketplace sells), or by the usage type."""
    resource = str(row.get("line_item_resource_id") or "")
    if "/" in resource and "foundation-model" in resource:
        return resource.rpartition("/")[2]
    name = str(row.get("product_product_name") or "") or _in_map(row.get("product"), "product_name")
    return name if "bedrock edition" in name.lower() else usage


def _in_map(value: Any, key: str) -> str:
    """A value in a column that is a map, which CSV has as JSON."""
    try:
        whole = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return ""
    return str(whole.get(key) or "") if isinstance(whole, Mapping) else ""


def google(rows: Iterable[Row], provider: str) -> Iterator[tuple[Any, Stated]]:
    """As `aws`. Credits are lines of their own beside the cost that they lessen. Raises `BadQuestion` without a cost."""
    has_cost = False
    services = _GOOGLE_SERVICES.get(provider, sum(_GOOGLE_SERVICES.values(), ()))
    for row in rows:
        has_cost = has_cost or "cost" in row or "unrounded_cost" in row
        service = str(row.get("service_description") or "").lower()
        kind = str(row.get("cost_type") or "regular").lower().replace(" ", "_")
        if kind != "tax" and not any(name in service for name in services):
            continue
        dollars(row.get("currency") or None)
        when = row.get("usage_start_time") or row.get("usage_start_date")
        sku = str(row["sku_description"] or "")
        model, line = (None, TAX) if kind == "tax" else (sku or None, line_named(sku.replace("-", " ")))
        counted = str(row.get("usage_unit") or "").lower() in ("count", "tokens")
        late = "correction" if kind == "adjustment" else "charge"
        usd = number(row.get("unrounded_cost") or row.get("cost"))
        yield (
            when,
            Stated(
                "", model, line, usd, number(row.get("usage_amount")) if counted and late == "charge" else None, late
            ),
        )
        for credit in _credits(row.get("credits")):
            yield when, Stated("", model, line, number(credit), None, "credit")
    if not has_cost:
        raise BadQuestion("the export has no column `cost`")


def _credits(value: Any) -> Iterator[Any]:
    some = json.loads(value) if isinstance(value, str) and value.strip().startswith("[") else value
    if isinstance(some, list):
        yield from (credit.get("amount") for credit in some if isinstance(credit, Mapping))
    elif some not in (None, ""):
        yield some


def flat(item: Mapping[str, Any]) -> dict[str, Any]:
    """A row of BigQuery's JSON: `{"service": {"description": …}}` as `service_description`."""
    row: dict[str, Any] = {}
    for name, value in item.items():
        if isinstance(value, Mapping):
            row |= {f"{name}_{inner}": deeper for inner, deeper in value.items()}
        else:
            row[name] = value
    return row
