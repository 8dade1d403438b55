"""`corrections.toml`: what the sources have wrong or lack, each with why, where from and when checked.

- `[[price]]` sets prices of a model for a period and conditions, in place of what sources say for the same units;
  with `whole = true` in place of everything they say of the model.
- `[[drop]]` removes a model (or only some `units` of it).
- `[[settled]]` says why a disagreement of sources is as it is kept.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pricing.catalog import Limits, choices, parse_price
from pricing.merge import Disagreement
from pricing.price import ALWAYS_S, NEVER_S, Row, Tier
from pricing.sources.offer import Offer
from pricing.times import epoch_s
from pricing.values import frozen

Offers = dict[tuple[str, str], Offer]


@frozen
class Corrections:
    """The file, parsed."""

    prices: tuple[Mapping[str, Any], ...]
    drops: tuple[Mapping[str, Any], ...]
    settled: tuple[Mapping[str, Any], ...]


def read(path: Path) -> Corrections:
    """Raises ValueError where an entry does not say why, from where and when."""
    raw = tomllib.loads(path.read_text())
    groups = [tuple(raw.get(name, ())) for name in ("price", "drop", "settled")]
    for entry in (entry for group in groups for entry in group):
        if missing := [name for name in ("provider", "why", "source", "checked") if not entry.get(name)]:
            raise ValueError(f"{path.name}: {entry} lacks {', '.join(missing)}")
    return Corrections(*groups)


def apply(offers: Offers, corrections: Corrections) -> None:
    """Change `offers` in place."""
    for entry in corrections.drops:
        for key in [key for key in offers if key[0] == entry["provider"] and fnmatchcase(key[1], entry["model"])]:
            _drop(offers, key, frozenset(entry.get("units", ())))
    for entry in corrections.prices:
        models = entry["model"] if isinstance(entry["model"], list) else [entry["model"]]
        for model in models:
            if model != "*" and model.endswith("*"):
                for key in [key for key in offers if key[0] == entry["provider"] and fnmatchcase(key[1], model)]:
                    _set(offers, entry, key[1])
            else:
                _set(offers, entry, model)


def unsettled(disagreements: Iterable[Disagreement], corrections: Corrections) -> list[Disagreement]:
    """Those that no entry settles."""
    return [one for one in disagreements if not any(_settles(entry, one) for entry in corrections.settled)]


def _settles(entry: Mapping[str, Any], disagreement: Disagreement) -> bool:
    models = entry["model"] if isinstance(entry["model"], list) else [entry["model"]]
    return (
        entry["provider"] == disagreement.provider
        and disagreement.kept_source.startswith(entry["kept"])
        and any(fnmatchcase(disagreement.model, model) for model in models)
        and ("units" not in entry or disagreement.unit in entry["units"])
    )


def _drop(offers: Offers, key: tuple[str, str], units: frozenset[str]) -> None:
    if not units:
        del offers[key]
        return
    offers[key].rows = [left for row in offers[key].rows if (left := _without(row, units)).prices]


def _without(row: Row, units: frozenset[str]) -> Row:
    tiers = tuple(
        replace(tier, prices={unit: price for unit, price in tier.prices.items() if unit not in units})
        for tier in row.tiers
    )
    prices = {unit: price for unit, price in row.prices.items() if unit not in units}
    return replace(row, prices=prices, tiers=tuple(tier for tier in tiers if tier.prices))


def _set(offers: Offers, entry: Mapping[str, Any], model: str) -> None:
    provider = entry["provider"]
    if (provider, model) not in offers and entry.get("when"):  # prices under a condition belong to the model they vary
        model = next((one.model for one in offers.values() if one.provider == provider and model in one.names), model)
    offer = offers.setdefault((provider, model), Offer(provider, model))
    offer.names = tuple({*offer.names, *entry.get("names", ())})
    offer.limits = Limits(
        entry.get("context_tokens", offer.limits.context_tokens),
        entry.get("max_output_tokens", offer.limits.max_output_tokens),
    )
    row = Row(
        provider,
        model,
        {unit: parse_price(text, unit) for unit, text in entry["prices"].items()},
        tuple(
            Tier(
                tier["over"],
                {unit: parse_price(text, unit) for unit, text in tier["prices"].items()},
                tier.get("inclusive", False),
            )
            for tier in entry.get("tiers", ())
        ),
        epoch_s(entry.get("from"), ALWAYS_S),
        epoch_s(entry.get("to"), NEVER_S),
        choices(entry.get("when", {})),
        f"correction: {entry['source']}",
        str(entry["checked"]),
    )
    if entry.get("whole"):
        offer.rows = [one for one in offer.rows if one.source.startswith("correction")]
    else:
        offer.rows = [left for one in offer.rows for left in _make_room(one, row)]
    offer.rows.append(row)


def _make_room(row: Row, new: Row) -> list[Row]:
    """What is left of a row beside a new one: its time before and after, and other units meanwhile."""
    if row.source.startswith("correction") or dict(row.when) != dict(new.when):
        return [row]
    if row.to_s <= new.from_s or new.to_s <= row.from_s:
        return [row]
    parts = []
    if row.from_s < new.from_s:
        parts.append(replace(row, to_s=new.from_s))
    meanwhile = _without(row, frozenset(new.prices))
    if meanwhile.prices:
        parts.append(replace(meanwhile, from_s=max(row.from_s, new.from_s), to_s=min(row.to_s, new.to_s)))
    if new.to_s < row.to_s:
        parts.append(replace(row, from_s=new.to_s))
    return parts
