"""Why a cost changed: the difference of two periods split exactly, group by group. Pure.

**The product.** A group is all calls of, say, one customer on one model. In either period its cost is

    C  =  N · s · f · ( Σ_u t_u · p_u )

N: all calls of the groups that both periods have (*volume*); s: the group's share of them (*mix*); f: the share of its calls
that have a price (*unpriced*); t_u: tokens (or things) of unit u a call; p_u: what one costs. The tokens of the input side are
their sum, which with output, reasoning and all other units makes *tokens*, times how they are made up of fresh input and of
what was read from and written to a cache (*cache*). Prices (*price*) are reference prices of the period, all scaled by the one
factor that makes the product the cost of the ledger: a discount, a tier or a correction is a change of price.

**The split.** Each of the six factors gets its Shapley value: the mean, over all 6! orders in which the factors could have gone
from their old to their new values one after the other, of what the cost changed in its turn. From this follows

- the parts add up to the difference: in each order they do (the steps lead from the old cost to the new one);
- no order is preferred: the value is a mean over all of them, weighted |S|!·(5 - |S|)!/6! for each set S that went before;
- swapping the periods turns every sign (and what was new is gone): the mean over reversed orders is the same mean;
- a factor that did not change gets nothing.

A group that only one period has has no second value of a factor: its cost is *new* or *gone* as a whole, and N counts only
groups that both have. A group without a priced call in one period borrows the other's prices: then its change is *unpriced*.

**The nano-dollar.** Parts are whole: each is rounded, and what rounding leaves goes to the parts it took most from. It is done
in one direction of time and the signs turned for the other, so that the swap is exact too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from decimal import ROUND_FLOOR, Context, Decimal, localcontext
from functools import cache
from math import factorial
from operator import itemgetter
from typing import NamedTuple, TypeVar

# What is read from a cache, or written to one, would else be fresh input: these units are one side.
CACHED_SIDE = frozenset({"input", "cache_read", "cache_write_5m", "cache_write_30m", "cache_write_1h"})
PARTS = ("volume", "mix", "tokens", "cache", "price", "new", "gone", "unpriced")
_FACTORS = ("volume", "mix", "unpriced", "tokens", "cache", "price")
_PRECISION = Context(prec=60)
_ZERO, _ONE = Decimal(0), Decimal(1)

G = TypeVar("G", bound=Hashable)
Units = Mapping[str, Decimal]
Parts = dict[str, int]


class Group(NamedTuple):
    """One group in one period. cost: integer nano-USD; usage: amounts above 0; prices: reference prices, of one of each unit
    that either period has, in any currency."""

    cost: int
    calls: int
    unpriced: int
    usage: Units
    prices: Units


NOTHING = Group(0, 0, 0, {}, {})


def split(before: Mapping[G, Group], now: Mapping[G, Group]) -> dict[G, Parts]:
    """Group -> its parts, each of `PARTS` (nano-USD), which add up to what its cost changed."""
    groups = sorted({*before, *now}, key=str)
    each = ((_ordered(before.get(group, NOTHING)), _ordered(now.get(group, NOTHING))) for group in groups)
    if next((was > is_now for was, is_now in each if was != is_now), False):
        return {group: _turned(parts) for group, parts in _split(now, before).items()}
    return _split(before, now)


def _turned(parts: Parts) -> Parts:
    """The same seen from the other period: what was new there is gone here."""
    turned = {part: -amount for part, amount in parts.items()}
    return turned | {"new": -parts["gone"], "gone": -parts["new"]}


def _ordered(group: Group) -> tuple[object, ...]:
    return group.cost, group.calls, group.unpriced, sorted(group.usage.items()), sorted(group.prices.items())


def _split(before: Mapping[G, Group], now: Mapping[G, Group]) -> dict[G, Parts]:
    both = [group for group in before if _stays(before[group], now.get(group, NOTHING))]
    volume = sum(before[group].calls for group in both), sum(now[group].calls for group in both)
    parts = {}
    with localcontext(_PRECISION):
        for group in {**before, **now}:
            was, is_now = before.get(group, NOTHING), now.get(group, NOTHING)
            parts[group] = dict.fromkeys(PARTS, 0)
            if _stays(was, is_now):
                parts[group] |= _shares(was, is_now, volume)
            else:
                # Either name may apply to an odd group that has costs without calls (a correction of another time).
                parts[group]["new"] = is_now.cost
                parts[group]["gone"] = -was.cost
    return parts


def _stays(was: Group, is_now: Group) -> bool:
    return was.calls > 0 and is_now.calls > 0


# One group


class _Factors(NamedTuple):
    """tokens: of the input side, and of each other unit, a call; cache: how the input side is made up."""

    share: Decimal
    priced: Decimal
    input_side: Decimal
    others: Units
    cache: Units
    prices: Units


def _shares(was: Group, is_now: Group, volume: tuple[int, int]) -> Parts:
    difference = is_now.cost - was.cost
    old, new = _factors(was, is_now, volume[0]), _factors(is_now, was, volume[1])
    if old is None or new is None:  # nothing to split by: no usage, or no price on either side
        return _by_count(was, is_now, volume)
    each = _costs((old, new))
    numbers = (Decimal(volume[0]), Decimal(volume[1])), (old.share, new.share), (old.priced, new.priced)
    changed = [place for place in range(6) if place > 2 or numbers[place][0] != numbers[place][1]]

    products = [_ONE]  # of volume, mix and unpriced, by the bits of those that changed
    for old_number, new_number in numbers:
        choices = (old_number,) if old_number == new_number else (old_number, new_number)
        products = [product * number for number in choices for product in products]
    values = [product * each[t][c][p] for p in (0, 1) for c in (0, 1) for t in (0, 1) for product in products]
    shares = _shapley(values, len(changed))
    return _whole(difference, {_FACTORS[place]: share for place, share in zip(changed, shares, strict=True)})


def _factors(group: Group, other: Group, volume: int) -> _Factors | None:
    usage = {unit: amount / group.calls for unit, amount in group.usage.items()}
    side = {unit: amount for unit, amount in usage.items() if unit in CACHED_SIDE}
    whole = sum(side.values(), _ZERO)
    priced = Decimal(group.calls - group.unpriced) / group.calls
    units = {*group.usage, *other.usage}
    prices = _scaled(group, units)
    if prices is None and group.cost == 0:  # what costs nothing does so at any prices
        prices = _scaled(other, units)
    if prices is None:
        return None
    return _Factors(
        share=Decimal(group.calls) / volume,
        priced=priced,
        input_side=whole,
        others={unit: amount for unit, amount in usage.items() if unit not in CACHED_SIDE},
        cache={unit: amount / whole for unit, amount in side.items()},
        prices=prices,
    )


def _scaled(group: Group, units: Collection[str]) -> Units | None:
    """Reference prices times the factor that makes the usage come to the cost; None where there is none."""
    if group.unpriced >= group.calls:
        return None
    priced = Decimal(group.calls - group.unpriced) / group.calls
    prices = group.prices
    worth = sum((amount * prices.get(unit, _ZERO) for unit, amount in group.usage.items()), _ZERO)
    if worth <= 0:  # no price is known of what was used: all units alike
        prices = dict.fromkeys(units, _ONE)
        worth = sum(group.usage.values(), _ZERO)
    if worth <= 0:
        return None
    scale = group.cost / (worth * priced)
    return {unit: price * scale for unit, price in prices.items()}


def _costs(both: tuple[_Factors, _Factors]) -> list[list[list[Decimal]]]:
    """What a call costs with the tokens of one period, the cache's share of another, the prices of a third: by these three."""
    sides = [[_worth(cache.cache, prices.prices) for prices in both] for cache in both]
    others = [[_worth(tokens.others, prices.prices) for prices in both] for tokens in both]
    # Without any input there is no way in which it is made up: then it is the tokens' own.
    made_up = [[sides[cache if both[cache].cache else tokens] for cache in (0, 1)] for tokens in (0, 1)]
    return [
        [
            [both[tokens].input_side * made_up[tokens][cache][prices] + others[tokens][prices] for prices in (0, 1)]
            for cache in (0, 1)
        ]
        for tokens in (0, 1)
    ]


