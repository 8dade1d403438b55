"""Any provider's FOCUS table (CSV). Columns by focus.finops.org, 1.0 to 1.4. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from proxy.reports.reconcile.bills.format import Asked, Format, Row
from proxy.reports.reconcile.stated import TAX, Stated, day_of, dollars, kind_of, line_named, number

_PROVIDERS = ("service_provider_name", "provider_name", "publisher_name", "invoice_issuer_name", "host_provider_name")


def _lines(rows: Iterable[Row], asked: Asked) -> Iterator[Stated]:
    """Rows of the provider where any names it, else all; of services for AI where the table says which are."""
    every = list(rows)
    provider = asked.provider.lower()
    of_provider = [row for row in every if provider in {(row.get(name) or "").lower() for name in _PROVIDERS}]
    for row in of_provider or every:
        category = row.get("charge_category") or "Usage"
        if category == "Usage" and row.get("service_category") not in (None, "", "AI and Machine Learning"):
            continue
        dollars(row.get("billing_currency") or None)
        details = json.loads(row.get("sku_price_details") or "{}")
        model = details.get("x_ModelId") or details.get("ModelId") or row.get("resource_name") or row.get("resource_id")
        line = line_named(row.get("sku_meter"))
        late = row.get("charge_class") == "Correction" or category == "Adjustment"
        usd = number(row["billed_cost"])
        kind = "correction" if late else "credit" if category == "Credit" else kind_of(usd)
        if category == "Tax":
            model, line = None, TAX
        yield Stated(
            day_of(row["charge_period_start"], asked.zone), model or None, line, usd,
            number(row.get("consumed_quantity")), kind, None, number(row.get("list_cost")),
        )  # fmt: skip


FORMATS = (Format((), "a FOCUS table", ("billed_cost", "charge_period_start"), _lines),)
