"""What an importer makes of a source: for each model of a provider its names, limits and rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Any

from pricing.catalog import NO_LIMITS, Limits, price_text
from pricing.price import ALWAYS_S, NEVER_S, Row
from pricing.times import date_text
from pricing.values import slotted


@slotted
class Offer:
    """One model of one provider as one source has it. `names`: other names and patterns; lower case throughout."""

    provider: str
    model: str
    names: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    rows: list[Row] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str]:
        return self.provider, self.model


def lines(offers: Iterable[Offer]) -> list[dict[str, Any]]:
    """The JSON objects of `prices.jsonl`: one row each; the first of a model carries its names and limits."""
    made = []
    for offer in sorted(offers, key=lambda offer: offer.key):
        head: dict[str, Any] = {}
        if offer.names:
            head["names"] = sorted(offer.names)
        if offer.limits.context_tokens:
            head["context_tokens"] = offer.limits.context_tokens
        if offer.limits.max_output_tokens:
            head["max_output_tokens"] = offer.limits.max_output_tokens
        for row in sorted(offer.rows, key=_order):
            made.append(_line(row) | head)
            head = {}
    return made


def _order(row: Row) -> tuple[object, ...]:
    return sorted(row.when.items()), row.from_s, row.to_s, row.source, sorted(row.prices)


def _line(row: Row) -> dict[str, Any]:
    line: dict[str, Any] = {"provider": row.provider, "model": row.model}
    if row.when:
        line["when"] = {
            name: values[0] if len(values) == 1 else list(values) for name, values in sorted(row.when.items())
        }
    if row.from_s != ALWAYS_S:
        line["from"] = date_text(row.from_s)
    if row.to_s != NEVER_S:
        line["to"] = date_text(row.to_s)
    line["prices"] = {unit: price_text(price, unit) for unit, price in row.prices.items()}
    if row.tiers:
        line["tiers"] = [
            {"over": tier.over}
            | ({"inclusive": True} if tier.inclusive else {})
            | {"prices": {unit: price_text(price, unit) for unit, price in tier.prices.items()}}
            for tier in row.tiers
        ]
    line["source"], line["checked"] = row.source, row.checked
    return line
