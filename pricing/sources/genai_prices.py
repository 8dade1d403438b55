"""Importer of pydantic's genai-prices (MIT), the book's first source: read when the book is rebuilt, never at run time.

Its conditional prices are whole sheets with start dates; its variants are partial sheets by service tier, batch or speed.
A variant's start is often only the day on which it was *verified* ("tier history before this verification is not
modeled"), so it is carried back: unchanged while the standard price was the same, at the same ratio before that.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from pricing.money import plain
from pricing.sources import Record, Snapshot, provider_name

_UNITS: dict[str, tuple[str, int]] = {
    "input_mtok": ("input", 1_000_000),
    "output_mtok": ("output", 1_000_000),
    "cache_read_mtok": ("cache_read", 1_000_000),
    "cache_write_mtok": ("cache_write_5m", 1_000_000),
    "cache_write_5m_mtok": ("cache_write_5m", 1_000_000),
    "cache_write_1h_mtok": ("cache_write_1h", 1_000_000),
    "input_audio_mtok": ("audio_in", 1_000_000),
    "output_audio_mtok": ("audio_out", 1_000_000),
    "cache_audio_read_mtok": ("cache_read_audio", 1_000_000),
    "input_image_mtok": ("image_in", 1_000_000),
    "output_image_mtok": ("image_out", 1_000_000),
    "cache_image_read_mtok": ("cache_read_image", 1_000_000),
    "input_video_mtok": ("video_in", 1_000_000),
    "output_video_mtok": ("video_out", 1_000_000),
    "cache_video_read_mtok": ("cache_read_video", 1_000_000),
    "output_reasoning_mtok": ("reasoning", 1_000_000),
    "output_citation_mtok": ("citation", 1_000_000),
    "input_mchars": ("character", 1_000_000),
    "input_text_messages_kcount": ("text_message", 1_000),
    "audio_hours": ("audio_second", 3_600),
    "input_audio_hours": ("audio_second", 3_600),
    "input_document_kpages": ("page", 1_000),
    "input_annotated_document_kpages": ("annotated_page", 1_000),
    "web_searches_kcount": ("web_search", 1_000),
    "storage_searches_kcount": ("file_search", 1_000),
    "requests_kcount": ("request", 1_000),
}

_CHECKED = re.compile(
    r"(?:verified|checked)(?: on| at| against [^ ]+ on)? (20\d\d-\d\d-\d\d)|\(checked (20\d\d-\d\d-\d\d)\)"
)
_TIERS_AS_SERVED = {"fast": "priority"}  # OpenAI sells priority processing as `service_tier: fast` too

Prices = dict[str, Any]


def snapshot() -> Snapshot:
    """Everything that the installed package says, as records of the book. Raises ImportError without the package."""
    from genai_prices import data  # noqa: PLC0415  (half a second and 100 MB: only where the book is rebuilt)

    version = importlib.metadata.version("genai-prices")
    providers = list(data.providers)
    stated = max((found for one in providers for found in _dates(one)), default="")
    records = [
        record
        for provider in providers
        for model in provider.models
        for record in _model(provider_name(provider.id), model, f"genai-prices {version}", stated)
    ]
    return Snapshot("genai-prices", version, stated, records)


def _dates(provider: Any) -> Iterator[str]:
    for comment in (provider.price_comments, *(model.price_comments for model in provider.models)):
        for found in _CHECKED.finditer(comment or ""):
            yield found.group(1) or found.group(2)


def _model(provider: str, model: Any, source: str, stated: str) -> Iterator[Record]:
    yield {
        "provider": provider,
        "model": model.id,
        "match": [name for name in _names(model.match) if name != model.id],
        **({"context_tokens": model.context_window} if model.context_window else {}),
    }
    dates = [found.group(1) or found.group(2) for found in _CHECKED.finditer(model.price_comments or "")]
    common = {"source": source, "checked": max(dates, default=stated)}
    segments = list(_segments(model))
    for start, end, prices in segments:
        for row in _rows(prices, start, end):
            yield {"provider": provider, "model": model.id, **row, **common}
    for when, start, end, prices, derived in _variants(model, segments):
        for row in _rows(prices, start, end):
            note = {"source": f"{source}, at the ratio of later prices"} if derived else {}
            yield {"provider": provider, "model": model.id, "when": when, **row, **common, **note}


def _names(match: Any) -> Iterator[str]:
    """A match clause as the book's names, globs and regular expressions."""
    kind = type(match).__name__
    if kind == "ClauseOr":
        for clause in match.or_:
            yield from _names(clause)
    elif kind == "ClauseAnd":
        yield "~" + "".join(f"(?={_regex(clause)})" for clause in match.and_)
    elif kind == "ClauseEquals":
        yield match.equals
    elif kind == "ClauseStartsWith":
        yield match.starts_with + "*"
    elif kind == "ClauseEndsWith":
        yield "*" + match.ends_with
    elif kind == "ClauseContains":
        yield f"*{match.contains}*"
    else:
        yield "~" + match.regex


