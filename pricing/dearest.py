"""The most that each unit can cost a call that has not ended yet: the dearest row that could apply."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from decimal import Decimal
from typing import NamedTuple

from pricing.catalog import is_snapshot
from pricing.clock import Schedule
from pricing.money import Fine, fine, to_nanousd_up
from pricing.price import Multiplier, Row, specificity
from pricing.resolve import Call, closest, matched, tier_cuts, touches
from pricing.units import FREE_WITHOUT_PRICE, INPUT_SIDE, TOKENS, UNITS, lineage
from pricing.values import Value, frozen, slotted

_ONE = Decimal(1)
_ZERO = Decimal(0)

# The closeness of a row that is for another name of the model, by which it may answer or not.
PERHAPS = 2**40

# What only the client can ask for: not reached unless it is known to be asked. Everything else the provider may choose.
_ASKED_FOR = frozenset({"processing", "speed", "endpoint", "cache_retention", "hardware"})

# What is counted as one unit beforehand, and may turn out to be: text or a cache write or another modality.
_BECOMES: dict[str, tuple[str, ...]] = {
    root: tuple(unit for unit in UNITS if root in lineage(unit) and UNITS[unit].kind == "token")
    for root in ("input", "output")
}
# Media that go in may be billed as text, too.
_BECOMES |= {unit: (unit, *_BECOMES["input"]) for unit in ("audio_in", "image_in", "video_in")}


class OperatorRow(NamedTuple):
    """A row of the operator's. rank: as settlement orders them; certain: it holds whatever the provider chooses."""

    rank: tuple[int, int, int]
    row: Row
    certain: bool


@frozen
class InputRate(Value):
    """The most that a call costs which begins from `first_s` to `last_s`: `fixed`, and `each` for each token of its input."""

    fixed: Fine
    each: Fine
    first_s: int
    last_s: int


@slotted
class Dearest:
    """Dearest prices of one kind of call. `operator`: the operator's rows, the best first; `rows`: the book's. `by_time`: it is
    paid by GPU time, so tokens need no price. `without`: units that its tokens cannot turn into. `least`: of a unit, how
    many are billed where there were fewer."""

    operator: tuple[OperatorRow, ...]
    rows: tuple[Row, ...]
    multipliers: tuple[Multiplier, ...]
    cuts: tuple[float, ...]
    tables: tuple[dict[str, Fine | None], ...]
    by_time: bool
    from_s: int
    to_s: int
    without: frozenset[str] = frozenset()
    least: Mapping[str, Decimal] = field(default_factory=dict)

    def nanousd(self, usage: Mapping[str, int]) -> int | None:
        """What a call of at most that usage costs at most; None where some of it has no price."""
        tokens = 0
        if self.cuts or self.least:
            tokens = sum([count for unit, count in usage.items() if unit in INPUT_SIDE])
        table = self._table(tokens)
        total: Fine = 0
        for unit, count in usage.items():
            each = table[unit] if unit in table else self.each(unit, tokens)
            if each is not None:
                total += each * count
                if self.least:
                    total += fine(self._least(unit, tokens))
            elif count and not self._needs_no_price(unit):
                return None
        return to_nanousd_up(total)

    def rate(self, usage: Mapping[str, int], first_s: int, last_s: int) -> InputRate | None:
        """`nanousd` of usage that differs from this by its input alone; None where it has tiers, or something has no price."""
        if self.cuts or self.least:
            return None
        prices = {unit: self.each(unit, 0) for unit in ("input", *usage)}
        if not all(price is not None or self._needs_no_price(unit) for unit, price in prices.items()):
            return None
        each = prices.pop("input") or 0
        return InputRate(sum([(price or 0) * usage[unit] for unit, price in prices.items()]), each, first_s, last_s)

    def _needs_no_price(self, unit: str) -> bool:
        return unit in FREE_WITHOUT_PRICE or (self.by_time and unit in TOKENS)

    def _least(self, unit: str, input_tokens: int) -> Decimal:
        """The cost of the smallest quantities that are billed: of this unit, and of each unit that it may be counted as."""
        total = _ZERO
        for priced_unit in self._becomes(unit):
            quantity = max((self.least[name] for name in lineage(priced_unit) if name in self.least), default=_ZERO)
            if quantity:
                total += quantity * (self._priciest(priced_unit, input_tokens) or _ZERO)
        return total

    def _becomes(self, unit: str) -> list[str]:
        return [one for one in _BECOMES.get(unit, (unit,)) if one == unit or one not in self.without]

    def each(self, unit: str, input_tokens: int) -> Fine | None:
        """What one of a unit costs, in a call of at most that many input tokens; None: nothing prices it."""
        table = self._table(input_tokens)
        try:
            return table[unit]
        except KeyError:
            usd = self._find(unit, input_tokens)
            price = table[unit] = None if usd is None else fine(usd)
            return price

    def _table(self, input_tokens: int) -> dict[str, Fine | None]:
        return self.tables[sum([input_tokens > cut for cut in self.cuts]) if self.cuts else 0]

    def _find(self, unit: str, input_tokens: int) -> Decimal | None:
        candidates = [self._priciest(one, input_tokens) for one in self._becomes(unit)]
        prices = [price for price in candidates if price is not None]
        return max(prices) if prices else None

    def _priciest(self, unit: str, input_tokens: int) -> Decimal | None:
        """The highest price of a unit in any row and reachable tier; its parent's where no row names it."""
        for name in lineage(unit):
            prices = [price for row in self._that_may_price(name) for price in _prices_of(row, name, input_tokens)]
            if prices:
                return max(prices) * self._factor(unit)
        return None

    def _that_may_price(self, name: str) -> Iterator[Row]:
        """The rows that settlement may take a unit's price from: none behind a row of the operator's that surely holds."""
        least = None
        for row in self.operator:
            if least is not None and row.rank < least:
                return
            if row.certain and name in row.row.prices:
                least = row.rank
            yield row.row
        if least is None:
            yield from self.rows

    def _factor(self, unit: str) -> Decimal:
        factors: dict[str, Decimal] = {}
        for multiplier in self.multipliers:
            if touches(multiplier, unit):
                floor = _ZERO if self.certain(multiplier) else _ONE
                factors[multiplier.group] = max(factors.get(multiplier.group, floor), floor, multiplier.factor)
        total = _ONE
        for factor in factors.values():
            total *= factor
        return total

    def certain(self, multiplier: Multiplier) -> bool:
        """Whether a factor holds for the whole call, whatever the provider chooses: only then may it lower the bound."""
        return not multiplier.when and multiplier.from_s <= self.from_s and multiplier.to_s > self.to_s


