"""The price book: what a reading costs, what a call can cost at most, what a model takes.

Everything is resolved once per kind of call (provider, model, conditions, the caller's attributes that matter) and while
no date or clock changes the prices; after that a cost is a few multiplications. Books are values: `with_operator` and
`with_assumed` make new ones. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from pricing.catalog import NO_LIMITS, Catalog, Limits
from pricing.cost import Cost, CostLine, Rate
from pricing.dearest import Dearest, InputRate
from pricing.facts import RELEVANT
from pricing.lines import comparable, operator_names, price_usage
from pricing.money import to_nanousd
from pricing.operator import OperatorPrice
from pricing.requested import dearest_as_requested
from pricing.resolve import Plan
from pricing.selection import Selection
from pricing.usage import Reading

_CACHED = 4096  # kinds of call; when full it starts anew, which costs some hundred microseconds a kind
_PLANS_A_KIND = 16  # periods (dates, clock windows) that one kind of call keeps
_HOUR_S = 3600
_ZERO = Decimal(0)
_TOLERANCE = Decimal("0.01")
_Key = tuple[object, ...]


class Book:
    """All prices, each with the time in which it holds. `version` names its content."""

    def __init__(
        self,
        catalog: Catalog,
        operator: Iterable[OperatorPrice] = (),
        assumed: Mapping[str, Decimal] | None = None,
    ) -> None:
        self.version = catalog.version
        self.catalog = catalog
        self._operator = tuple(operator)
        self._rows = tuple(price.row for price in self._operator if price.row is not None)
        self._multipliers = tuple(price.multiplier for price in self._operator if price.multiplier is not None)
        self.bills_requests = any("request" in row.prices for row in self._rows)
        self._matched_on = tuple(sorted({name for one in self._multipliers for name in one.match}))
        self._assumed = assumed
        self._prices = Selection(catalog, self._rows, self._multipliers, assumed)
        self._plans: dict[_Key, list[Plan]] = {}
        self._dearest: dict[_Key, Dearest | None] = {}

    def with_operator(self, rows: Iterable[OperatorPrice]) -> Book:
        """This book with the operator's own prices in place of those it had."""
        return Book(self.catalog, rows, self._assumed)

    def with_assumed(self, input_usd: Decimal, output_usd: Decimal) -> Book:
        """This book with USD per million tokens that stand in where a model has no price; flagged `assumed_price`."""
        return Book(self.catalog, self._operator, {"input": input_usd, "output": output_usd})

    # What a reading costs

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
        """The cost of a reading that completed at `at_s` (epoch seconds).

        `model` is the name that the call was routed to; what the response says it was served by wins where it has a
        price, else the flag `fallback_price` is raised, as where the ordinary price stands in for a tier's. `attributes`: the
        caller's (`team`, …), for multipliers.
        Of what was only requested (`reading.requested`) nothing, all or some counts, whatever is dearest.
        """
        if reading.requested:
            call: dict[str, Any] = {"provider": provider, "at_s": at_s}
            requested = self.relevant_conditions(reading.requested, model=model, **call)
            if reading.model is not None and reading.model != model:
                requested |= self.relevant_conditions(reading.requested, model=reading.model, **call)
            call |= {"model": model, "endpoint": endpoint, "attributes": attributes}
            return dearest_as_requested(reading, requested, lambda candidate: self.cost(candidate, **call))
        served, fell_back = model, False
        plan = None
        if reading.model is not None and reading.model != model:
            plan = self._plan(provider, reading.model, model, reading.conditions, endpoint, attributes, at_s)
            if plan.priced:
                served = reading.model
            else:
                fell_back = True
        if plan is None or fell_back:
            plan = self._plan(provider, model, None, reading.conditions, endpoint, attributes, at_s)
            if fell_back and (plan.assumed or not plan.priced):
                fell_back, served = False, reading.model or model
        lines: list[CostLine] = []
        missing = price_usage(plan, reading.usage, None, lines)
        if served != model and not fell_back and self.catalog.is_router(provider, model, at_s):
            fee = self._plan(provider, model, None, reading.conditions, endpoint, attributes, at_s)
            price_usage(fee, reading.usage, model, lines)
        assumed = plan.assumed and bool(reading.usage)
        for part in reading.parts:
            other = self._plan(provider, part.model, None, reading.conditions, endpoint, attributes, at_s)
            assumed = assumed or other.assumed
            missing = price_usage(other, part.usage, part.model, lines) or missing
        fell_back = fell_back or plan.serves_unpriced
        if reading.provider_cost_usd is not None or fell_back or assumed or missing or not reading.usage:
            return self._unusual(reading, plan, lines, served, missing=missing, fell_back=fell_back, assumed=assumed)
        total = _ZERO
        for line in lines:
            total += line.cost_usd
        return Cost(
            "priced", tuple(lines), total, to_nanousd(total), "computed", None, reading.flags, self.version, served
        )

    def with_request(self, reading: Reading, *, provider: str, model: str, at_s: int) -> Reading:
        """A reading with the request itself counted, where the operator bills a fee for each."""
        if not self.bills_requests or not reading.usage or "request" in reading.usage:
            return reading
        plan = self._plan(provider, reading.model or model, model, reading.conditions, None, None, at_s)
        if not plan.priced:
            plan = self._plan(provider, model, None, reading.conditions, None, None, at_s)
        fee = plan.rate("request", 0)
        return reading if fee is None else reading._replace(usage={**reading.usage, "request": 1})

    def relevant_conditions(
        self, requested: Mapping[str, str], *, provider: str, model: str, at_s: int
    ) -> dict[str, str]:
        """Those of a request's conditions that some price of the model depends on: others must not fill caches."""
        return self._prices.relevant_conditions(requested, provider, model, at_s)

    def _unusual(
        self,
        reading: Reading,
        plan: Plan,
        lines: list[CostLine],
        model: str,
        *,
        missing: bool,
        fell_back: bool,
        assumed: bool,
    ) -> Cost:
        """The cost where something is out of the ordinary: a reported cost, a missing price, nothing used."""
        flags = list(reading.flags)
        computed = None if missing else sum((line.cost_usd for line in lines), _ZERO)
        reported = reading.provider_cost_usd
        if reported is not None and not operator_names(plan, reading.usage):
            if (
                computed is not None
                and plan.priced
                and not assumed
                and comparable(reading)
                and abs(computed + reading.provider_fee_usd - reported) > reported * _TOLERANCE
            ):
                flags.append("provider_cost_differs")
            if computed != reported:
                lines = [CostLine(Rate("reported", reported, 1, "provider"), 1, reported)]
            return Cost(
                "priced",
                tuple(lines),
                reported,
                to_nanousd(reported),
                "provider",
                reported,
                tuple(flags),
                self.version,
                model,
            )
        if fell_back:
            flags.append("fallback_price")
        if assumed:
            flags.append("assumed_price")
        if computed is not None and reading.source == "none" and not reading.usage and not reading.parts:
            computed = None  # nothing is known of what it used: that is not 0
        status = "priced" if computed is not None else "partial" if lines else "unpriced"
        return Cost(
            status,  # type: ignore[arg-type]  # one of the three words above
            tuple(lines),
            computed,
            None if computed is None else to_nanousd(computed),
            "computed",
            reported,
            tuple(flags),
            self.version,
            model,
        )

    # What is known of a model

    def is_priced(self, provider: str, model: str, at_s: int) -> bool:
        """Whether any price stands for that model then (assumed ones too)."""
        return self._plan(provider, model, None, {}, None, None, at_s).priced

    def units(
        self, provider: str, model: str, at_s: int, attributes: Mapping[str, str | None] | None = None
    ) -> frozenset[str]:
        """The units that the model is priced in then, under any conditions: the operator's, where he has prices for it."""
        dearest = self._prices.dearest(provider, model, at_s, at_s, attributes or {}, {}, frozenset())
        if dearest is None:
            return frozenset()
        operators = frozenset(unit for one in dearest.operator for unit in one.row.prices)
        return operators or frozenset(unit for row in dearest.rows for unit in row.prices)

    def own_units(self, provider: str, model: str, at_s: int) -> frozenset[str]:
        """The units for which the operator has a price of his own that holds whatever the provider chooses."""
        dearest = self._prices.dearest(provider, model, at_s, at_s, {}, {}, frozenset()) if self._rows else None
        operator = dearest.operator if dearest is not None else ()
        return frozenset(unit for one in operator if one.certain for unit in one.row.prices)

    def context_cuts(self, provider: str, model: str, at_s: int) -> tuple[float, ...]:
        """Sizes of a call's input, ascending, above which other prices hold."""
        return self._plan(provider, model, None, {}, None, None, at_s).cuts

    def limits(self, provider: str, model: str) -> Limits:
        """The model's context and largest answer, as far as known."""
        entry = self.catalog.find(self.catalog.canonical(provider), model.lower(), 2**40)
        return entry.limits if entry is not None else NO_LIMITS

    def ceiling_nanousd(
        self,
        usage: Mapping[str, int],
        *,
        provider: str,
        model: str,
        at_s: int,
        until_s: int,
        attributes: Mapping[str, str | None] | None = None,
        fixed: Mapping[str, str] | None = None,
        without: frozenset[str] = frozenset(),
    ) -> int | None:
        """The most that a call of at most that usage can cost if it ends in [at_s, until_s]; rounded up, None: unpriced.

        Any price that the provider's side may choose counts: service tiers, regions, long context, cache writes, another
        modality, the clock, dates. `fixed` states conditions that the caller fixed (`{"service_tier": "default"}`).
        What only the caller can ask for (`processing`, `speed`) counts where it stands in `fixed`. `without`: units that
        the request's tokens cannot turn into (no cache is written where the request does not ask for it).
        """
        dearest = self._dearest_of(provider, model, at_s, until_s, attributes, fixed, without)
        return None if dearest is None else dearest.nanousd(usage)

    def ceiling_rate(
        self,
        usage: Mapping[str, int],
        *,
        provider: str,
        model: str,
        at_s: int,
        until_s: int,
        fixed: Mapping[str, str],
        without: frozenset[str],
    ) -> InputRate | None:
        """How that grows with the tokens of the input alone, in calls that are as long; None where it does not so simply."""
        if (
            self._matched_on
            or (dearest := self._dearest_of(provider, model, at_s, until_s, {}, fixed, without)) is None
        ):
            return None
        last_s = at_s + min((-at_s - 1) % _HOUR_S, -until_s % _HOUR_S)  # from then on these hours are others
        return dearest.rate(usage, at_s, last_s)

    def _dearest_of(
        self,
        provider: str,
        model: str,
        at_s: int,
        until_s: int,
        attributes: Mapping[str, str | None] | None,
        fixed: Mapping[str, str] | None,
        without: frozenset[str],
    ) -> Dearest | None:
        first, last = at_s // _HOUR_S, -(-until_s // _HOUR_S)  # hours: whole numbers that Python keeps in one word
        caller = tuple([(attributes or {}).get(name) for name in self._matched_on]) if self._matched_on else ()
        key = (provider, model, first, last, caller, tuple(fixed.items()) if fixed else (), without)
        try:
            return self._dearest[key]
        except KeyError:
            if len(self._dearest) >= _CACHED:
                self._dearest.clear()
            dearest = self._dearest[key] = self._prices.dearest(
                provider, model, first * _HOUR_S, last * _HOUR_S, attributes or {}, fixed or {}, without
            )
            return dearest

    # What is kept

    def _plan(
        self,
        provider: str,
        model: str,
        routed: str | None,
        conditions: Mapping[str, str],
        endpoint: str | None,
        attributes: Mapping[str, str | None] | None,
        at_s: int,
    ) -> Plan:
        """The prices of that kind of call at that time, from the cache where they are in it."""
        key: _Key = (provider, model, routed, endpoint)
        if conditions:
            for item in conditions.items():
                if item[0] in RELEVANT:
                    key += (item,)
        if self._matched_on:
            key = (*key, *((attributes or {}).get(name) for name in self._matched_on))
        plans = self._plans.get(key)
        if plans is not None:
            for plan in plans:
                if plan.from_s <= at_s < plan.to_s:
                    return plan
        made = self._prices.plan(provider, model, routed, conditions, endpoint, attributes or {}, at_s)
        if plans is None:
            if len(self._plans) >= _CACHED:
                self._plans.clear()
            plans = self._plans[key] = []
        elif len(plans) >= _PLANS_A_KIND:
            plans.clear()
        plans.append(made)
        return made
