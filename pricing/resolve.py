"""Which price applies: the rows that match a call, best first, and from them one price per unit.

The order (proxy/CONTRACT.md#prices): the operator's rows before the book's; the closest model name, then the row with the most
conditions, then the latest `from` that has begun; unit by unit, a unit without a price taking its parent's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from pricing.clock import Schedule
from pricing.cost import Rate
from pricing.price import ALWAYS_S, NEVER_S, Multiplier, Price, Row, specificity
from pricing.units import TOKENS, lineage
from pricing.values import frozen, slotted

_ONE = Decimal(1)
OPERATORS = "operator"  # the group of all the operator's own factors


@frozen
class Call:
    """What prices can depend on. Names are lower case; `names` are all that the model goes by, the best first. `snapshots`:
    other names by which it may answer, or not, where that lies ahead."""

    provider: str
    names: tuple[str, ...]
    facts: Mapping[str, str]
    attributes: Mapping[str, str | None]
    at_s: int
    snapshots: tuple[str, ...] = ()


@slotted
class Plan:
    """The prices of one kind of call while no date or clock changes them: [from_s, to_s).

    `priced`: the model itself has a price. `serves_unpriced`: the ordinary price stands in for that of a tier, speed or
    place which may be dearer, and of which the book knows none. `cuts`: where long-context tiers begin; `tables[n]`
    holds the rates of calls that reached n of them, filled as asked.
    """

    operator_rows: tuple[Row, ...]
    book_rows: tuple[Row, ...]
    multipliers: tuple[Multiplier, ...]
    from_s: int
    to_s: int
    cuts: tuple[float, ...]
    tables: tuple[dict[str, Rate | None], ...]
    priced: bool
    assumed: bool = False
    serves_unpriced: bool = False

    def table(self, input_tokens: int | Decimal) -> dict[str, Rate | None]:
        """The rates that were found by now for a call of that many input tokens."""
        return self.tables[bisect_left(self.cuts, input_tokens)] if self.cuts else self.tables[0]

    def rate(self, unit: str, input_tokens: int | Decimal) -> Rate | None:
        """The rate of a unit for a call of that many input tokens; None where nothing prices it."""
        table = self.table(input_tokens)
        try:
            return table[unit]
        except KeyError:
            rate = table[unit] = self._find(unit, input_tokens)
            return rate

    def _find(self, unit: str, input_tokens: int | Decimal) -> Rate | None:
        for name in lineage(unit):
            for rows, of_operator in ((self.operator_rows, True), (self.book_rows, False)):
                for row in rows:
                    if (price := row_price(row, name, input_tokens)) is not None:
                        return self._rate(unit, price, row, of_operator)
        return None

    def _rate(self, unit: str, price: Price, row: Row, of_operator: bool) -> Rate:
        factor = _ONE
        for multiplier in self.multipliers:
            if touches(multiplier, unit) and not (of_operator and _knows(row, multiplier)):
                factor *= multiplier.factor
        usd = price.usd * factor if factor != _ONE else price.usd
        return Rate(unit, usd, price.per, row.source, price.at_least, each(usd, price.per), of_operator)


def _knows(row: Row, multiplier: Multiplier) -> bool:
    """Whether a row of the operator's is the price under a condition of the provider's factor, which is in it then."""
    return multiplier.group != OPERATORS and not row.when.keys().isdisjoint(multiplier.when)


def each(usd: Decimal, per: int) -> Decimal | None:
    """`usd / per` where it has an end as a decimal."""
    digits = len(str(per)) - 1
    return usd.scaleb(-digits) if per == 10**digits else None


def touches(multiplier: Multiplier, unit: str) -> bool:
    """Whether a multiplier is for that unit."""
    if multiplier.units:
        return unit in multiplier.units
    return multiplier.everything or unit in TOKENS


def row_price(row: Row, unit: str, input_tokens: int | Decimal) -> Price | None:
    """The price that a row names for that very unit, for a call of that many input tokens."""
    for tier in reversed(row.tiers):
        if unit in tier.prices and tier.reached(input_tokens):
            return tier.prices[unit]
    return row.prices.get(unit)


def closest(names: Sequence[str], pattern: str) -> int | None:
    """How closely a pattern names any of `names`, None where none. A better name counts more."""
    best = None
    for rank, name in enumerate(names):
        closeness = specificity(pattern, name)
        if closeness is not None and (best is None or closeness * 8 - rank > best):
            best = closeness * 8 - rank
    return best


def holds(when: Mapping[str, tuple[str, ...]], facts: Mapping[str, str]) -> bool:
    """Whether the facts meet every condition but the clock."""
    for name, wanted in when.items():
        if name != "clock" and facts.get(name, "") not in wanted:
            return False
    return True


# Tiers that are no dearer than the ordinary one, or paid for by themselves.
_NO_DEARER_TIERS = {"flex", "batch", "scale", "reserved", "standard_only", "slow", "provisioned", "free"}
# Anthropic's is capacity that was bought beforehand (docs: service tiers, Priority Tier).
_BOUGHT_BEFORE = {("anthropic", "priority")}


def serves_unpriced(facts: Mapping[str, str], provider: str, entries: Iterable[Row | Multiplier]) -> bool:
    """Whether the tier or the speed that was served may cost more than the ordinary one, and nothing of `entries` (what holds
    for the call) is its price."""
    served = [name for name in ("service_tier", "speed") if facts.get(name, "flex") not in _NO_DEARER_TIERS]
    if not served or (provider, facts.get("service_tier", "")) in _BOUGHT_BEFORE:
        return False
    conditions = {name for entry in entries for name in entry.when}
    return not conditions.issuperset(served)


def matched(match: Mapping[str, tuple[str, ...]], attributes: Mapping[str, str | None]) -> bool:
    """Whether the caller's attributes meet every condition; values may be trailing-* patterns."""
    for name, wanted in match.items():
        value = attributes.get(name)
        if value is None or not any(specificity(pattern, value) is not None for pattern in wanted):
            return False
    return True


