"""From several sources' offers to one: the first source's prices, completed by the others; what they disagree on.

A later source adds models, conditions and units that the earlier ones lack, and never changes what they say. As it knows
no dates, what it adds is for the period of base prices that it was made in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from decimal import Decimal

from pricing.catalog import Limits, Model, Provider
from pricing.price import ALWAYS_S, NEVER_S, Price, Row
from pricing.sources.offer import Offer
from pricing.units import TOKENS, UNITS, lineage
from pricing.values import frozen

_TOLERANCE = Decimal("0.01")


@frozen
class Disagreement:
    """Two sources' prices for the same thing, more than 1 % apart; `kept` is the one in the book."""

    provider: str
    model: str
    when: str
    unit: str
    kept: Price
    kept_source: str
    other: Price
    other_source: str

    def __str__(self) -> str:
        where = f"{self.provider}/{self.model}" + (f" [{self.when}]" if self.when else "")
        return (
            f"{where} {self.unit}: {self.kept.usd} ({self.kept_source}) against {self.other.usd} ({self.other_source})"
        )


class Merger:
    """Offers by model. `at_s`: the day of the sources that know no dates."""

    def __init__(self, first: Iterable[Offer], at_s: int) -> None:
        self.offers: dict[tuple[str, str], Offer] = {}
        for offer in first:
            self.offers.setdefault(offer.key, offer)
        self.at_s = at_s
        self.disagreements: list[Disagreement] = []
        self._finders: dict[str, Provider] = {}

    def find(self, provider: str, name: str) -> Offer | None:
        """The offer that a name leads to, as the book will understand it."""
        if provider not in self._finders:
            own = [offer for offer in self.offers.values() if offer.provider == provider]
            models = {offer.model: Model(offer.model, tuple(offer.rows), offer.limits) for offer in own}
            names = [(other, offer.model) for offer in own for other in offer.names]
            self._finders[provider] = Provider(provider, models, (), names)
        model = self._finders[provider].find(name, self.at_s)
        return self.offers[(provider, model.name)] if model is not None else None

    def forget_names(self) -> None:
        """To be called where offers have come or gone: `find` learns their names anew."""
        self._finders.clear()

    def add(self, source: Sequence[Offer], *, only_models: bool = False) -> None:
        """Complete the book by one more source; with `only_models`, by models that it lacks, comparing the others."""
        self.forget_names()
        new: list[Offer] = []
        known_ones: list[tuple[Offer, Offer]] = []
        for offer in source:
            existing = self.offers.get(offer.key) or self.find(offer.provider, offer.model)
            named = existing is not None and (existing.model == offer.model or offer.model in existing.names)
            if existing is None or not (named or self._agree(existing, offer)):
                new.append(offer)
            else:
                known_ones.append((existing, offer))
        for existing, offer in known_ones:
            if existing.model == offer.model or offer.model in existing.names:
                self._compare(existing, offer)
            if not only_models:
                self._complete(existing, offer)
        for offer in new:
            self.offers[offer.key] = replace(offer, rows=_distinct(offer.rows))

    def _base(self, offer: Offer) -> Row | None:
        """The row of base prices on the day."""
        rows = [row for row in offer.rows if not row.when and row.from_s <= self.at_s < row.to_s]
        return max(rows, key=lambda row: (row.from_s, len(row.prices)), default=None)

    def _agree(self, existing: Offer, offer: Offer) -> bool:
        existing_base, offered_base = self._base(existing), self._base(offer)
        if existing_base is None or offered_base is None:
            return False
        common = existing_base.prices.keys() & offered_base.prices.keys()
        common = (common & {"input", "output"}) or common
        return bool(common) and not any(
            _apart(existing_base.prices[unit], offered_base.prices[unit]) for unit in common
        )

    def _complete(self, existing: Offer, offer: Offer) -> None:
        existing.limits = Limits(
            existing.limits.context_tokens or offer.limits.context_tokens,
            existing.limits.max_output_tokens or offer.limits.max_output_tokens,
        )
        home = self._base(existing)
        groups = {_group(row.when) for row in existing.rows}
        stated = {unit for row in existing.rows if not row.when for unit in row.prices}
        for row in _distinct(offer.rows):
            existing_rows = [one for one in existing.rows if _group(one.when) == _group(row.when)]
            if _group(row.when) not in groups:
                existing.rows += spread(
                    replace(row, model=existing.model), home, [one for one in existing.rows if not one.when]
                )
            elif not row.when:
                self._add_units(existing, self._current(existing, row), row)
                self._add_tiers(existing, row)
            else:
                more = _only(row, row.prices.keys() - stated - {unit for one in existing_rows for unit in one.prices})
                existing.rows += spread(
                    replace(more, model=existing.model), next(iter(self._current(existing, row)), None), existing_rows
                )

    def _current(self, offer: Offer, like: Row) -> list[Row]:
        """The rows under the same conditions that hold on the day."""
        group = _group(like.when)
        return [row for row in offer.rows if _group(row.when) == group and row.from_s <= self.at_s < row.to_s]

    def _compare(self, existing: Offer, offer: Offer) -> None:
        for row in offer.rows:
            if not row.from_s <= self.at_s < row.to_s:
                continue
            when = " ".join(f"{name}={'|'.join(values)}" for name, values in sorted(row.when.items()))
            for current in self._current(existing, row):
                for unit in current.prices.keys() & row.prices.keys():
                    kept, other = current.prices[unit], row.prices[unit]
                    if _apart(kept, other):
                        place = (existing.provider, offer.model, when, unit)
                        self.disagreements.append(Disagreement(*place, kept, current.source, other, row.source))

    def _add_tiers(self, existing: Offer, row: Row) -> None:
        """Bedrock's long-context prices, which the first source has for the maker only."""
        base = self._base(existing)
        if (
            existing.provider == "aws"
            and base is not None
            and row.tiers
            and not base.tiers
            and self._agree(existing, _offer_of(row))
        ):
            existing.rows = [replace(one, tiers=row.tiers) if one is base else one for one in existing.rows]

    def _add_units(self, existing: Offer, current: Sequence[Row], row: Row) -> None:
        merged = {unit: price for one in current for unit, price in one.prices.items()}
        more = {
            unit
            for unit, price in row.prices.items()
            if unit not in merged and not _repeats(unit, price, {**row.prices, **merged})
        }
        home = self._base(existing)
        tokens = more & TOKENS
        existing.rows += spread(
            replace(_only(row, tokens), model=existing.model), home, [one for one in existing.rows if not one.when]
        )
        if other_units := _only(row, more - tokens).prices:
            existing.rows.append(replace(row, model=existing.model, prices=other_units, tiers=()))


