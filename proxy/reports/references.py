"""Reference prices: what one of each unit costs by price book and configuration, for comparing calls with each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from sqlalchemy.engine import Engine

from pricing.book import Book
from pricing.usage import Reading
from proxy.reports.spend import spend
from proxy.times import DAY_US


class References:
    """Prices at one moment. `providers`: model -> the provider that served most of its calls."""

    def __init__(self, book: Book, providers: Mapping[str | None, str | None], at_us: int) -> None:
        self._book = book
        self._providers = providers
        self._at_s = at_us // 1_000_000
        self._known: dict[tuple[str | None, str], Decimal | None] = {}

    def prices(self, model: str | None, units: Iterable[str]) -> dict[str, Decimal]:
        """USD for one of each unit, without tiers and discounts; without those that have no price."""
        prices = {unit: self._price(model, unit) for unit in units}
        return {unit: price for unit, price in prices.items() if price is not None}

    def _price(self, model: str | None, unit: str) -> Decimal | None:
        key = (model, unit)
        if key not in self._known:
            reading = Reading(usage={unit: 1}, source="provider")
            provider = self._providers.get(model)
            self._known[key] = None
            if model is not None and provider is not None:
                cost = self._book.cost(reading, provider=provider, model=model, at_s=self._at_s)
                self._known[key] = cost.cost_usd
        return self._known[key]


def providers_of(engine: Engine, spans: Iterable[tuple[int | None, int | None]]) -> dict[str | None, str | None]:
    """Model -> the provider of most of its calls in the days of these spans."""
    calls: dict[str | None, dict[str | None, int]] = {}
    for since, until in spans:
        first = None if since is None else since - since % DAY_US
        last = None if until is None else until + -until % DAY_US
        for row in spend(engine, ["provider", "model"], first, last):
            of_model = calls.setdefault(row.group["model"], {})
            of_model[row.group["provider"]] = of_model.get(row.group["provider"], 0) + row.requests
    return {model: max(sorted(by, key=str), key=lambda name: by[name]) for model, by in calls.items()}