def _regex(clause: Any) -> str:
    return f"^{re.escape(clause.starts_with)}" if hasattr(clause, "starts_with") else str(clause.regex)


def _segments(model: Any) -> Iterator[tuple[date | None, date | None, Prices]]:
    """The standard price from date to date. Prices by hour of the day are left out: `schedules.toml` has clocks."""
    if not isinstance(model.prices, list):
        yield None, None, _prices(model.prices)
        return
    starts = sorted({one.constraint.start_date for one in model.prices if hasattr(one.constraint, "start_date")})
    daily = [one for one in model.prices if hasattr(one.constraint, "start_time")]
    edges: list[date | None] = [None, *starts, None]
    for start, end in itertools.pairwise(edges):
        active = [
            one
            for one in model.prices
            if one not in daily
            and (one.constraint is None or (start is not None and one.constraint.start_date <= start))
        ]
        yield start, end, _prices((active or model.prices)[-1 if active else 0].prices)


def _prices(prices: Any) -> Prices:
    return {name: value for name, value in vars(prices).items() if value is not None and name in _UNITS}


def _variants(
    model: Any, segments: list[tuple[date | None, date | None, Prices]]
) -> Iterator[tuple[dict[str, Any], date | None, date | None, Prices, bool]]:
    for variant in model.price_variants or ():
        prices = _prices(variant.prices)
        if not prices or variant.when.get("service_tier") in _TIERS_AS_SERVED:
            continue  # a variant without prices only says that the name is known
        when = {name: _served(value) for name, value in variant.when.items()}
        then = variant.constraint.start_date if variant.constraint else None
        current = next(
            (one for start, end, one in segments if then is None or ((start or date.min) <= then < (end or date.max))),
            segments[-1][2],
        )
        for start, end, standard in segments:
            if then is None or standard == current or (start or date.min) > then:
                yield when, start, end, prices, False
            elif scaled := _scaled(prices, standard, current):
                yield when, start, end, scaled, True


def _served(value: str) -> str | list[str]:
    names = [name for name, same in _TIERS_AS_SERVED.items() if same == value]
    return [value, *names] if names else value


def _scaled(variant: Prices, then: Prices, now: Prices) -> Prices:
    """The variant as it was when the standard price was `then`; only for units whose ratio is known."""
    return {
        name: plain_ratio
        for name in variant
        if name in then and name in now and (plain_ratio := _scale(variant[name], then[name], now[name])) is not None
    }


def _scale(variant: Any, then: Any, now: Any) -> Decimal | None:
    if any(hasattr(price, "tiers") for price in (variant, then, now)):
        return None if not _base(now) else _base(variant) * _base(then) / _base(now)
    return variant * then / now if now else None


def _base(price: Any) -> Decimal:
    return Decimal(price.base if hasattr(price, "tiers") else price)


def _rows(prices: Prices, start: date | None, end: date | None) -> Iterator[Record]:
    """A sheet as rows: the base, and one for each threshold at which some price changes."""
    span = {**({"from": start.isoformat()} if start else {}), **({"to": end.isoformat()} if end else {})}
    thresholds = sorted({tier.start for price in prices.values() if hasattr(price, "tiers") for tier in price.tiers})
    base = {name: price.base if hasattr(price, "tiers") else price for name, price in prices.items()}
    yield {**span, "usd": dict(_entries(base.items()))}
    for over in thresholds:
        tier = {
            name: one.price
            for name, price in prices.items()
            if hasattr(price, "tiers")
            for one in price.tiers
            if one.start == over
        }
        yield {"over_input_tokens": over, **span, "usd": dict(_entries(tier.items()))}


def _entries(prices: Iterable[tuple[str, Decimal]]) -> Iterator[tuple[str, Any]]:
    for name, usd in prices:
        unit_name, per = _UNITS[name]
        yield (
            unit_name,
            plain(usd) if per == 1_000_000 and unit_name != "character" else {"usd": plain(usd), "per": per},
        )


def today() -> str:
    """The date in UTC, for what is checked by hand now."""
    return datetime.now(UTC).date().isoformat()