def _offer_of(row: Row) -> Offer:
    return Offer(row.provider, row.model, rows=[row])


def prices_on(offer: Offer, at_s: int) -> dict[str, Price]:
    """What an offer's units cost at that time, under no conditions."""
    current = [row for row in offer.rows if not row.when and row.from_s <= at_s < row.to_s]
    return {unit: price for row in current for unit, price in row.prices.items()}


def _only(row: Row, units: Set[str]) -> Row:
    """The row with no other units."""
    tiers = tuple(
        replace(tier, prices={unit: price for unit, price in tier.prices.items() if unit in units})
        for tier in row.tiers
    )
    prices = {unit: price for unit, price in row.prices.items() if unit in units}
    return replace(row, prices=prices, tiers=tuple(tier for tier in tiers if tier.prices))


def spread(row: Row, home: Row | None, periods: Sequence[Row]) -> list[Row]:
    """A row without dates, for each of the periods of the rows that it goes with.

    It was made beside `home`; in other periods its prices are scaled as input and output were (marked `derived`).
    """
    if not row.prices:
        return []
    if home is None or row.from_s != ALWAYS_S or row.to_s != NEVER_S:
        return [row]
    made = [replace(row, from_s=home.from_s, to_s=home.to_s)]
    for other in periods:
        if other.from_s == home.from_s or not {"input", "output"} & other.prices.keys():
            continue
        ratios = {
            side: other.prices[side].usd / home.prices[side].usd
            for side in ("input", "output")
            if side in other.prices and side in home.prices and home.prices[side].usd
        }
        prices = _scaled(row.prices, ratios)
        tiers = tuple(replace(tier, prices=_scaled(tier.prices, ratios)) for tier in row.tiers) if other.tiers else ()
        if prices:
            source = row.source if set(ratios.values()) == {Decimal(1)} else f"{row.source}, derived"
            made.append(replace(row, prices=prices, tiers=tiers, from_s=other.from_s, to_s=other.to_s, source=source))
    return made


