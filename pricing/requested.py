"""What a client's request says of its own price (its tier, its speed, the size of a picture).

The client may want it cheap, and a provider that does not know the word passes over it. So it may make a price dearer and
never cheaper: that is for a response, a selector or the configuration to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import combinations

from pricing.cost import Cost
from pricing.facts import facts_of
from pricing.price import Multiplier, Row
from pricing.resolve import closest
from pricing.usage import Reading

_NO_PRICE = Decimal(-1)


def requested_conditions(
    requested: Mapping[str, str],
    provider: str,
    names: Sequence[str],
    rows: Iterable[Row],
    factors: Iterable[Multiplier],
) -> dict[str, str]:
    """Those of the requested conditions that a price depends on.

    provider: canonical. names: all that the model goes by, and may answer by, in lower case. rows: those of the model. factors:
    the provider's, of which only the model's count.
    """
    entries: list[Row | Multiplier] = [*rows]
    entries += [factor for factor in factors if closest(names, factor.model) is not None]
    words = {(name, value) for entry in entries for name, values in entry.when.items() for value in values}
    return {
        name: value
        for name, value in requested.items()
        if not words.isdisjoint(facts_of(provider, names[0], {name: value}, None).items())
    }


def dearest_as_requested(reading: Reading, requested: Mapping[str, str], cost_of: Callable[[Reading], Cost]) -> Cost:
    """The dearest cost of the reading under none, all or some of `requested`. Where only some of them give it a price, that."""
    dearest: Cost | None = None
    for count in range(len(requested) + 1):
        for some in combinations(requested.items(), count):
            as_requested = reading._replace(requested={}, conditions={**reading.conditions, **dict(some)})
            cost = cost_of(as_requested)
            if dearest is None or _usd(cost) > _usd(dearest):
                dearest = cost._replace(requested=dict(some))
    assert dearest is not None
    return dearest


def _usd(cost: Cost) -> Decimal:
    return cost.cost_usd if cost.cost_usd is not None else _NO_PRICE
