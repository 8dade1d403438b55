"""Azure: cost details, as exports, the portal and the Cost Details API write them (CSV). Pure.

Columns by learn.microsoft.com/azure/cost-management-billing, "Enterprise Agreement cost and usage details file schema",
"Microsoft Customer Agreement cost and usage details file schema" and "Understand cost details fields". What is charged is named
by its meter; meters' names by prices.azure.com, the public list of retail prices: `gpt 4.1 nano cached Inp glbl Tokens`,
`5.4 opt Dz 1M Tokens` of the sub-category `Azure OpenAI GPT5`. Only rows of services for models are read. Days are Azure's,
written 11/23/2026 or 2026-11-23.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

from proxy.reports.reconcile.bills.format import Asked, Format, Row, first
from proxy.reports.reconcile.stated import TAX, Stated, day_of, dollars, kind_of, line_named, number, tier_named

_COST = "cost_in_usd|cost_in_billing_currency|cost"
_SERVICES = ("openai", "foundry")
_MONTH_FIRST = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")
_UNIT = re.compile(r"1(?:0+)?([KM])?(?: tokens?)?\Z", re.IGNORECASE)
_THOUSANDS = {"": 1, "K": 1000, "M": 1_000_000}
_PER = re.compile(r"\b1[KM]\b|\bTokens?\b", re.IGNORECASE)
_MEDIA = frozenset({"audio", "aud", "image", "img", "video", "rt"})
_INPUT, _OUTPUT = frozenset({"inp", "inpt", "input"}), frozenset({"outp", "outpt", "opt", "output"})
_CACHED = frozenset({"cached", "cchd", "cd", "cache"})


def _lines(rows: Iterable[Row], asked: Asked) -> Iterator[Stated]:
    for row in rows:
        meter = str(row.get("meter_name") or "")
        kind = str(row.get("charge_type") or "Usage").lower()
        if kind != "tax" and not _is_of_models(row, meter):
            continue
        usd = _usd(row)
        day = day_of(_MONTH_FIRST.sub(_iso, str(row["date"]).strip(), count=1)[:10], asked.zone)
        if kind == "tax":
            yield Stated(day, None, TAX, usd)
            continue
        late = "correction" if "adjustment" in kind else "credit" if kind in ("refund", "credit") else kind_of(usd)
        used = _quantity(row) if late == "charge" else None
        tier = "priority" if "pp" in _words(meter) else tier_named(meter)
        listed = number(row.get("payg_cost_in_usd"))
        yield Stated(day, _model(row, meter), _line(meter), usd, used, late, tier, listed)


def _is_of_models(row: Row, meter: str) -> bool:
    texts = (row.get("meter_category"), row.get("meter_sub_category"), row.get("product_name"))
    of_service = any(name in str(text or "").lower() for text in texts for name in _SERVICES)
    return of_service or "token" in meter.lower()


def _usd(row: Row) -> Decimal | None:
    if (usd := number(row.get("cost_in_usd"))) is not None:
        return usd
    dollars(first(row, "billing_currency|billing_currency_code|currency"))
    return number(first(row, _COST))


def _iso(date: re.Match[str]) -> str:
    month, day, year = date.groups()
    return f"{year}-{int(month):02}-{int(day):02}"


def _quantity(row: Row) -> Decimal | None:
    """Tokens: the meter counts thousands or millions of them."""
    unit, amount = _UNIT.match(str(row.get("unit_of_measure") or "").strip()), number(row.get("quantity"))
    return None if unit is None or amount is None else amount * _THOUSANDS[(unit[1] or "").upper()]


def _words(meter: str) -> set[str]:
    return set(re.findall(r"[a-z]+", meter.lower()))


def _line(meter: str) -> str | None:
    words = _words(meter)
    if words & _MEDIA:
        return meter
    if words & _CACHED:
        return "cache_write" if "write" in words else "cache_read"
    if words & _INPUT:
        return "input"
    return "output" if words & _OUTPUT else line_named(meter)


def _model(row: Row, meter: str) -> str | None:
    """A meter's name without what it is counted in. GPT's have but the version there: the sub-category says of what."""
    name = " ".join(_PER.sub(" ", meter).split())
    of_gpt = "gpt" in str(row.get("meter_sub_category") or row.get("product_name") or "").lower()
    return (f"gpt {name}" if of_gpt and name[:1].isdigit() else name) or None


_OF = ("azure",)
FORMATS = (
    Format(
        _OF,
        "Azure's cost details",
        ("date", "meter_name", "charge_type|consumed_service|meter_category", _COST),
        _lines,
    ),
)
