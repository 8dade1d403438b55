"""What the tokens of one's own machines would have cost at a provider: the price book's ordinary prices of a short call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from pricing.book import Book
from pricing.usage import Reading
from proxy.capacity.runs import Tokens
from proxy.money import NANO

_UNITS = ("input", "cache_read", "output")
_SHORT = 100  # tokens: no long context's price, which would be dearer


class Elsewhere(NamedTuple):
    """By model, nano-USD of a token of each unit; models without a price are not in it."""

    prices: Mapping[str, tuple[Decimal, Decimal, Decimal]]

    def nanousd(self, tokens: Tokens) -> dict[str, int]:
        """What they would have cost at each model."""
        return {
            model: int(sum(price * amount for price, amount in zip(prices, tokens, strict=True)))
            for model, prices in self.prices.items()
        }


def prices_of(book: Book, models: Sequence[str], at_s: int) -> Elsewhere:
    """The prices in force at `at_s` of models named as `provider/model`."""
    prices = {}
    for name in models:
        provider, _, model = name.partition("/")
        reading = Reading(usage=dict.fromkeys(_UNITS, _SHORT), source="provider")
        cost = book.cost(reading, provider=provider, model=model, at_s=at_s)
        by_unit = {line.unit: line.price_usd / line.per * NANO for line in cost.lines}
        if cost.status == "priced" and all(unit in by_unit for unit in _UNITS):
            prices[name] = (by_unit["input"], by_unit["cache_read"], by_unit["output"])
    return Elsewhere(prices)
