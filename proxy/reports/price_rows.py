"""Which prices a model has, from whom and why: the operator's own, and the price book's at each provider that has the model."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pricing.catalog import Catalog, Model, plain
from pricing.price import ALWAYS_S, NEVER_S, Price, Row
from pricing.report import winners
from pricing.times import date_text, epoch_s
from proxy.config.wording import meant
from proxy.times import BadQuestion

_MAKERS = frozenset(
    {"openai", "anthropic", "google", "mistral", "deepseek", "xai", "x-ai", "cohere", "moonshotai", "dashscope"}
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class UnitPrice(_Frozen):
    """What a plain call pays: USD, as a decimal string, for `per` of the unit. `why`: source, when checked, validity."""

    unit: str
    usd: str
    per: int
    why: str


class ModelPrices(_Frozen):
    """A model at a provider. `also`: tiers, conditions and other dates, in words."""

    provider: str
    model: str
    context_tokens: int | None
    max_output_tokens: int | None
    units: list[UnitPrice]
    also: list[str]


class PricesShown(_Frozen):
    """`own`: rows of the configuration's `prices` that name the model; they win. `missing`: why there is nothing."""

    model: str
    own: list[dict[str, Any]] = Field(description="Rows of the configuration, as they stand there.")
    providers: list[ModelPrices] = Field(description="Who makes models, then who sells those of others.")
    missing: str | None


def prices_of(
    catalog: Catalog, own: Iterable[object], model: str, provider: str | None, at: str | None, now_s: float
) -> PricesShown:
    """All of it at a time (a date, or RFC 3339; now without it). model: also as PROVIDER/MODEL. Raises `BadQuestion` where `at`
    is no time."""
    try:
        at_s = epoch_s(at, int(now_s))
    except ValueError:
        raise BadQuestion(f"{at!r} is not a time; write it as 2026-12-01 or 2026-12-01T08:00:00Z") from None
    names = [catalog.canonical(provider)] if provider else sorted(catalog.lines, key=_makers_first)
    asked = [(name, model.lower()) for name in names]
    first, _, rest = model.lower().partition("/")
    if provider is None and rest and catalog.canonical(first) in catalog.lines:
        asked.insert(0, (catalog.canonical(first), rest))
    models = [(name, known) for name, its in asked if (known := catalog.find(name, its, at_s)) is not None]
    own_rows = [
        json.loads(json.dumps(row, default=str))
        for row in own
        if _names(row, model.lower(), provider) or (rest and _names(row, rest, first))
    ]
    missing = None
    if not models and not own_rows:
        where = f" at {provider}" if provider else ""
        like = meant(model, (other for name in names for other in catalog.provider(name).models if other != "*"))
        missing = (
            f"{model}{where}: the price book has no price for it; set one under `prices:` in the configuration{like}"
        )
    shown = [_model(catalog, name, known, at_s) for name, known in models]
    return PricesShown(model=model, own=own_rows, providers=shown, missing=missing)


def lines_of(shown: PricesShown) -> Iterator[str]:
    """For people, a line each."""
    for row in shown.own:
        place = row.get("provider")
        yield f"your own price{f' at {place}' if place else ''}, before all others there: {json.dumps(row)}"
    for known in shown.providers:
        whole = f"{known.provider}/{known.model}"
        asked_as = "" if shown.model.lower() in (known.model, whole) else f"  (for {shown.model})"
        yield f"{whole}{asked_as}{_limits(known)}"
        for price in known.units:
            yield f"  {price.unit:<16} {_per(price.usd, price.per):<14} {price.why}"
        for line in known.also:
            yield f"    {line}"


def _makers_first(provider: str) -> tuple[bool, str]:
    """Who makes models comes before who sells those of others."""
    return provider not in _MAKERS, provider


def _names(row: object, model: str, provider: str | None) -> bool:
    """Whether a row of the configuration's `prices` is about this model."""
    if not isinstance(row, Mapping):
        return False
    wanted = (("model", model), ("provider", provider))
    return all(name is None or fnmatch.fnmatchcase(name, str(row.get(field, "*")).lower()) for field, name in wanted)


def _model(catalog: Catalog, provider: str, known: Model, at_s: int) -> ModelPrices:
    context, most = known.limits
    return ModelPrices(
        provider=provider,
        model=known.name,
        context_tokens=context,
        max_output_tokens=most,
        units=[
            UnitPrice(unit=unit, usd=plain(price.usd), per=price.per, why=_why(row))
            for unit, (row, price) in winners((*known.rows, *catalog.common_rows(provider)), at_s).items()
        ],
        also=list(_others(known, at_s)),
    )


def _limits(prices: ModelPrices) -> str:
    parts = [
        f"{prices.context_tokens:,} tokens of context" if prices.context_tokens else "",
        f"{prices.max_output_tokens:,} of output" if prices.max_output_tokens else "",
    ]
    return "  " + ", ".join(part for part in parts if part) if any(parts) else ""


def _per(usd: str, per: int) -> str:
    return f"${usd}" + {1_000_000: "/M", 1: ""}.get(per, f"/{per}")


def _why(row: Row) -> str:
    dates = _dates(row)
    return f"{row.source}, checked {row.checked}" + (f", {dates}" if dates else "")


def _dates(row: Row) -> str:
    start = f"from {date_text(row.from_s)}" if row.from_s != ALWAYS_S else ""
    end = f"until {date_text(row.to_s)}" if row.to_s != NEVER_S else ""
    return " ".join(part for part in (start, end) if part)


def _others(model: Model, at_s: int) -> Iterator[str]:
    """Rows that do not price a plain call now: tiers, conditions, other dates."""
    for row in model.rows:
        for tier in row.tiers if row.from_s <= at_s < row.to_s else ():
            conditions = "".join(f" {name}={'|'.join(values)}" for name, values in row.when.items())
            sign = ">=" if tier.inclusive else ">"
            yield f"input {sign} {tier.over:,}{conditions}: {_prices(tier.prices)}"
        if row.when and row.from_s <= at_s < row.to_s:
            conditions = " ".join(f"{name}={'|'.join(values)}" for name, values in row.when.items())
            yield f"{conditions}: {_prices(row.prices)}  ({_why(row)})"
        elif not row.from_s <= at_s < row.to_s and not row.when:
            yield f"{_dates(row)}: {_prices(row.prices)}  ({row.source})"


def _prices(prices: Mapping[str, Price]) -> str:
    return ", ".join(f"{unit} {_per(plain(price.usd), price.per)}" for unit, price in prices.items())
