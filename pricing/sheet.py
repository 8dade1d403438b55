"""A sheet: every price that applies to one model under one set of facts, resolved and ready to multiply.

Resolution picks, for each unit, the best of the rows that apply: the operator's before the book's, the most specific
model name, the most conditions, the latest start. Long-context tiers are bands of one sheet: the call's input tokens
choose the band, and the band prices the whole call. A unit without a price takes its parent's. Multipliers come last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from pricing.money import plain
from pricing.rows import BEGINNING_S, Multiplier, Price, Row
from pricing.units import lineage, unit


class Applied(NamedTuple):
    """A price after multipliers, where it comes from, and whether the operator named it."""

    usd: Decimal
    per: int
    min_quantity: Decimal | int
    source: str
    operator: bool


class Candidate(NamedTuple):
    """A row that applies, with its rank: what compares greater wins."""

    rank: tuple[int, int, int, int, int]
    row: Row


class Band:
    """The prices of one band of input sizes; `over` None is the lowest. Parents' prices are filled in when asked for."""

    __slots__ = ("_factors", "over", "own", "prices")

    def __init__(
        self, over: int | None, own: Mapping[str, tuple[Price, Row, bool]], factors: Sequence[Multiplier]
    ) -> None:
        self.over = over
        self.own = own
        self._factors = factors
        self.prices: dict[str, Applied | None] = {}
        for name in own:
            self.price(name)

    def price(self, name: str) -> Applied | None:
        """The price of a unit, its own or an ancestor's; None where there is none."""
        if name not in self.prices:
            found = next((self.own[one] for one in lineage(name) if one in self.own), None)
            self.prices[name] = self._apply(name, *found) if found else None
        return self.prices[name]

    def _apply(self, name: str, price: Price, row: Row, operator: bool) -> Applied:
        usd, source = price.usd, row.source
        for factor in self._factors:
            if factor.touches(name):
                usd *= factor.factor
                source += f" x {plain(factor.factor)} ({factor.source})"
        return Applied(usd, price.per, price.min_quantity, source, operator)


class Sheet(NamedTuple):
    """Resolved prices, good for instants in [from_s, until_s). `bands` from the lowest to the highest."""

    model: str
    bands: tuple[Band, ...]
    from_s: int
    until_s: int
    specific: bool
    has_operator_prices: bool

    def band(self, input_tokens: Decimal | int) -> Band:
        """The band that a call with so many input tokens falls into."""
        best = self.bands[0]
        for band in self.bands[1:]:
            if band.over is not None and input_tokens > band.over:
                best = band
        return best


OPERATOR_LAYER = 1


def build_sheet(
    model: str, candidates: Iterable[Candidate], factors: Sequence[Multiplier], span: tuple[int, int]
) -> Sheet:
    """The sheet that follows from the rows and multipliers that apply within `span`."""
    ranked = sorted(candidates, key=lambda one: one.rank)
    thresholds = sorted({one.row.over for one in ranked if one.row.over is not None})
    bands = []
    for over in (None, *thresholds):
        own: dict[str, tuple[Price, Row, bool]] = {}
        for rank, row in ranked:
            if row.over is None or (over is not None and row.over <= over):
                own.update({name: (price, row, rank[0] == OPERATOR_LAYER) for name, price in row.prices.items()})
        bands.append(Band(over, own, factors))
    return Sheet(
        model=model,
        bands=tuple(bands),
        from_s=span[0],
        until_s=span[1],
        specific=any(_is_specific(one) for one in ranked),
        has_operator_prices=any(one.rank[0] == OPERATOR_LAYER for one in ranked),
    )


def _is_specific(candidate: Candidate) -> bool:
    """Whether a row makes its model a priced one: tool prices of a whole provider do not."""
    return any(unit(name).kind != "tool" for name in candidate.row.prices)


def rank(layer: int, row: Row, specificity: int) -> tuple[int, int, int, int, int]:
    """How a row compares: layer, model name, number of conditions (a clock is one), start, threshold."""
    conditions = len(row.when) + len(row.match) + (row.clock is not None)
    return layer, specificity, conditions, max(row.from_s, BEGINNING_S), -1 if row.over is None else row.over
