"""Charges as rows of a FOCUS Cost and Usage table, and as the answer of a report. Every value is text, or None where null.

Corrections are all of ChargeClass Correction, also those within a month: the ledger knows when a call began, not which invoice
it is on, and InvoiceId is always null. The price that was applied stands as list and as contracted unit price: the ledger keeps
one price.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

import orjson
from pydantic import BaseModel, ConfigDict
from sqlalchemy.engine import Engine

from proxy.money import usd_text
from proxy.reports.answers import About, Answer, about
from proxy.reports.focus.charges import Amount, Charges, Kind, daily_charges
from proxy.reports.focus.columns import COLUMNS, VERSIONS, Version, meter_of
from proxy.reports.months import month_at
from proxy.reports.spend import entries_since
from proxy.times import DAY_US, BadQuestion, rfc3339, with_a_date

_UTC = ZoneInfo("UTC")
_MOST_TAGS = 10
_MACHINES = ("capacity", "idle", "outside")
_SOURCES = (
    "the ledger's entries and their cost lines, by the UTC day that a call began; closed minutes of own capacity",
)
_SAID = {
    "price": "{calls}",
    "provider": "{calls}, at the sum that the provider said",
    "ceiling": "{calls}, at their ceiling until it is known what they used",
    "unpriced": "{calls}, which have no price",
    "correction": "Corrections of {calls}",
    "capacity": "Share of own capacity {model}",
    "idle": "Idle time of own capacity {model}",
    "outside": "Own capacity {model}, used past Taximeter",
}

Row = Mapping[str, str | None]


class FocusQuestion(NamedTuple):
    """since, until: epoch microseconds; None: the running month. tags: labels that become Tags. ahead: the token classes under
    the names of the draft of 1.5, which validators of today do not know."""

    version: Version = "1.4"
    since: int | None = None
    until: int | None = None
    tags: Sequence[str] = ()
    ahead: bool = False


class FocusShown(BaseModel):
    """rows: FOCUS columns -> text, or null. price_usd: what calls cost; capacity_usd: own machines, beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    rows: list[dict[str, str | None]]
    billed_usd: str
    price_usd: str
    capacity_usd: str
    about: About


def version_named(text: str) -> Version:
    """Raises `BadQuestion`."""
    for version in VERSIONS:
        if text == version:
            return version
    raise BadQuestion(f"{text!r} is not a version of FOCUS that can be written: {' or '.join(VERSIONS)}")


class FocusExport:
    """Rows a day at a time, for a file of any size. What they come to is known when all have been read."""

    def __init__(self, engine: Engine, question: FocusQuestion, now_us: int) -> None:
        """Raises `BadQuestion`."""
        if len(question.tags) > _MOST_TAGS:
            raise BadQuestion(f"tags: at most {_MOST_TAGS} labels")
        self._engine, self._question = engine, question
        self.until = now_us if question.until is None else question.until
        running = month_at(self.until - 1, _UTC).start
        self.since = running if question.since is None else question.since
        self.columns = COLUMNS[question.version]
        self.count = self.price = self.machines = 0

    def days(self) -> Iterator[list[Row]]:
        question = self._question
        for charges in daily_charges(self._engine, self.since, self.until, question.tags):
            rows = focus_rows(charges, question.version, ahead=question.ahead)
            machines = sum(amount.nanousd for kind, amount in charges.items() if kind.source in _MACHINES)
            self.count += len(rows)
            self.machines += machines
            self.price += sum(amount.nanousd for amount in charges.values()) - machines
            yield rows

    def caveats(self) -> list[str]:
        kept = entries_since(self._engine)
        if kept is None or kept <= self.since:
            return []
        return [f"entries before {rfc3339(kept)} are deleted, and are in no row"]

    def said(self) -> list[str]:
        whole, price, machines = (usd_text(sum_) for sum_ in (self.price + self.machines, self.price, self.machines))
        parts = f"calls {price}, own capacity {machines}"
        return [f"{self.count} rows of FOCUS {self._question.version}: {whole} USD ({parts}).", *self.caveats()]


def focus_answer(engine: Engine, question: FocusQuestion, now_us: int) -> Answer:
    """Raises `BadQuestion`."""
    export = FocusExport(engine, question, now_us)
    rows = [row for rows in export.days() for row in rows]
    shown = FocusShown(
        version=question.version,
        rows=[dict(row) for row in rows],
        billed_usd=usd_text(export.price + export.machines),
        price_usd=usd_text(export.price),
        capacity_usd=usd_text(export.machines),
        about=about(export.since, export.until, "UTC", _SOURCES, export.caveats()),
    )
    return Answer(shown, rows, export.columns, export.said())


def focus_rows(charges: Charges, version: Version, *, ahead: bool = False) -> list[Row]:
    """In an order that depends on nothing but the rows."""
    columns = COLUMNS[version]
    made = [_row(kind, amount, ahead=ahead) for kind, amount in charges.items()]
    rows = [{name: row.get(name) for name in columns} for row in made]
    return sorted(rows, key=lambda row: (row["ChargePeriodStart"], [row[name] or "" for name in columns]))


