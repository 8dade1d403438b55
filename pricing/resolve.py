"""Resolution: from the rows that stand under a model to the sheet that holds at one instant under known facts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pricing.catalog import EXACT, Catalog, Located
from pricing.operator import OperatorPrice
from pricing.rows import BEGINNING_S, END_S, Multiplier, Price, Row, holds, matches
from pricing.sheet import OPERATOR_LAYER, Band, Candidate, Sheet, build_sheet, rank

BOOK_LAYER = 0
_MAX_CHOICES = 512


class Resolver:
    """Resolves for one provider. `names` of a model: as served, as the book has it, as it was asked for."""

    def __init__(self, catalog: Catalog, provider: str, operator_rows: Sequence[OperatorPrice]) -> None:
        self.catalog = catalog
        self.provider = provider
        self.operator_rows = [row for row in operator_rows if catalog.provider(row.provider) == provider]
        self.condition_names = catalog.condition_names(provider)
        self.match_names = {name for row in self.operator_rows for name in row.match}

    def sheet(
        self,
        model: str,
        at_s: int,
        facts: Mapping[str, str | None],
        attributes: Mapping[str, str | None],
        also_known_as: str | None = None,
    ) -> Sheet:
        """The prices of `model` at `at_s`."""
        located = self.catalog.locate(self.provider, model)
        span = _Span(at_s)
        candidates = [
            *self._book(located, span, facts),
            *self._operator(model, located, also_known_as, span, attributes),
        ]
        factors = [
            factor
            for factor in (*self.catalog.multipliers(self.provider, located), *self._discounts(model, located))
            if span.covers(factor) and self._strikes(factor, span) and holds(factor.when, facts)
            and holds(factor.match, attributes)
        ]  # fmt: skip
        return build_sheet(located.model if located else model, candidates, factors, (span.from_s, span.until_s))

    def assume(self, sheet: Sheet, prices: Mapping[str, Price]) -> Sheet:
        """A sheet with the operator's assumed prices under all that it has."""
        row = Row(self.provider, "*", prices, "on_unpriced")
        return sheet._replace(
            bands=(
                Band(None, {**{name: (price, row, False) for name, price in prices.items()}, **sheet.bands[0].own}, ()),
            )
        )

    def fact_choices(
        self, model: str, known: Mapping[str, str], open_names: Iterable[str]
    ) -> Iterator[dict[str, str | None]]:
        """Every combination of the facts that prices of `model` depend on and that `known` leaves open."""
        located = self.catalog.locate(self.provider, model)
        rows = [row for _, row in self.catalog.rows(self.provider, located)]
        conditions = [row.when for row in rows] + [one.when for one in self.catalog.multipliers(self.provider, located)]
        names = [name for name in open_names if name not in known]
        values: list[list[str | None]] = [
            [None, *sorted({value for when in conditions for value in when.get(name, ())})] for name in names
        ]
        for combination in itertools.islice(itertools.product(*values), _MAX_CHOICES):
            yield {**known, **{name: value for name, value in zip(names, combination, strict=True) if value}}

    def _book(self, located: Located | None, span: _Span, facts: Mapping[str, str | None]) -> Iterator[Candidate]:
        for specificity, row in self.catalog.rows(self.provider, located):
            if span.covers(row) and holds(row.when, facts) and self._strikes(row, span):
                yield Candidate(rank(BOOK_LAYER, row, specificity), row)

    def _operator(
        self,
        model: str,
        located: Located | None,
        also_known_as: str | None,
        span: _Span,
        attributes: Mapping[str, str | None],
    ) -> Iterator[Candidate]:
        names = [model, *([located.model] if located else [])]
        if also_known_as and located and self.catalog.locate(self.provider, also_known_as) == located:
            names.append(also_known_as)
        for one in self.operator_rows:
            specificity = name_specificity(one.model, names)
            if specificity is None or not (span.covers(one) and holds(one.match, attributes)):
                continue
            for row in operator_price_rows(one):
                yield Candidate(rank(OPERATOR_LAYER, row, specificity), row)

    def _discounts(self, model: str, located: Located | None) -> Iterator[Multiplier]:
        names = [model, *([located.model] if located else [])]
        for one in self.operator_rows:
            if one.multiplier is not None and name_specificity(one.model, names) is not None:
                yield Multiplier(
                    one.provider, (one.model,), one.multiplier, one.path,
                    match=one.match, from_s=one.from_s, to_s=one.to_s,
                )  # fmt: skip

    def _strikes(self, row: Row | Multiplier, span: _Span) -> bool:
        if row.clock is None:
            return True
        clock = self.catalog.clocks[row.clock]
        span.ends(clock.next_change_s(span.at_s))
        return clock.strikes(span.at_s)


class _Span:
    """How long an answer for `at_s` holds: narrowed by the beginning and the end of every row that was looked at."""

    __slots__ = ("at_s", "from_s", "until_s")

    def __init__(self, at_s: int) -> None:
        self.at_s = at_s
        self.from_s = BEGINNING_S
        self.until_s = END_S

    def ends(self, edge_s: int) -> None:
        if edge_s > self.at_s:
            self.until_s = min(self.until_s, edge_s)
        else:
            self.from_s = max(self.from_s, edge_s)

    def covers(self, row: Row | Multiplier | OperatorPrice) -> bool:
        self.ends(row.from_s)
        self.ends(row.to_s)
        return row.from_s <= self.at_s < row.to_s


def name_specificity(pattern: str, names: Sequence[str]) -> int | None:
    """How specific a match of an operator's model pattern is: exact before the longest prefix; None without a match."""
    for step, name in enumerate(names):
        if pattern.lower() == name.lower():
            return EXACT + len(names) - step
    if pattern.endswith("*") and any(matches(pattern, name) for name in names):
        return len(pattern)
    return None


def operator_price_rows(one: OperatorPrice) -> Iterator[Row]:
    """An operator's row as price rows: the plain one, and one for each tier."""
    for over, prices in [(None, one.prices), *sorted(one.tiers.items())]:
        if prices:
            yield Row(
                one.provider, one.model, prices, one.path,
                match=one.match, over=over, from_s=one.from_s, to_s=one.to_s,
            )  # fmt: skip
