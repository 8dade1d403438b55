"""Google Cloud's billing export: BigQuery's rows (JSON or CSV) and the Console's cost table (CSV). Pure.

Columns by docs.cloud.google.com/billing, "Structure of Standard data export" (`cost` by `currency_conversion_rate` is the cost
in US dollars) and "View and download the cost details of your invoice". Only rows of its services for models are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from proxy.reports.reconcile.bills.format import Asked, Format, Row, first
from proxy.reports.reconcile.stated import TAX, Stated, day_of, dollars, line_named, number, tier_named
from proxy.times import BadQuestion

_SERVICES = {"google": ("gemini", "generative language"), "google-vertex": ("vertex", "agent platform")}
_START = "usage_start_time|usage_start_date"


def _lines(rows: Iterable[Row], asked: Asked) -> Iterator[Stated]:
    """Credits are lines of their own beside the cost that they lessen. Raises `BadQuestion` without a cost."""
    has_cost = False
    services = _SERVICES.get(asked.provider, sum(_SERVICES.values(), ()))
    for row in rows:
        has_cost = has_cost or "cost" in row or "unrounded_cost" in row
        service = str(row.get("service_description") or "").lower()
        kind = str(row.get("cost_type") or "regular").lower().replace(" ", "_")
        if kind != "tax" and not any(name in service for name in services):
            continue
        rate, day = _rate(row), day_of(first(row, _START), asked.zone)
        sku = str(row["sku_description"] or "")
        model, line = (None, TAX) if kind == "tax" else (sku or None, line_named(sku.replace("-", " ")))
        counted = str(row.get("usage_unit") or "").lower() in ("count", "tokens")
        late = "correction" if kind == "adjustment" else "charge"
        used = number(row.get("usage_amount")) if counted and late == "charge" else None
        usd, listed = (
            _in_dollars(value, rate) for value in (first(row, "unrounded_cost|cost"), row.get("cost_at_list"))
        )
        yield Stated(day, model, line, usd, used, late, tier_named(sku), listed)
        for credit in _credits(row.get("credits")):
            yield Stated(day, model, line, _in_dollars(credit, rate), None, "credit")
    if not has_cost:
        raise BadQuestion("the export has no column `cost`")


def _rate(row: Row) -> Decimal:
    """Units of the row's currency for a dollar. Raises `BadQuestion` where it does not say."""
    rate = number(row.get("currency_conversion_rate"))
    if rate is not None and rate > 0:
        return rate
    dollars(row.get("currency") or None)
    return Decimal(1)


def _in_dollars(value: Any, rate: Decimal) -> Decimal | None:
    amount = number(value)
    return amount if amount is None or rate == 1 else amount / rate


def _credits(value: Any) -> Iterator[Any]:
    some = json.loads(value) if isinstance(value, str) and value.strip().startswith("[") else value
    if isinstance(some, list):
        yield from (credit.get("amount") for credit in some if isinstance(credit, Mapping))
    elif some not in (None, ""):
        yield some


_OF = ("google", "google-vertex")
FORMATS = (Format(_OF, "Google Cloud's billing export", ("sku_description", _START), _lines),)
