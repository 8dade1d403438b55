"""What billing systems are told of an entry: quantities with their ids: tokens, all units, or cost. Pure.

Nobody is billed for a call that has no payer, and nothing is told of a cost that is not known: a correction tells it once it
is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pricing.units import TOKENS
from proxy.config.exports import Export
from proxy.exports.usage import Number, payer_of, units_of
from proxy.ledger.beside.export_log import CAPACITY, Item

COST = "cost"


class Quantity(NamedTuple):
    """id: the same whenever it is told. unit: a unit of usage, or `cost`, whose amount is in nano-USD. payer: as the sink
    calls them."""

    id: str
    payer: str
    unit: str
    amount: Number


def quantities(item: Item, row: Export) -> Iterator[Quantity]:
    """What is to be told of an item."""
    payer = payer_of(item.row, row.subject)
    if payer is None:
        return
    payer = row.subjects.get(payer, payer)
    if row.measure == COST:
        cost = item.row["capacity_nanousd" if item.part == CAPACITY else "cost_nanousd"]
        if cost:
            yield Quantity(item.id, payer, COST, cost)
    elif item.part != CAPACITY:
        for unit, amount in units_of(item.row).items():
            if row.measure == "units" or unit in TOKENS:
                yield Quantity(f"{item.id}/{unit}", payer, unit, amount)


def about(item: Item) -> dict[str, str]:
    """What a quantity can be told apart by, as text: what is not known is left out."""
    row = item.row
    known = {"model": row["model"] or row["model_requested"], "provider": row["provider"], "key": row["key"]}
    return {name: value for name, value in known.items() if value}