class Span:
    """The time around a moment in which nothing changes; narrowed by every edge that is told to it."""

    __slots__ = ("at_s", "from_s", "to_s")

    def __init__(self, at_s: int) -> None:
        self.at_s, self.from_s, self.to_s = at_s, ALWAYS_S, NEVER_S

    def edge(self, moment_s: int) -> None:
        if moment_s <= self.at_s:
            self.from_s = max(self.from_s, moment_s)
        else:
            self.to_s = min(self.to_s, moment_s)

    def covers(self, from_s: int, to_s: int) -> bool:
        """Whether [from_s, to_s) holds now; both are edges."""
        self.edge(from_s)
        self.edge(to_s)
        return from_s <= self.at_s < to_s


def clock_holds(when: Mapping[str, tuple[str, ...]], schedules: Mapping[str, Schedule], span: Span) -> bool:
    """Whether every schedule that `clock` names holds now; its edges narrow the span. `!name` is: outside of it."""
    for name in when.get("clock", ()):
        clock = schedules[name.removeprefix("!")]
        for edge in clock.edges(span.at_s):
            span.edge(edge)
        if clock.holds(span.at_s) == name.startswith("!"):
            return False
    return True


def applying_rows(
    rows: Iterable[tuple[int, Row]], facts: Mapping[str, str], schedules: Mapping[str, Schedule], span: Span
) -> tuple[Row, ...]:
    """Those of the rows (each with its closeness) that hold now, best first."""
    applying = [
        (closeness, len(row.when), row.from_s, row)
        for closeness, row in rows
        if holds(row.when, facts) and span.covers(row.from_s, row.to_s) and clock_holds(row.when, schedules, span)
    ]
    applying.sort(key=lambda entry: entry[:3], reverse=True)
    return tuple(entry[3] for entry in applying)


def applying_multipliers(
    multipliers: Iterable[Multiplier],
    call: Call,
    schedules: Mapping[str, Schedule],
    span: Span,
    named_by_rows: frozenset[str] = frozenset(),
) -> tuple[Multiplier, ...]:
    """The multipliers that hold now; of each group only the closest. named_by_rows: conditions that rows name themselves."""
    best: dict[str, tuple[tuple[int, int, int], Multiplier]] = {}
    for multiplier in multipliers:
        closeness = closest(call.names, multiplier.model)
        if (
            closeness is None
            or specificity(multiplier.provider, call.provider) is None
            or not holds(multiplier.when, call.facts)
            or not matched(multiplier.match, call.attributes)
            or not span.covers(multiplier.from_s, multiplier.to_s)
            or not clock_holds(multiplier.when, schedules, span)
            or (multiplier.gap and not named_by_rows.isdisjoint(multiplier.when))
        ):
            continue
        rank = (closeness, len(multiplier.match) + len(multiplier.when), multiplier.from_s)
        if multiplier.group not in best or rank > best[multiplier.group][0]:
            best[multiplier.group] = (rank, multiplier)
    return tuple(multiplier for _, multiplier in best.values())


def tier_cuts(rows: Iterable[Row]) -> tuple[float, ...]:
    """Input sizes after which another tier holds: `bisect_left(cuts, tokens)` counts the tiers that were reached.

    An inclusive tier begins at its `over` itself: half a token below it is the cut.
    """
    return tuple(
        sorted({tier.over - 0.5 if tier.inclusive else float(tier.over) for row in rows for tier in row.tiers})
    )


def make_plan(
    operator_rows: tuple[Row, ...],
    book_rows: tuple[Row, ...],
    multipliers: tuple[Multiplier, ...],
    span: Span,
    *,
    priced: bool,
) -> Plan:
    """A plan with empty tables. `priced`: the model itself has a price, not only the tools of its provider."""
    cuts = tier_cuts((*operator_rows, *book_rows))
    tables: tuple[dict[str, Rate | None], ...] = tuple({} for _ in range(len(cuts) + 1))
    return Plan(operator_rows, book_rows, multipliers, span.from_s, span.to_s, cuts, tables, priced)
