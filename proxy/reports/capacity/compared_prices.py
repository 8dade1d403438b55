"""What the tokens of one's own machines would have cost at a provider: the book's ordinary prices, by each call's context."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from pricing.book import Book
from pricing.usage import Reading
from proxy.capacity.runs import Tokens
from proxy.money import NANO

_UNITS = ("input", "cache_read", "output")
_SHORT = 100  # tokens: no long context's price

Rates = tuple[Decimal, Decimal, Decimal]
"""Nano-USD of a token of each unit."""


class Tiers(NamedTuple):
    """One model's. cuts: sizes of a call's context behind which other rates hold; `rates[n]` behind n of them."""

    cuts: tuple[float, ...]
    rates: tuple[Rates, ...]

    def of(self, context: float) -> Rates:
        return self.rates[bisect_left(self.cuts, context)]


class ComparedPrices(NamedTuple):
    """By model; models without a price are not in it."""

    prices: Mapping[str, Tiers]

    @property
    def cuts(self) -> list[float]:
        """All sizes of a context behind which one of the models costs something else, ascending."""
        return sorted({cut for tiers in self.prices.values() for cut in tiers.cuts})

    def nanousd(self, tokens: Tokens, long: Iterable[tuple[float, Tokens]] = ()) -> dict[str, int]:
        """What they would have cost at each model. long: of these the tokens of calls with a long context, and how long."""
        longer = list(long)
        made = {}
        for model, tiers in self.prices.items():
            usd = _cost(tiers.rates[0], tokens)
            usd += sum(_cost(tiers.of(size), part) - _cost(tiers.rates[0], part) for size, part in longer)
            made[model] = int(usd)
        return made

    def beyond(self, call: Tokens) -> dict[str, int]:
        """How much more one call costs at each model than `nanousd` has of its tokens."""
        size = call.input + call.cache_read
        if not any(tiers.cuts and size > tiers.cuts[0] for tiers in self.prices.values()):
            return {}
        return self.nanousd(Tokens(), [(size, call)])


def _cost(rates: Rates, tokens: Tokens) -> Decimal:
    return sum((price * amount for price, amount in zip(rates, tokens, strict=True)), Decimal(0))


def compared_prices(book: Book, models: Sequence[str], at_s: int) -> ComparedPrices:
    """The prices in force at `at_s` of models named as `provider/model`."""
    prices = {}
    for name in models:
        provider, _, model = name.partition("/")
        cuts = book.context_cuts(provider, model, at_s)
        rates = [_rates(book, provider, model, at_s, size) for size in (_SHORT, *(int(cut) + 1 for cut in cuts))]
        known_rates = [one for one in rates if one is not None]
        if len(known_rates) == len(rates):
            prices[name] = Tiers(cuts, tuple(known_rates))
    return ComparedPrices(prices)


def _rates(book: Book, provider: str, model: str, at_s: int, size: int) -> Rates | None:
    """Those of a call with a context of that size; None where not all of it has a price."""
    usage = {"input": size - 1, "cache_read": 1, "output": _SHORT}
    cost = book.cost(Reading(usage=usage, source="provider"), provider=provider, model=model, at_s=at_s)
    by_unit = {line.unit: line.price_usd / line.per * NANO for line in cost.lines}
    if cost.status != "priced" or any(unit not in by_unit for unit in _UNITS):
        return None
    return by_unit["input"], by_unit["cache_read"], by_unit["output"]