def _worth(usage: Units, prices: Units) -> Decimal:
    return sum((amount * prices.get(unit, _ZERO) for unit, amount in usage.items()), _ZERO)


def _by_count(was: Group, is_now: Group, volume: tuple[int, int]) -> Parts:
    """A group whose calls say nothing of what they used: its cost is N · s · (cost a call)."""
    counts = [[Decimal(number) for number in volume]]
    counts.append([Decimal(was.calls) / volume[0], Decimal(is_now.calls) / volume[1]])
    counts.append([Decimal(was.cost) / was.calls, Decimal(is_now.cost) / is_now.calls])
    values = [
        counts[0][members & 1] * counts[1][members >> 1 & 1] * counts[2][members >> 2 & 1] for members in range(8)
    ]
    return _whole(is_now.cost - was.cost, dict(zip(("volume", "mix", "price"), _shapley(values, 3), strict=True)))


def _shapley(values: Sequence[Decimal], players: int) -> list[Decimal]:
    """values: what each set of players comes to, by the set's bits."""
    shares = []
    for sets_by_size in _sets(players):
        share = _ZERO
        for weight, without, with_him in sets_by_size:
            share += weight * (sum(with_him(values), _ZERO) - sum(without(values), _ZERO))
        shares.append(share / factorial(players))
    return shares


_Pick = Callable[[Sequence[Decimal]], Sequence[Decimal]]
_Sets = tuple[Decimal, _Pick, _Pick]


@cache
def _sets(players: int) -> list[list[_Sets]]:
    """Of each player, by size, the sets without him, and with him; with what each counts for, times the number of orders."""
    of_each = []
    for bit in (1 << player for player in range(players)):
        by_size: list[list[int]] = [[] for _ in range(players)]
        for members in range(1 << players):
            if not members & bit:
                by_size[members.bit_count()].append(members)
        of_each.append([
            (
                Decimal(factorial(size) * factorial(players - size - 1)),
                _picking(without),
                _picking([members | bit for members in without]),
            )
            for size, without in enumerate(by_size)
        ])  # fmt: skip
    return of_each


def _picking(places: Sequence[int]) -> _Pick:
    """Takes these of some values."""
    return itemgetter(*places) if len(places) > 1 else itemgetter(slice(places[0], places[0] + 1))


def _whole(total: int, shares: Mapping[str, Decimal]) -> Parts:
    """Rounded down, and what is left given one by one to those with the largest remainders, so that they add up to `total`."""
    parts = {name: int(share.to_integral_value(ROUND_FLOOR)) for name, share in shares.items()}
    left = total - sum(parts.values())
    for name in sorted(shares, key=lambda name: parts[name] - shares[name])[:left]:
        parts[name] += 1
    return parts
