"""Importer of genai-prices (MIT): dated prices, tiers, and variants for batch, flex, priority and fast.

Its variants carry the date on which they were verified, not one on which they began: they are taken back to the start of
the base prices that they were verified beside, and to other periods by their ratio to the base (marked `derived`).
Clock prices are left to `schedules.toml` and the corrections, which know weekdays and holidays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from importlib import import_module
from importlib.metadata import version
from typing import Any

from pricing.catalog import Limits
from pricing.price import ALWAYS_S, NEVER_S, Price, Row, Tier
from pricing.sources.offer import Offer
from pricing.times import epoch_s
from pricing.values import frozen

# The names of its price keys: our unit, and how many of the unit the price is for.
_KEYS: dict[str, tuple[str, int]] = {
    "input_mtok": ("input", 10**6),
    "cache_read_mtok": ("cache_read", 10**6),
    "cache_write_mtok": ("cache_write_5m", 10**6),
    "cache_write_5m_mtok": ("cache_write_5m", 10**6),
    "cache_write_1h_mtok": ("cache_write_1h", 10**6),
    "output_mtok": ("output", 10**6),
    "output_reasoning_mtok": ("reasoning", 10**6),
    "output_citation_mtok": ("citation", 10**6),
    "input_audio_mtok": ("audio_in", 10**6),
    "cache_audio_read_mtok": ("cache_read_audio", 10**6),
    "output_audio_mtok": ("audio_out", 10**6),
    "input_image_mtok": ("image_in", 10**6),
    "cache_image_read_mtok": ("cache_read_image", 10**6),
    "output_image_mtok": ("image_out", 10**6),
    "input_video_mtok": ("video_in", 10**6),
    "output_video_mtok": ("video_out", 10**6),
    "audio_hours": ("audio_second", 3600),
    "input_audio_hours": ("audio_second", 3600),
    "input_mchars": ("character", 10**6),
    "input_document_kpages": ("page", 1000),
    "input_annotated_document_kpages": ("annotated_page", 1000),
    "input_text_messages_kcount": ("text_message", 1000),
    "requests_kcount": ("request", 1000),
    "web_searches_kcount": ("web_search", 1000),
    "storage_searches_kcount": ("file_search", 1000),
}

# Its names of providers, where ours differ.
PROVIDERS = {"x-ai": "xai", "moonshotai": "moonshot", "voyageai": "voyage"}
# Made by hand in corrections.toml, from better evidence.
_LEFT_OUT = {"deepseek"}
# What it calls `cache_write` is kept for 30 minutes there.
_WRITES_30M = {"openai", "azure", "moonshot", "openai-decisions"}
_VERIFIED = re.compile(r"verified on (20\d\d-\d\d-\d\d)")


@frozen
class _Period:
    from_s: int
    to_s: int
    prices: Mapping[str, Price]
    tiers: tuple[Tier, ...]


def offers(checked: str) -> list[Offer]:
    """All models of the installed package. `checked`: the date that stands where a model names none."""
    providers = import_module("genai_prices.data").providers  # only a build needs it: it takes half a second
    source = f"genai-prices {version('genai-prices')}"
    return [
        _offer(provider.id, model, source, checked)
        for provider in providers
        if provider.id not in _LEFT_OUT
        for model in provider.models
    ]


def _offer(provider_id: str, model: Any, source: str, checked: str) -> Offer:
    provider = PROVIDERS.get(provider_id, provider_id).replace("_", "-")
    name = model.id.lower()
    verified = _VERIFIED.findall(model.price_comments or "")
    date = max(verified, default=checked)
    periods = list(_periods(model.prices, provider_id))
    rows = [Row(provider, name, one.prices, one.tiers, one.from_s, one.to_s, {}, source, date) for one in periods]
    rows += _variant_rows(provider, provider_id, model, periods, source, date)
    names = {pattern for pattern in _patterns(model.match) if pattern != name}
    return Offer(provider, name, tuple(names), Limits(model.context_window, None), rows)


def _periods(prices: Any, provider_id: str) -> Iterator[_Period]:
    """Consecutive periods of base prices; of two that begin at the same time the last one counts."""
    if not isinstance(prices, list):
        yield _Period(ALWAYS_S, NEVER_S, *_prices(prices, provider_id))
        return
    starts: dict[int, Any] = {}
    for entry in prices:
        if type(entry.constraint).__name__ != "TimeOfDateConstraint":
            starts[_start(entry.constraint)] = entry.prices
    ordered = sorted(starts)
    for index, start in enumerate(ordered):
        end = ordered[index + 1] if index + 1 < len(ordered) else NEVER_S
        yield _Period(start, end, *_prices(starts[start], provider_id))


def _start(constraint: Any) -> int:
    return ALWAYS_S if constraint is None else epoch_s(constraint.start_date, ALWAYS_S)


def _prices(model_price: Any, provider_id: str) -> tuple[dict[str, Price], tuple[Tier, ...]]:
    prices: dict[str, Price] = {}
    tiers: dict[int, dict[str, Price]] = {}
    for key, value in model_price.__dict__.items():
        if value is None or key.startswith("_"):
            continue
        unit, per = _KEYS[key]
        if unit == "cache_write_5m" and key == "cache_write_mtok" and provider_id in _WRITES_30M:
            unit = "cache_write_30m"
        prices[unit] = Price(Decimal(getattr(value, "base", value)), per)
        for tier in getattr(value, "tiers", ()):
            tiers.setdefault(tier.start, {})[unit] = Price(Decimal(tier.price), per)
    return prices, tuple(Tier(start, tiers[start]) for start in sorted(tiers))


def _variant_rows(
    provider: str, provider_id: str, model: Any, periods: list[_Period], source: str, date: str
) -> Iterator[Row]:
    by_when: dict[tuple[tuple[str, str], ...], list[tuple[int, Any]]] = {}
    for variant in model.price_variants or ():
        if variant.prices.__dict__:
            key = tuple(sorted(variant.when.items()))
            by_when.setdefault(key, []).append((_start(variant.constraint), variant.prices))
    for key, variants in by_when.items():
        when = {name: (value.lower(),) for name, value in key}
        if provider == "openai" and when.get("service_tier") == ("fast",):
            continue  # the old name of priority
        own = [
            _Variant(start, *_prices(prices, provider_id))
            for start, prices in sorted(variants, key=lambda entry: entry[0])
        ]
        for period in periods:
            for made in _variant_period(own, periods, period, date):
                note = source if made.stated else f"{source}, derived"
                yield Row(provider, model.id.lower(), made.prices, made.tiers, made.from_s, made.to_s, when, note, date)


@frozen
class _Variant:
    """Prices of a variant from a date on."""

    from_s: int
    prices: Mapping[str, Price]
    tiers: tuple[Tier, ...]


@frozen
class _Made:
    """Prices of a variant in a period: as stated, or worked out."""

    from_s: int
    to_s: int
    prices: Mapping[str, Price]
    tiers: tuple[Tier, ...]
    stated: bool


def _variant_period(variants: list[_Variant], periods: list[_Period], period: _Period, date: str) -> Iterator[_Made]:
    """A variant in one period of base prices: its own prices, or worked out from the nearest period that has some."""
    home_of = [_home(variant, variants, periods, date) for variant in variants]
    homes = [variant for variant, home in zip(variants, home_of, strict=True) if home is period]
    for index, variant in enumerate(homes):
        from_s = variant.from_s if index else period.from_s
        to_s = homes[index + 1].from_s if index + 1 < len(homes) else period.to_s
        yield _Made(from_s, to_s, variant.prices, variant.tiers, stated=True)
    if homes:
        return
    here = periods.index(period)
    near, home = min(zip(variants, home_of, strict=True), key=lambda pair: abs(periods.index(pair[1]) - here))
    ratios = {
        unit: price.usd / home.prices[unit].usd
        for unit, price in near.prices.items()
        if unit in home.prices and home.prices[unit].usd and unit in period.prices
    }
    if ratios:
        tiers = tuple(Tier(tier.over, _scaled(tier.prices, ratios), tier.inclusive) for tier in period.tiers)
        prices = _scaled(period.prices, ratios)
        yield _Made(period.from_s, period.to_s, prices, tiers if near.tiers else (), stated=False)


def _home(variant: _Variant, variants: list[_Variant], periods: list[_Period], date: str) -> _Period:
    """The period that a variant was verified in. One without a date was, where it stands alone, when the model was
    checked; else it is what held before the first that has one."""
    moment = variant.from_s
    if not moment:
        dated = [one.from_s for one in variants if one.from_s]
        moment = min(dated) - 1 if dated else epoch_s(date, ALWAYS_S)
    return next((period for period in periods if period.from_s <= moment < period.to_s), periods[0])


def _scaled(prices: Mapping[str, Price], ratios: Mapping[str, Decimal]) -> dict[str, Price]:
    return {
        unit: price._replace(usd=round(price.usd * ratios[unit], 9).normalize())
        for unit, price in prices.items()
        if unit in ratios
    }


def _patterns(clause: Any) -> Iterator[str]:
    """Names and patterns that a match clause accepts; snapshots by regular expression are understood without."""
    for inner in getattr(clause, "or_", ()):
        yield from _patterns(inner)
    for inner in getattr(clause, "and_", ()):
        yield from _patterns(inner)
    yield from _plain_patterns(clause)


def _plain_patterns(clause: Any) -> Iterable[str]:
    if text := getattr(clause, "equals", None):
        return [text.lower()]
    if text := getattr(clause, "starts_with", None):
        return [f"{text.lower()}*"]
    if text := getattr(clause, "ends_with", None):
        return [f"*{text.lower()}"]
    if text := getattr(clause, "contains", None):
        return [f"*{text.lower()}*"]
    return []
