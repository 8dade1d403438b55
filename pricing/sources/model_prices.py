"""Importer of model-prices (MIT, with models.dev's data): when prices changed, by the minute, with evidence.

Used for providers that the others know less well, and for models that nobody else has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pricing.catalog import NO_LIMITS
from pricing.price import ALWAYS_S, NEVER_S, Price, Row, Tier
from pricing.sources.offer import Offer
from pricing.times import epoch_s

_UNITS = {"input": "input", "output": "output", "cache_read": "cache_read", "cache_write": "cache_write_5m"}
PROVIDERS = {"alibaba": "dashscope", "amazon-bedrock": "aws", "moonshotai": "moonshot"}
_LEFT_OUT = {"deepseek", "cursor", "amazon-bedrock"}


def offers() -> list[Offer]:
    """All models of the installed package."""
    spec = find_spec("model_prices")
    if spec is None or spec.origin is None:
        raise ValueError("the package model-prices is not installed")
    data = json.loads((Path(spec.origin).parent / "snapshot.json").read_text(), parse_float=Decimal)
    source, checked = f"model-prices {version('model-prices')}", str(data["updated_at"])[:10]
    return [
        offer
        for provider, models in data["prices"].items()
        if provider not in _LEFT_OUT
        for model, sections in models.items()
        if (offer := _offer(PROVIDERS.get(provider, provider), model.lower(), sections, source, checked)).rows
    ]


def _offer(provider: str, model: str, sections: Mapping[str, Any], source: str, checked: str) -> Offer:
    offer = Offer(provider, model, (), NO_LIMITS)
    thinking = {entry["start"]: entry["rates"] for entry in sections.get("thinking", ())}
    entries = [entry for entry in sections.get("standard", ()) if entry["rates"]]
    for index, entry in enumerate(entries):
        from_s = epoch_s(entry["start"], ALWAYS_S)
        to_s = epoch_s(entries[index + 1]["start"], NEVER_S) if index + 1 < len(entries) else NEVER_S
        prices = _prices(entry["rates"])
        thought = thinking.get(entry["start"]) or next(iter(thinking.values()), None)
        tiers = {tier["above"]: _prices(tier) for tier in entry["rates"].get("tiers", ())}
        if thought and thought["output"] != entry["rates"].get("output"):
            prices["reasoning"] = Price(Decimal(thought["output"]), 10**6)
            for tier in thought.get("tiers", ()):
                tiers.setdefault(tier["above"], {})["reasoning"] = Price(Decimal(tier["output"]), 10**6)
        if from_s < to_s and any(price.usd for price in prices.values()):
            rows = tuple(Tier(above, tiers[above]) for above in sorted(tiers))
            offer.rows.append(Row(provider, model, prices, rows, from_s, to_s, {}, source, checked))
    offer.rows = list(_joined(offer.rows))
    return offer


def _prices(rates: Mapping[str, Any]) -> dict[str, Price]:
    """Prices of one entry. A cache write that costs nothing is a gap."""
    return {
        unit: Price(Decimal(rates[name]).normalize(), 10**6)
        for name, unit in _UNITS.items()
        if rates.get(name) is not None and (rates[name] or name in ("input", "output"))
    }


def _joined(rows: list[Row]) -> Iterator[Row]:
    """Neighbours with the same prices are one row."""
    pending: Row | None = None
    for row in rows:
        if pending is not None and pending.prices == row.prices and pending.tiers == row.tiers:
            pending = _until(pending, row.to_s)
            continue
        if pending is not None:
            yield pending
        pending = row
    if pending is not None:
        yield pending


def _until(row: Row, to_s: int) -> Row:
    return Row(row.provider, row.model, row.prices, row.tiers, row.from_s, to_s, row.when, row.source, row.checked)
