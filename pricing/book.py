"""The price book: what a reading costs, whether a model has a price, what a call can cost at most.

A book is a value: `with_operator` makes another one. Inside it remembers the sheets that it resolved, so that a cost is
a dictionary look-up and a few multiplications.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from pricing.catalog import Catalog, Limits
from pricing.cost import Cost, CostLine, CostStatus
from pricing.money import parse_amount, to_nanousd, to_nanousd_up
from pricing.operator import OperatorPrice
from pricing.resolve import Resolver
from pricing.rows import Price
from pricing.sheet import Sheet
from pricing.units import BILLED_AS, INPUT_SIDE, unit
from pricing.usage import Quantity, Reading, Usage

_MAX_SHEETS = 4096
_NOTHING: Mapping[str, str | None] = {}
_ONE_PERCENT = Decimal("0.01")

# Facts that only the response tells: a ceiling takes the dearest unless the caller knows better. Everything else that
# prices depend on (speed, batch, endpoint) happens only where the request asks for it.
_SERVED = ("service_tier", "geo", "size", "quality", "resolution", "search_context_size")


class _Priced(NamedTuple):
    """A resolved sheet and what must be said about it."""

    sheet: Sheet
    flags: tuple[str, ...]


class _Bill:
    """Lines coming together."""

    __slots__ = ("has_operator_prices", "holes", "lines")

    def __init__(self) -> None:
        self.lines: list[CostLine] = []
        self.holes: list[str] = []
        self.has_operator_prices = False

    def add(self, usage: Usage, sheet: Sheet, model: str | None) -> None:
        band = sheet.bands[0] if len(sheet.bands) == 1 else sheet.band(input_tokens(usage))
        holes, in_things = [], False
        for name, quantity in usage.items():
            price = band.prices[name] if name in band.prices else band.price(name)
            if price is None:
                holes.append(name)
                continue
            usd, per, least, source, operator = price
            billed = max(quantity, least)
            self.lines.append(CostLine(name, billed, usd, per, billed * usd / per, model, source))
            self.has_operator_prices = self.has_operator_prices or operator
            in_things = in_things or unit(name).kind == "thing"
        for name in holes:
            kind = unit(name).kind
            # What is billed by the thing made (a page, a GPU's second) does not bill its tokens as well; and that a
            # request was made costs nothing where no price says so.
            if not (name == "request" or (kind == "token" and in_things)):
                self.holes.append(name)


class Book:
    """Prices by provider, model, date and condition. Make one with `pricing.load.load_book`."""

    def __init__(
        self,
        catalog: Catalog,
        version: str,
        operator_rows: Sequence[OperatorPrice] = (),
        assumed: Mapping[str, Price] | None = None,
    ) -> None:
        self.catalog = catalog
        self.version = version
        self.operator_rows = tuple(operator_rows)
        self._base_version = version.partition("+")[0]
        self._assumed = assumed
        self._resolvers: dict[str, Resolver] = {}
        self._sheets: dict[tuple[object, ...], _Priced] = {}
        self._ceilings: dict[tuple[object, ...], list[Sheet]] = {}

    def with_operator(
        self, rows: Sequence[OperatorPrice], assumed: Mapping[str, str] | None = None
    ) -> Book:  # fmt: skip
        """This book under an operator's own rows; `assumed` has USD per million `input` and `output` for the unpriced.

        Raises ValueError where an assumed price is no amount.
        """
        prices = {name: Price(parse_amount(usd), unit(name).per) for name, usd in (assumed or {}).items()}
        version = self._base_version
        if rows or prices:
            version += "+" + hashlib.sha256(repr((tuple(rows), prices)).encode()).hexdigest()[:8]
        return Book(self.catalog, version, rows, prices or None)

    def cost(
        self,
        reading: Reading,
        *,
        provider: str,
        model: str,
        at_s: int,
        endpoint: str | None = None,
        attributes: Mapping[str, str | None] | None = None,
    ) -> Cost:
        """What `reading` costs at `provider`. `model` is the routed name, `at_s` when the call completed (epoch seconds).

        attributes: what operator rows may `match` (team, key, label.x, …).
        """
        facts = reading.conditions
        priced = self._priced(provider, model, reading.model, at_s, facts, endpoint, attributes or _NOTHING)
        bill = _Bill()
        bill.add(reading.usage, priced.sheet, None)
        flags = reading.flags + priced.flags if reading.usage and priced.flags else reading.flags
        for part in reading.parts:
            inner = self._priced(provider, part.model, None, at_s, facts, endpoint, attributes or _NOTHING)
            bill.add(part.usage, inner.sheet, None if part.model == (reading.model or model) else part.model)
        return self._total(reading, bill, flags, model)

    def _total(self, reading: Reading, bill: _Bill, flags: tuple[str, ...], model: str) -> Cost:
        reported = reading.provider_cost_usd
        computed: Decimal | None = sum((line.cost_usd for line in bill.lines), Decimal(0))
        status: CostStatus = "partial" if bill.holes else "priced"
        if not bill.lines and (bill.holes or reading.source == "none"):
            status, computed = "unpriced", None
        taken, is_reported = computed, False
        if reported is not None and not (bill.has_operator_prices and status == "priced"):
            taken, is_reported = reported, True
            if status == "priced" and computed is not None and _differs(computed, reported):
                flags = (*flags, "provider_cost_differs")
            status = "priced"
        return Cost(
            status=status,
            lines=tuple(bill.lines),
            cost_usd=taken,
            cost_nanousd=None if taken is None else to_nanousd(taken),
            source="provider" if is_reported else "computed",
            provider_reported_cost_usd=reported,
            flags=flags,
            price_version=self.version,
            model=reading.model or model,
        )

    def is_priced(
        self, provider: str, model: str, at_s: int, attributes: Mapping[str, str | None] | None = None
    ) -> bool:
        """Whether anything of the model itself has a price (that of an operator's `assumed` one included)."""
        return (
            self._assumed is not None
            or self._priced(provider, model, None, at_s, _NOTHING, None, attributes or _NOTHING).sheet.specific
        )

    def limits(self, provider: str, model: str) -> Limits:
        """The model's context and output limits, as far as the book knows them."""
        return self.catalog.limits(self.catalog.locate(self.catalog.provider(provider), model))

    def ceiling(
        self,
        usage_bound: Usage,
        *,
        provider: str,
        model: str,
        at_s: int,
        until_s: int,
        endpoint: str | None = None,
        attributes: Mapping[str, str | None] | None = None,
        conditions: Mapping[str, str] | None = None,
    ) -> Decimal | None:
        """The most that a usage within `usage_bound` can cost between two instants (epoch seconds); None = unpriced.

        conditions: what the request says of tier, speed, size and the like. Where it says nothing of a fact that the
        provider decides (service tier, geo), the dearest is taken; input may turn out to be cache writes of any kind.
        """
        dearest: Decimal | None = None
        total_input = input_tokens(usage_bound)
        for sheet in self._reachable(
            provider, model, at_s, until_s, conditions or {}, endpoint, attributes or _NOTHING
        ):
            for band in sheet.bands:
                if band.over is not None and total_input <= band.over:
                    continue
                cost = Decimal(0)
                for name, quantity in usage_bound.items():
                    prices = [band.price(one) for one in BILLED_AS.get(name, (name,))]
                    known = [price for price in prices if price is not None]
                    if not known:
                        if name == "request":
                            continue
                        return None
                    cost += max(max(quantity, price.min_quantity) * price.usd / price.per for price in known)
                dearest = cost if dearest is None else max(dearest, cost)
        return dearest

    def ceiling_nanousd(
        self,
        usage_bound: Usage,
        *,
        provider: str,
        model: str,
        at_s: int,
        until_s: int,
        endpoint: str | None = None,
        attributes: Mapping[str, str | None] | None = None,
        conditions: Mapping[str, str] | None = None,
    ) -> int | None:
        """`ceiling` in nano-USD, rounded up."""
        dearest = self.ceiling(
            usage_bound, provider=provider, model=model, at_s=at_s, until_s=until_s,
            endpoint=endpoint, attributes=attributes, conditions=conditions,
        )  # fmt: skip
        return None if dearest is None else to_nanousd_up(dearest)

    def _reachable(
        self,
        provider: str,
        model: str,
        at_s: int,
        until_s: int,
        known: Mapping[str, str],
        endpoint: str | None,
        attributes: Mapping[str, str | None],
    ) -> list[Sheet]:
        """Every sheet that a call may be priced by; remembered until the first of them changes."""
        resolver = self._resolver(provider)
        matched = tuple((name, attributes.get(name)) for name in sorted(resolver.match_names))
        key = (provider, model, tuple(sorted(known.items())), endpoint, matched, until_s - at_s)
        sheets = self._ceilings.get(key)
        if sheets and sheets[0].from_s <= at_s and at_s < min(sheet.until_s for sheet in sheets) - (until_s - at_s):
            return sheets
        sheets = []
        for facts in resolver.fact_choices(model, known, _SERVED):
            here_s = at_s
            while here_s <= until_s:
                sheet = self._priced(provider, model, None, here_s, facts, endpoint, attributes).sheet
                sheets.append(sheet)
                here_s = sheet.until_s
        if len(self._ceilings) >= _MAX_SHEETS:
            self._ceilings.clear()
        self._ceilings[key] = sheets
        return sheets

    def _resolver(self, provider: str) -> Resolver:
        found = self._resolvers.get(provider)
        if found is None:
            if len(self._resolvers) >= _MAX_SHEETS:
                self._resolvers.clear()
            name = self.catalog.provider(provider)
            found = self._resolvers[provider] = Resolver(self.catalog, name, self.operator_rows)
        return found

    def _priced(
        self,
        provider: str,
        model: str,
        served: str | None,
        at_s: int,
        facts: Mapping[str, str | None],
        endpoint: str | None,
        attributes: Mapping[str, str | None],
    ) -> _Priced:
        resolver = self._resolver(provider)
        names = resolver.condition_names
        known = {name: value for name, value in facts.items() if name in names} if facts else _NOTHING
        if endpoint is not None and "endpoint" in names and "endpoint" not in known:
            known = {**known, "endpoint": endpoint}
        matched = {name: attributes.get(name) for name in resolver.match_names} if resolver.match_names else _NOTHING
        key = (provider, model, served, tuple(known.items()), tuple(matched.items()))
        found = self._sheets.get(key)
        if found is None or not found.sheet.from_s <= at_s < found.sheet.until_s:
            if len(self._sheets) >= _MAX_SHEETS:
                self._sheets.clear()
            found = self._sheets[key] = self._resolve(resolver, model, served, at_s, known, matched)
        return found

    def _resolve(
        self,
        resolver: Resolver,
        model: str,
        served: str | None,
        at_s: int,
        facts: Mapping[str, str | None],
        matched: Mapping[str, str | None],
    ) -> _Priced:
        """The served model's sheet; where that has no price, the routed one's; where neither has, the assumed one."""
        sheet = resolver.sheet(served or model, at_s, facts, matched, also_known_as=model)
        if sheet.specific:
            return _Priced(sheet, ())
        if served and served != model:
            routed = resolver.sheet(model, at_s, facts, matched)
            span = (max(sheet.from_s, routed.from_s), min(sheet.until_s, routed.until_s))
            if routed.specific:
                return _Priced(routed._replace(from_s=span[0], until_s=span[1]), ("fallback_price",))
        if self._assumed is not None:
            return _Priced(resolver.assume(sheet, self._assumed), ("assumed_price",))
        return _Priced(sheet, ())


def input_tokens(usage: Usage) -> Quantity:
    """All tokens on the input side, cached ones too: what long-context tiers look at."""
    return sum(quantity for name, quantity in usage.items() if name in INPUT_SIDE)


def _differs(computed: Decimal, reported: Decimal) -> bool:
    return abs(computed - reported) > _ONE_PERCENT * max(reported, Decimal(0))
