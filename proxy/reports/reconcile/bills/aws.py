"""AWS: the Cost and Usage Report (2.0 and the older one) and Cost Explorer's CSV, of what Bedrock is. Pure.

The report's columns by docs.aws.amazon.com/cur, "Line item columns", and docs.aws.amazon.com/bedrock, "Understanding your
Amazon Bedrock Cost and Usage Report data". Cost Explorer's file has no reference of its own; by published files it is a row a
day, a column for each member of the group (`Bedrock($)`), first `Service total`, last `Total costs($)`; what was not used is
empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from proxy.reports.reconcile.bills.format import Asked, Format, Row
from proxy.reports.reconcile.stated import HUMP, TAX, Stated, day_of, dollars, line_named, number, tier_named
from proxy.times import BadQuestion

_CREDITS = ("Credit", "Refund", "BundledDiscount", "EdpDiscount", "PrivateRateDiscount", "SppDiscount", "Discount")
_NAMES = ("line_item_product_code", "product_product_name", "product", "line_item_line_item_description")
_THOUSANDS = {"1k tokens": 1000, "1m tokens": 1_000_000, "tokens": 1}
_TOTAL = re.compile(r"Total costs ?\((.*)\)\Z", re.IGNORECASE)
_IN_DOLLARS = re.compile(r"(.+?) ?\(\$\)\Z")
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")


def _report(rows: Iterable[Row], asked: Asked) -> Iterator[Stated]:
    """Rows of Bedrock alone."""
    for row in rows:
        if not any("bedrock" in str(row.get(name) or "").lower() for name in _NAMES):
            continue
        kind = str(row.get("line_item_line_item_type") or "Usage")
        dollars(row.get("line_item_currency_code") or None)
        usd, day = number(row["line_item_unblended_cost"]), day_of(row["line_item_usage_start_date"], asked.zone)
        if kind == "Tax":
            yield Stated(day, None, TAX, usd)
            continue
        usage = str(row["line_item_usage_type"] or "")
        thousands = _THOUSANDS.get(str(row.get("pricing_unit") or "").lower())
        amount = number(row.get("line_item_usage_amount")) if thousands else None
        yield Stated(
            day, _model(row, usage) or None, _line(usage), usd,
            None if amount is None or thousands is None else amount * thousands,
            "credit" if kind in _CREDITS else "charge", tier_named(usage), number(row.get("pricing_public_on_demand_cost")),
        )  # fmt: skip


def _line(usage: str) -> str | None:
    return line_named(HUMP.sub(" ", usage).replace("-", " "))


def _model(row: Row, usage: str) -> str:
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


def _explorer(rows: Iterable[Row], asked: Asked) -> Iterator[Stated]:
    """By day, grouped by service or by usage type. Raises `BadQuestion` for another grouping and for months."""
    days = [row for row in rows if _DAY.match(_head(row))]
    if days and all(_head(row).endswith("-01") for row in days):
        raise BadQuestion("the file of Cost Explorer has months; export it with daily granularity")
    wanted = _wanted(list(days[0])) if days else {}
    for row in days:
        day = day_of(_head(row), asked.zone)
        for column, (model, line) in wanted.items():
            if (usd := number(row.get(column))) is not None:
                yield Stated(day, model, line, usd, None, "credit" if usd < 0 else "charge", tier_named(column))


def _head(row: Row) -> str:
    return str(next(iter(row.values()), "")).strip()


def _wanted(columns: list[str]) -> dict[str, tuple[str | None, str | None]]:
    """Column -> model and line. By service, Bedrock's own models are one sum, and then those of the marketplace are counted
    with them: a model of its own would lack the others' days."""
    group, *names = columns
    currency = next((total[1] for name in names if (total := _TOTAL.match(name.strip()))), None)
    dollars("USD" if currency == "$" else currency)
    kinds = {name: in_dollars[1] for name in names if (in_dollars := _IN_DOLLARS.match(name.strip()))}
    if group.strip() == "Service":
        of_bedrock = {name: kind for name, kind in kinds.items() if "bedrock" in kind.lower()}
        named = all("bedrock edition" in kind.lower() for kind in of_bedrock.values())
        return {name: (kind if named else None, None) for name, kind in of_bedrock.items()}
    if group.strip() == "Usage type":
        return {name: (kind, _line(kind)) for name, kind in kinds.items() if "token" in kind.lower()}
    raise BadQuestion(f"the file of Cost Explorer is grouped by {group!r}; group it by Service or by Usage type")


_OF = ("aws",)
FORMATS = (
    Format(
        _OF,
        "AWS's cost and usage report",
        ("line_item_usage_type", "line_item_unblended_cost", "line_item_usage_start_date"),
        _report,
    ),
    Format(_OF, "AWS's Cost Explorer", ("total_costs",), _explorer, as_written=True),
)
