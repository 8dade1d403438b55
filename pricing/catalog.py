"""The catalog: all that the price book's files say, indexed by provider and parsed only when first needed.

It answers two questions: which model is meant, and which rows and multipliers stand under it. What applies when is
decided later (`resolve.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pricing.clock import Clock, parse_clocks
from pricing.names import ModelIndex
from pricing.rows import Multiplier, Row, matches, parse_multiplier, parse_row

ANY_PROVIDER = "*"


class Located(NamedTuple):
    """A model as the book knows it. `provider` is whose rows they are: a host may sell at another provider's prices."""

    provider: str
    model: str


class Limits(NamedTuple):
    """What a model takes and gives at most, in tokens; None where the book does not say."""

    context_tokens: int | None = None
    max_output_tokens: int | None = None


class _Shelf:
    """One provider's models and rows, as they stand in the file."""

    def __init__(self, records: list[Mapping[str, Any]]) -> None:
        self.records = {record["model"]: record for record in records if "usd" not in record}
        self.index = ModelIndex(list(self.records.values()))
        self._raw: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self._parsed: dict[str, tuple[Row, ...]] = {}
        self.condition_names: set[str] = set()
        for record in records:
            if "usd" in record:
                self._raw[record["model"]].append(record)
                self.condition_names.update(record.get("when", ()))
        self._globs = [model for model in self._raw if "*" in model]

    def rows(self, model: str) -> tuple[Row, ...]:
        if model not in self._parsed:
            self._parsed[model] = tuple(parse_row(raw) for raw in self._raw.get(model, ()))
        return self._parsed[model]

    def glob_rows(self, model: str) -> list[Row]:
        return [row for glob in self._globs if matches(glob, model) for row in self.rows(glob)]


class Catalog:
    """The book's content. Everything in it is read-only; what is parsed is kept."""

    def __init__(
        self,
        records: Iterable[Mapping[str, Any]],
        *,
        multipliers: Mapping[str, Any],
        schedules: Mapping[str, Any],
        aliases: Mapping[str, Any],
    ) -> None:
        self._records: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for record in records:
            self._records[record["provider"]].append(record)
        self._shelves: dict[str, _Shelf] = {}
        self._aliases: Mapping[str, str] = aliases.get("providers", {})
        self._fallbacks: Mapping[str, list[str]] = aliases.get("sold_by", {})
        self._renamed: Mapping[str, Mapping[str, str]] = aliases.get("models", {})
        self.clocks: Mapping[str, Clock] = parse_clocks(schedules)
        self._multipliers = [parse_multiplier(raw) for raw in multipliers.get("multiplier", ())]

    def providers(self) -> list[str]:
        """All providers in the book."""
        return sorted(self._records)

    def models(self, provider: str) -> list[str]:
        """All models of a provider."""
        return list(self._shelf(provider).records)

    def provider(self, name: str) -> str:
        """The name under which a provider stands in the book."""
        lower = name.lower()
        return self._aliases.get(lower, lower)

    def sellers(self, provider: str) -> list[str]:
        """The provider, and those whose prices hold where it names none of its own."""
        return [provider, *self._fallbacks.get(provider, ())]

    def locate(self, provider: str, name: str) -> Located | None:
        """The model that a provider knows by `name`. `provider` is as `provider()` gives it."""
        for seller in self.sellers(provider):
            renamed = self._renamed.get(seller, {})
            if model := self._shelf(seller).index.find(renamed.get(name.lower(), name)):
                return Located(seller, model)
        return None

    def rows(self, provider: str, located: Located | None) -> list[tuple[int, Row]]:
        """Rows for a model, each with how specific its model name is; whole-provider rows come with it."""
        model = located.model if located else ""
        found = [(EXACT, row) for row in self._shelf(located.provider).rows(model)] if located else []
        sellers = dict.fromkeys((provider, located.provider if located else provider))
        for step, seller in enumerate(reversed(sellers)):
            found += [(len(row.model) + step * SELLER_STEP, row) for row in self._shelf(seller).glob_rows(model)]
        return found

    def multipliers(self, provider: str, located: Located | None) -> list[Multiplier]:
        """The multipliers that may touch a model's prices."""
        model = located.model if located else ""
        return [
            factor
            for factor in self._multipliers
            if factor.provider == provider and any(matches(pattern, model) for pattern in factor.models)
        ]

    def condition_names(self, provider: str) -> set[str]:
        """Every condition that some price of the provider depends on."""
        names: set[str] = set()
        for seller in self.sellers(provider):
            names |= self._shelf(seller).condition_names
        for factor in self._multipliers:
            if factor.provider == provider:
                names.update(factor.when)
        return names

    def limits(self, located: Located | None) -> Limits:
        """The model's limits."""
        record = self._shelf(located.provider).records.get(located.model, {}) if located else {}
        return Limits(record.get("context_tokens"), record.get("max_output_tokens"))

    def _shelf(self, provider: str) -> _Shelf:
        if provider not in self._shelves:
            self._shelves[provider] = _Shelf(self._records.get(provider, []))
        return self._shelves[provider]


SELLER_STEP = 1_000  # a host's own whole-provider rows win over those of whose models it sells
EXACT = 10_000
