"""The most that usage of one call can cost: a value, made once from the price book of that moment.

Without its book it is plain data (`terms`), so that an attempt that outlives its connection can be priced again from its
record, by the same terms (`CallPrice.of`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pricing.book import Book
from pricing.dearest import InputRate
from pricing.values import NOTHING, Value, frozen
from proxy.ceilings.ceiling import MEDIA_UNITS, by_medium

_NOTHING: Mapping[str, Any] = NOTHING


@frozen
class CallPrice(Value):
    """Usage in, nano-USD out; None where a unit has no price.

    at_s, until_s: when it may be billed, epoch seconds; the dearest row between them counts. fixed: conditions that the
    request settles. without: units that it cannot turn into. factor: what earlier overruns of the model taught;
    `physical`: the most that it can use at all, beyond which they teach nothing (empty: not known).
    media: tokens of the input that are of one medium. quantities:
    what may be billed in place of tokens. free: the provider bills nothing. cached_tokens: of the input, at the price of
    reading a prompt cache. answers: other models that may be billed in its place.
    """

    book: Book
    provider: str
    model: str
    at_s: int
    until_s: int
    attributes: Mapping[str, str | None]
    fixed: Mapping[str, str] = _NOTHING
    without: frozenset[str] = frozenset()
    factor: float = 1.0
    physical: Mapping[str, int] = _NOTHING
    media: Mapping[str, int] = _NOTHING
    quantities: Mapping[str, int] = _NOTHING
    free: bool = False
    cached_tokens: int = 0
    answers: Sequence[str] = ()

    def __call__(self, usage: Mapping[str, int]) -> int | None:
        return self.nanousd(usage)

    def nanousd(self, usage: Mapping[str, int]) -> int | None:
        if not (self.free or self.cached_tokens or self.media or self.quantities) and self.factor == 1:
            return self._dearest(usage, self.without)  # what most are
        if self.free:
            return 0
        if self.cached_tokens:
            cached = min(self.cached_tokens, usage.get("input", 0))
            usage = {**usage, "input": usage.get("input", 0) - cached, "cache_read": cached}
        apart = by_medium(usage, self.media)
        tokens = self._at_most(apart, self.without if apart is usage else self.without | MEDIA_UNITS)
        if not self.quantities:
            return tokens
        # Models are billed in tokens or in other units: the dearer of the two is the bound.
        for_others = self._at_most(self.quantities, self.without)
        return max(tokens or 0, for_others or 0) if (tokens, for_others) != (None, None) else None

    def rate(self, usage: Mapping[str, int]) -> InputRate | None:
        """How `nanousd` grows with the tokens of the input alone; None where it does not so simply."""
        if self.free or self.cached_tokens or self.media or self.quantities or self.answers or self.factor != 1:
            return None
        return self.book.ceiling_rate(
            usage, provider=self.provider, model=self.model, at_s=self.at_s, until_s=self.until_s, fixed=self.fixed,
            without=self.without,
        )  # fmt: skip

    def _at_most(self, usage: Mapping[str, int], without: frozenset[str]) -> int | None:
        nanousd = self._dearest(usage, without)
        if self.factor == 1 or nanousd is None:
            return nanousd
        raised = math.ceil(nanousd * self.factor)
        most = self._dearest(self.physical, without) if self.physical else None
        return raised if most is None else max(nanousd, min(raised, most))

    def _dearest(self, usage: Mapping[str, int], without: frozenset[str]) -> int | None:
        nanousd = self._of(self.model, usage, without)
        if not self.answers:
            return nanousd
        prices = [nanousd, *[self._of(other, usage, without) for other in self.answers]]
        return None if None in prices else max(price for price in prices if price is not None)

    def _of(self, model: str, usage: Mapping[str, int], without: frozenset[str]) -> int | None:
        return self.book.ceiling_nanousd(
            usage,
            provider=self.provider,
            model=model,
            at_s=self.at_s,
            until_s=self.until_s,
            attributes=self.attributes,
            fixed=self.fixed,
            without=without,
        )

    def reading(self, cached_tokens: int) -> CallPrice:
        """The same for a call that reads so much of its input from a cache."""
        return self._replace(cached_tokens=cached_tokens)

    def terms(self) -> dict[str, Any]:
        """Everything but the book, as JSON can hold it."""
        return {
            "provider": self.provider,
            "model": self.model,
            "at_s": self.at_s,
            "until_s": self.until_s,
            "attributes": dict(self.attributes),
            "fixed": dict(self.fixed),
            "without": sorted(self.without),
            "factor": self.factor,
            "physical": dict(self.physical),
            "media": dict(self.media),
            "things": dict(self.quantities),
            "free": self.free,
            "cached_tokens": self.cached_tokens,
            "answers": list(self.answers),
        }

    @classmethod
    def of(cls, book: Book, terms: Mapping[str, Any]) -> CallPrice:
        """The price that `terms` were taken from."""
        return cls(book, **{**terms, "without": frozenset(terms["without"])})