def _scaled(prices: Mapping[str, Price], ratios: Mapping[str, Decimal]) -> dict[str, Price]:
    scaled = {}
    for unit, price in prices.items():
        ratio = ratios.get(lineage(unit)[-1])
        if ratio is not None:
            scaled[unit] = price._replace(usd=round(price.usd * ratio, 9).normalize())
    return scaled


_SCALING = frozenset({"service_tier", "processing", "speed", "region"})


def completed(rows: Iterable[Row]) -> list[Row]:
    """Variants (a tier, batch, a region) with what they leave out: other modalities, and the long cache write beside the
    short one, in the same ratio as text. What a variant says of caches is whole: left out means the plain price."""
    rows = list(rows)
    return [
        *rows,
        *(more for row in rows if row.when and row.when.keys() <= _SCALING and (more := _missing(row, rows))),
    ]


def _missing(row: Row, rows: Sequence[Row]) -> Row | None:
    """A row with the units that are missing beside `row`, None where none is (or another row of its group adds them)."""
    beside = [one for one in rows if _group(one.when) == _group(row.when) and one.from_s == row.from_s]
    if row is not beside[0]:
        return None
    own = {unit: price for one in beside for unit, price in one.prices.items()}
    plain = [one for one in rows if not one.when and one.from_s <= row.from_s < one.to_s]
    base = {unit: price for one in plain for unit, price in one.prices.items()}
    ratios = {unit: own[unit].usd / base[unit].usd for unit in own if unit in base and base[unit].usd}
    by_unit: dict[str, Decimal] = {}
    for unit in base.keys() & TOKENS - own.keys():
        if unit == "cache_write_1h":
            ratio = next((ratios[short] for short in ("cache_write_30m", "cache_write_5m") if short in ratios), None)
        elif unit.startswith("cache_"):
            ratio = None
        else:
            sides = (lineage(unit)[-1], "input", "output")
            ratio = next((ratios[side] for side in sides if side in ratios), None)
        if ratio is not None:
            by_unit[unit] = ratio
    if not by_unit:
        return None
    tiers = {tier.over: tier for one in plain for tier in one.tiers} if row.tiers else {}
    prices = {unit: times(base[unit], ratio) for unit, ratio in sorted(by_unit.items())}
    ladder = tuple(
        replace(
            tier,
            prices={unit: times(tier.prices[unit], ratio) for unit, ratio in by_unit.items() if unit in tier.prices},
        )
        for tier in tiers.values()
    )
    ladder = tuple(tier for tier in ladder if tier.prices)
    source = row.source if row.source.endswith("derived") else f"{row.source}, derived"
    return replace(row, prices=prices, tiers=ladder, source=source)


def times(price: Price, ratio: Decimal) -> Price:
    """A price so many times as high."""
    return price._replace(usd=round(price.usd * ratio, 9).normalize())


def _repeats(unit: str, price: Price, others: Mapping[str, Price]) -> bool:
    """Whether a price is only its parent's again (a cached one never is: it says that nothing is taken off)."""
    if UNITS.get(unit) is None or unit.startswith("cache_"):
        return False
    for parent in lineage(unit)[1:]:
        if parent in others:
            return not _apart(price, others[parent])
    return False


def _apart(price: Price, other: Price) -> bool:
    """More than 1 % between two prices."""
    left, right = price.usd * other.per, other.usd * price.per
    return abs(left - right) > _TOLERANCE * max(left, right)


def _group(when: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(sorted(when.items()))


def _distinct(rows: Iterable[Row]) -> list[Row]:
    """One price of a unit under the same conditions and from the same date: the first. Another row may add units to it."""
    priced: dict[object, set[str]] = {}
    kept = []
    for row in rows:
        units = priced.setdefault((_group(row.when), row.from_s), set())
        own = {*row.prices, *(unit for tier in row.tiers for unit in tier.prices)}
        if own - units:
            kept.append(_only(row, own - units))
        units |= own
    return kept
