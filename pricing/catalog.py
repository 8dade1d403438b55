"""The price book's rows, by provider and model, and the many names that a model goes by.

Providers are parsed when first asked for: a proxy talks to a few of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from pricing.clock import Schedule
from pricing.price import ALWAYS_S, NEVER_S, Multiplier, Price, Row, Tier, specificity
from pricing.times import epoch_s
from pricing.units import default_per
from pricing.values import frozen, slotted


class Limits(NamedTuple):
    """Tokens that a model takes at most, and makes at most in one answer; None where unknown."""

    context_tokens: int | None
    max_output_tokens: int | None


NO_LIMITS = Limits(None, None)
PLACES = ("region", "bedrock_region")  # conditions that say where a call was served


@frozen
class Model:
    """One model of one provider. `names`: other names, patterns with a trailing *; lower case."""

    name: str
    rows: tuple[Row, ...]
    limits: Limits = NO_LIMITS


@frozen
class Alias:
    """`name` (or trailing-* pattern) means `model` in [from_s, to_s)."""

    name: str
    model: str
    from_s: int = ALWAYS_S
    to_s: int = NEVER_S


class Provider:
    """All models of a provider, and how their names are understood.

    `aliases` are ours, dated, and win over everything; `names` are other names and patterns from the sources.
    `fallbacks`: providers whose models this one sells at their prices.
    """

    def __init__(
        self,
        name: str,
        models: Mapping[str, Model],
        aliases: Iterable[Alias] = (),
        names: Iterable[tuple[str, str]] = (),
        fallbacks: tuple[Provider, ...] = (),
    ) -> None:
        self.name = name
        self.models = models
        self._aliases = tuple(aliases)
        self._exact = {other: model for other, model in names if "*" not in other}
        self._patterns = tuple((other, other.strip("*"), model) for other, model in names if "*" in other)
        self._fallbacks = fallbacks
        self._snapshots: dict[str, list[str]] | None = None
        self._places: frozenset[tuple[str, str]] | None = None

    def snapshots(self, name: str) -> list[str]:
        """Every name under which a model may answer that is asked for by `name` (lower case): its own snapshots.

        A name that says which snapshot it means has none but itself.
        """
        undated = dateless(name)
        return [other for provider in (self, *self._fallbacks) for other in provider.by_undated().get(undated, ())]

    def by_undated(self) -> Mapping[str, list[str]]:
        """All names by what is left of them without a date or version."""
        if self._snapshots is None:
            self._snapshots = {}
            patterns = (fixed.rstrip("-@") for _, fixed, _ in self._patterns)
            aliases = (alias.name for alias in self._aliases if "*" not in alias.name)
            for name in dict.fromkeys((*self.models, *self._exact, *aliases, *patterns)):
                self._snapshots.setdefault(undated_name(name), []).append(name)
        return self._snapshots

    def find(self, name: str, at_s: int) -> Model | None:
        """The model that goes by `name` (lower case) at that time: by its own name, by another, by a pattern."""
        tried = (name, *simpler_names(name))
        for provider in (self, *self._fallbacks):
            for spelling in tried:
                if (model := provider.exactly(spelling, at_s)) is not None:
                    return model
            for spelling in tried:
                if (model := provider.by_pattern(spelling)) is not None:
                    return model
        return None

    def exactly(self, name: str, at_s: int) -> Model | None:
        """By an alias that holds then, by its own name, by another."""
        dated = [
            (_closeness(alias.name, name), alias.from_s, alias.model)
            for alias in self._aliases
            if alias.from_s <= at_s < alias.to_s and _closeness(alias.name, name)
        ]
        if dated and (model := self.models.get(max(dated)[2])) is not None:
            return model
        return self.models.get(name) or self.models.get(self._exact.get(name, ""))

    def by_pattern(self, name: str) -> Model | None:
        """By the pattern that fixes most of the name."""
        near = ((_closeness(pattern, name), model) for pattern, fixed, model in self._patterns if fixed in name)
        closest = max(near, default=(0, ""))
        return self.models.get(closest[1]) if closest[0] else None

    def places(self) -> frozenset[tuple[str, str]]:
        """Every place that some price is for, as the condition and its value."""
        if self._places is None:
            rows = (row for model in self.models.values() for row in model.rows)
            self._places = frozenset(places_in(rows)).union(*(other.places() for other in self._fallbacks))
        return self._places


def places_in(entries: Iterable[Row | Multiplier]) -> Iterator[tuple[str, str]]:
    """The places that rows and factors are for."""
    for entry in entries:
        for name in PLACES:
            for value in entry.when.get(name, ()):
                yield name, value


def _closeness(pattern: str, name: str) -> int:
    """0: no match; above the name's length: exact; else how many characters the pattern fixes. `*` at either end."""
    if pattern == name:
        return len(name) + 1
    fixed = pattern.strip("*")
    if len(fixed) == len(pattern) or not fixed or fixed not in name:
        return 0
    if not pattern.startswith("*") and not name.startswith(fixed):
        return 0
    if not pattern.endswith("*") and not name.endswith(fixed):
        return 0
    return len(fixed)