def _prices_of(row: Row, unit: str, input_tokens: int) -> Iterator[Decimal]:
    for prices in (row.prices, *(tier.prices for tier in row.tiers if tier.reached(input_tokens))):
        if (price := prices.get(unit)) is not None:
            yield price.usd / price.per


def dearest_rates(
    call: Call,
    operator_rows: Sequence[tuple[int, Row]],
    book_rows: Iterable[Row],
    multipliers: Iterable[Multiplier],
    schedules: Mapping[str, Schedule],
    until_s: int,
    fixed: frozenset[str],
    without: frozenset[str] = frozenset(),
) -> Dearest | None:
    """The dearest prices of a call in [call.at_s, until_s]; None where nothing prices it then.

    operator_rows: with their closeness, as settlement compares them; the operator's price wins here where it wins there.
    """
    operator = sorted(
        (
            OperatorRow(
                (closeness, len(row.when), row.from_s), row, closeness < PERHAPS and _is_certain(row, call, until_s)
            )
            for closeness, row in operator_rows
            if _reachable(row.from_s, row.to_s, row.when, call, schedules, until_s, fixed)
        ),
        key=lambda one: one.rank,
        reverse=True,
    )
    rows = tuple(
        row for row in book_rows if _reachable(row.from_s, row.to_s, row.when, call, schedules, until_s, fixed)
    )
    reachable = (*(one.row for one in operator), *rows)
    if not reachable:
        return None
    factors = tuple(
        one if closest(call.names, one.model) is not None else replace(one, factor=max(_ONE, one.factor))
        for one in multipliers
        if specificity(one.provider, call.provider) is not None
        and (closest((*call.names, *call.snapshots), one.model) is not None or is_snapshot(one.model, call.names[0]))
        and matched(one.match, call.attributes)
        and _reachable(one.from_s, one.to_s, one.when, call, schedules, until_s, fixed)
    )
    cuts = tier_cuts(reachable)
    by_time = any("gpu_second" in row.prices for row in reachable)
    tables: tuple[dict[str, Fine | None], ...] = tuple({} for _ in range(len(cuts) + 1))
    least = _least_quantities(reachable)
    return Dearest(tuple(operator), rows, factors, cuts, tables, by_time, call.at_s, until_s, without, least)


def _is_certain(row: Row, call: Call, until_s: int) -> bool:
    return not row.when and row.from_s <= call.at_s and row.to_s > until_s


def _least_quantities(rows: Iterable[Row]) -> dict[str, Decimal]:
    """The largest `at_least` of each unit that has one."""
    least: dict[str, Decimal] = {}
    for row in rows:
        for prices in (row.prices, *(tier.prices for tier in row.tiers)):
            for unit, price in prices.items():
                if price.at_least:
                    least[unit] = max(least.get(unit, _ZERO), Decimal(price.at_least))
    return least


def _reachable(
    from_s: int,
    to_s: int,
    when: Mapping[str, tuple[str, ...]],
    call: Call,
    schedules: Mapping[str, Schedule],
    until_s: int,
    fixed: frozenset[str],
) -> bool:
    if not (from_s <= until_s and call.at_s < to_s):
        return False
    for name, wanted in when.items():
        if name == "clock":
            for condition in wanted:
                if not condition.startswith("!") and not schedules[condition].meets(call.at_s, until_s):
                    return False
        elif (name in fixed or name in _ASKED_FOR) and call.facts.get(name, "") not in wanted:
            return False
    return True
