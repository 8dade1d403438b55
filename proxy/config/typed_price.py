"""A price that somebody types to see what it would have come to: checked as a row of `prices:` is, and kept nowhere. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pricing.operator import OperatorPrice, parse_rows
from pricing.price import Price, Row, Tier, is_one_of
from pricing.units import UNITS
from proxy.times import BadQuestion

TYPED = "the price that was typed"
"""The source of its cost lines."""


def typed_price(provider: str, model: str, prices: Mapping[str, str]) -> OperatorPrice | None:
    """A row for a model (a trailing * fits more) at a provider (empty: at any). prices: unit -> USD per million tokens, or per
    thing. None: nothing was typed. Raises `BadQuestion`, which names what is wrong.
    """
    if not model and not prices and not provider:
        return None
    if not model:
        raise BadQuestion("model: name the one that the price is of")
    if not prices:
        raise BadQuestion("price: say what a unit costs, such as price.input=0.25")
    for unit in prices:
        if unit not in UNITS:
            raise BadQuestion(f"price.{unit[:60]}: is not a unit; use one of {', '.join(UNITS)}")
    rows, problems = parse_rows([{"provider": provider or "*", "model": model, **prices}])
    if problems:
        raise BadQuestion("; ".join(_named(problem.path, problem.message) for problem in problems))
    (price,) = rows
    return price if price.row is None else OperatorPrice(replace(price.row, source=TYPED), None)


def _named(path: str, message: str) -> str:
    name = path.removeprefix("prices[0].")
    return f"{f'price.{name}' if name in UNITS else name}: {message}"


def before_others(typed: OperatorPrice, others: Iterable[OperatorPrice]) -> Iterator[OperatorPrice]:
    """The operator's rows with one that comes before all of them, whatever they say of when and how closely they name it."""
    yield typed
    row = typed.row
    for other in others:
        if row is not None and other.row is not None and _meets(row, other.row):
            yield OperatorPrice(_without(other.row, row.prices), other.multiplier)
        else:
            yield other


def _meets(row: Row, other: Row) -> bool:
    """Whether both may price the same call."""
    pairs = ((row.model, other.model), (row.provider, other.provider))
    return all(is_one_of(typed, theirs) or is_one_of(theirs, typed) for typed, theirs in pairs)


def _without(row: Row, units: Iterable[str]) -> Row:
    gone = set(units)
    tiers = [Tier(tier.over, _less(tier.prices, gone), tier.inclusive) for tier in row.tiers]
    return replace(row, prices=_less(row.prices, gone), tiers=tuple(tier for tier in tiers if tier.prices))


def _less(prices: Mapping[str, Price], gone: set[str]) -> dict[str, Price]:
    return {unit: price for unit, price in prices.items() if unit not in gone}