_PREFIXES = re.compile(
    r"^(models/|publishers/[^/]+/models/|accounts/fireworks/models/|(?:.*[/:])?foundation-model/|.*inference-profile/)"
)
_WAY_OF_SERVING = re.compile(r":(online|nitro|floor|exacto|extended|thinking|beta)$")  # a router's; not another model
_LATEST = re.compile(r"[-:@]latest$|@default$")
_DATES_AND_VERSIONS = (
    re.compile(r"[-@]20\d{2}-?[01]\d-?[0-3]\d(-v\d+(:\d+)?)?$"),  # a snapshot's date, Bedrock's version behind it
    re.compile(r"-v\d+:\d+$"),
    re.compile(r"-0\d{3}$|-[01]\d-\d{4}$|-\d{2}-\d{2}$"),
    _LATEST,
    re.compile(r"-00\d$"),
)
_SUFFIXES = (_WAY_OF_SERVING, *_DATES_AND_VERSIONS)
_YEAR_AND_MONTH = re.compile(r"-2[2-9](0[1-9]|1[0-2])$")  # Mistral's, Qwen's


def bare_name(name: str) -> str:
    """A model's name without a resource path before it."""
    return _PREFIXES.sub("", name)


def undated_name(name: str) -> str:
    """A model's name (lower case) without all that says which of its snapshots is meant."""
    undated = bare_name(name)
    if undated.startswith("ft:"):
        return undated
    while True:
        before = undated
        for suffix in (*_DATES_AND_VERSIONS, _YEAR_AND_MONTH):
            undated = suffix.sub("", undated)
        if undated == before:
            return undated


def dateless(name: str) -> str:
    """The name that all snapshots have without their dates which may answer to `name`; "" where it says which one it means."""
    undated = undated_name(name)
    return undated if undated == _LATEST.sub("", bare_name(name)) else ""


def is_snapshot(pattern: str, name: str) -> bool:
    """Whether a name, or what a trailing-* pattern begins with, is that of a snapshot which may answer to `name`."""
    undated = dateless(name)
    return undated != "" and undated_name(pattern.rstrip("*")) == undated


def _if_all_agree(models: list[Model]) -> Model | None:
    """The first of models whose prices are all the same; None where they differ: a router's choice is then unknown."""
    prices = [[(row.when, row.from_s, row.prices) for row in model.rows] for model in models]
    return models[0] if models and all(one == prices[0] for one in prices) else None


def simpler_names(name: str) -> list[str]:
    """Names that `name` may stand for, nearest first: without a resource path, without a snapshot's date or version."""
    simpler = []
    bare = bare_name(name)
    if bare.startswith("ft:"):  # `ft:<base>:<organisation>::<id>`: a price of its own, never the base's
        return [":".join(bare.split(":")[:2])]
    if bare != name:
        simpler.append(bare)
    for suffix in _SUFFIXES:
        shorter = suffix.sub("", bare)
        if shorter != bare and shorter not in simpler:
            simpler.append(shorter)
    return simpler


@lru_cache(maxsize=8192)
def parse_price(text: str, unit: str) -> Price:
    """ "2.5", "0.006/60" or "0.111/3600>=10": USD, per how many where not the unit's default, billed at least."""
    text, _, at_least = text.partition(">=")
    usd, _, per = text.partition("/")
    return Price(Decimal(usd), int(per) if per else default_per(unit), Decimal(at_least) if at_least else 0)


def price_text(price: Price, unit: str) -> str:
    """The inverse of `parse_price`."""
    per = "" if price.per == default_per(unit) else f"/{price.per}"
    return f"{plain(price.usd)}{per}" + (f">={plain(price.at_least)}" if price.at_least else "")