def _row(kind: Kind, amount: Amount, *, ahead: bool) -> dict[str, str | None]:
    owner, billed = kind.owner, usd_text(amount.nanousd)
    machine = kind.source in _MACHINES
    provider = "Own capacity" if machine else kind.provider or owner.upstream or "unknown"
    month = month_at(kind.day_at, _UTC)
    calls = f"{kind.model or 'calls'} at {provider}"
    row = {
        "BillingAccountId": owner.upstream or ("own-capacity" if machine else "taximeter"),
        "BillingAccountName": owner.upstream,
        "BillingAccountType": "Own machines" if machine else "Upstream",
        "SubAccountId": owner.team,
        "SubAccountName": owner.team,
        "SubAccountType": "Team" if owner.team else None,
        "BillingPeriodStart": _time(month.start),
        "BillingPeriodEnd": _time(month.end),
        "ChargePeriodStart": _time(kind.day_at),
        "ChargePeriodEnd": _time(kind.day_at + DAY_US),
        "ChargeCategory": "Usage",
        "ChargeClass": "Correction" if kind.source == "correction" else None,
        "ChargeDescription": _SAID[kind.source].format(calls=calls, model=kind.model),
        "ChargeFrequency": "Usage-Based",
        "BillingCurrency": "USD",
        "BilledCost": billed,
        "EffectiveCost": billed,
        "ListCost": billed,
        "ContractedCost": billed,
        "InvoiceIssuerName": provider,
        "ServiceProviderName": provider,
        "HostProviderName": None if machine else provider,
        "ProviderName": provider,
        "PublisherName": provider,
        "ServiceName": "Own capacity" if machine else f"{provider} API",
        "ServiceCategory": "Compute" if machine else "AI and Machine Learning",
        "ServiceSubcategory": "Other (Compute)" if machine else "Generative AI",
        "ResourceId": kind.model,
        "ResourceName": kind.model,
        "ResourceType": ("Own capacity" if machine else "Model") if kind.model else None,
        "Tags": _json(dict(owner.tags)) if owner.tags else None,
        "x_PrincipalId": owner.key,
        "x_ConsumerId": owner.consumer,
        "x_CostSource": kind.source,
        "x_ConsumedTokens": str(amount.tokens) if amount.tokens else None,
    }
    if kind.source == "capacity":
        tenant = owner.consumer or owner.key or owner.team
        row |= {
            "AllocatedMethodId": "taximeter-busy-time" if tenant else None,
            "AllocatedResourceId": tenant,
            "AllocatedResourceName": tenant,
        }
    return row | _priced(kind, amount, provider, ahead=ahead)


def _priced(kind: Kind, amount: Amount, provider: str, *, ahead: bool) -> dict[str, str | None]:
    """The columns of a quantity at a unit price."""
    if kind.unit is None or kind.price is None:
        return {}
    meter, price = meter_of(kind.unit), _text(kind.price)
    sku = f"{provider}/{kind.model or ''}/{kind.unit}"
    quantity = amount.quantity / kind.per
    exact = _text(kind.price * quantity)
    return {
        "ChargeDescription": f"{meter.name} of {kind.model or 'calls'} at {provider}",
        "ListCost": exact,
        "ContractedCost": exact,
        "ListUnitPrice": price,
        "ContractedUnitPrice": price,
        "PricingCategory": "Standard",
        "PricingQuantity": _text(quantity),
        "PricingUnit": meter.unit if kind.per == 1 else f"{kind.per} {meter.unit}",
        "ConsumedQuantity": _text(amount.quantity),
        "ConsumedUnit": meter.unit,
        "SkuId": sku,
        "SkuMeter": meter.name,
        "SkuPriceId": "@".join((sku, *([kind.tier] if kind.tier else []), f"{price}/{kind.per}")),
        "SkuPriceDetails": _json(_details(kind, provider, ahead=ahead)),
    }


def _details(kind: Kind, provider: str, *, ahead: bool) -> dict[str, str]:
    prefix = "" if ahead else "x_"
    meter = meter_of(kind.unit or "")
    drafted = {"TokenDirection": meter.direction, "TokenCacheAction": meter.cache, "ModelId": kind.model}
    ours = {"x_Unit": kind.unit, "x_Provider": provider, "x_ServiceTier": kind.tier}
    return {f"{prefix}{name}": value for name, value in drafted.items() if value} | {
        name: value for name, value in ours.items() if value
    }


def _json(value: Mapping[str, str]) -> str:
    return orjson.dumps(value).decode()


def _text(value: Decimal) -> str:
    return format(value.normalize(), "f")


def _time(at_us: int) -> str:
    return f"{datetime.fromtimestamp(with_a_date(at_us) // 1_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