def plain(number: Decimal | int) -> str:
    """A decimal without exponent or needless zeros."""
    text = f"{Decimal(number):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def choices(raw: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """`{key: value or list of values}`, lower case."""
    return {
        key: tuple(str(one).lower() for one in (value if isinstance(value, list) else [value]))
        for key, value in raw.items()
    }


def row_of(raw: Mapping[str, Any]) -> Row:
    """A row from its JSON object."""
    return Row(
        raw["provider"],
        raw["model"],
        _prices(raw["prices"]),
        tuple(Tier(tier["over"], _prices(tier["prices"]), tier.get("inclusive", False)) for tier in raw["tiers"])
        if "tiers" in raw
        else (),
        epoch_s(raw["from"], ALWAYS_S) if "from" in raw else ALWAYS_S,
        epoch_s(raw["to"], NEVER_S) if "to" in raw else NEVER_S,
        choices(raw["when"]) if "when" in raw else _ALWAYS,
        raw["source"],
        raw["checked"],
    )


_ALWAYS: Mapping[str, tuple[str, ...]] = {}


def _prices(raw: Mapping[str, str]) -> dict[str, Price]:
    return {unit: parse_price(text, unit) for unit, text in raw.items()}


_KEPT = 4096  # how many names it remembers to be routers or not


@slotted
class Catalog:
    """All providers. `lines`: the unparsed lines of each; `names`: other names of providers; `routers`: models that choose
    another and whose price is a fee on top of its."""

    version: str
    lines: Mapping[str, list[bytes]]
    names: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, tuple[Alias, ...]] = field(default_factory=dict)
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    routers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    multipliers: Mapping[str, tuple[Multiplier, ...]] = field(default_factory=dict)
    parse: Callable[[bytes], Any] = json.loads
    _providers: dict[str, Provider] = field(default_factory=dict)
    _chosen_by: dict[tuple[str, str], bool] = field(default_factory=dict)

    def is_router(self, provider: str, model: str, at_s: int) -> bool:
        """Whether that model only chooses another, for a fee of its own."""
        key = (provider, model)
        chosen = self._chosen_by.get(key)
        if chosen is None:
            canonical = self.canonical(provider)
            routers = self.routers.get(canonical, ())
            model_row = self.find(canonical, model.lower(), at_s) if routers else None
            if len(self._chosen_by) >= _KEPT:
                self._chosen_by.clear()
            chosen = self._chosen_by[key] = model_row is not None and model_row.name in routers
        return chosen

    def canonical(self, provider: str) -> str:
        """The book's name of a provider, in lower case whether it is known or not."""
        name = provider.lower().replace("_", "-")
        return self.names.get(name, name)

    def find(self, provider: str, name: str, at_s: int) -> Model | None:
        """The model that goes by `name` (lower case) at a provider (canonical). Routers name the host behind a colon."""
        host = name.rpartition(":")[2]
        if host != name and f"{provider}-{host}" in self.lines:
            return self.provider(f"{provider}-{host}").find(name.rpartition(":")[0], at_s)
        if (listed := self.provider(provider).find(name, at_s)) is not None or provider != "huggingface":
            return listed
        hosts = [self.provider(host) for host in self.lines if host.startswith("huggingface-")]
        return _if_all_agree([model for host in hosts if (model := host.find(name, at_s)) is not None])

    def snapshots(self, provider: str, name: str, at_s: int) -> dict[str, Model]:
        """The models, by their names, that may answer to `name` (lower case) at a provider (canonical)."""
        models = {}
        for other in self.provider(provider).snapshots(name):
            if (model := self.find(provider, other, at_s)) is not None:
                models[other] = model
        return models

    def answers_to(self, provider: str, served: str, name: str, at_s: int) -> bool:
        """Whether the model that calls itself `served` is the one that is meant by `name`, or one of its snapshots."""
        lower, asked = bare_name(served.lower()), bare_name(name.lower())
        if lower == asked or is_snapshot(lower, asked):
            return True
        canonical = self.canonical(provider)
        model = self.find(canonical, lower, at_s)
        other = None if model is None else self.find(canonical, asked, at_s)
        return model is not None and (
            (other is not None and other.name == model.name) or model in self.snapshots(canonical, asked, at_s).values()
        )

    def knows_place(self, provider: str, facts: Mapping[str, str], names: Iterable[str], model: Model) -> bool:
        """Whether the prices of a model of a provider (canonical) are the same everywhere, as far as is known, or some price of
        the provider is for the place where a call was served. names: all that the model goes by."""
        factors = self.multipliers.get(provider, ())
        own = [one for one in factors if any(specificity(one.model, name) is not None for name in names)]
        depends_on = {name for name, _ in places_in((*model.rows, *own))}
        if not (served := [(name, facts[name]) for name in depends_on if name in facts]):
            return True
        return self.provider(provider).places().union(places_in(factors)).issuperset(served)

    def common_rows(self, provider: str) -> tuple[Row, ...]:
        """Rows that hold for all models of a provider: its tools, its hardware."""
        common = self.provider(provider).models.get("*")
        return common.rows if common is not None else ()

    def provider(self, name: str) -> Provider:
        """The provider of that canonical name; one without models where it is unknown."""
        if (listed := self._providers.get(name)) is not None:
            return listed
        rows: dict[str, list[Row]] = {}
        limits: dict[str, Limits] = {}
        names: list[tuple[str, str]] = []
        for line in self.lines.get(name, ()):
            raw = self.parse(line)
            if "prices" in raw:
                rows.setdefault(raw["model"], []).append(row_of(raw))
            if "context_tokens" in raw or "max_output_tokens" in raw:
                limits[raw["model"]] = Limits(raw.get("context_tokens"), raw.get("max_output_tokens"))
            names += [(other, raw["model"]) for other in raw.get("names", ())]
        models = {model: Model(model, tuple(own), limits.get(model, NO_LIMITS)) for model, own in rows.items()}
        fallbacks = tuple(self.provider(other) for other in self.fallbacks.get(name, ()))
        made = Provider(name, models, self.aliases.get(name, ()), names, fallbacks)
        if name in self.lines:  # an unknown name comes from outside and must not grow the table
            self._providers[name] = made
        return made
