"""What entries add to the budgets' counters. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, cast

import orjson
from msgspec import Raw, Struct

from proxy.ledger.entries.row_checks import BudgetAmount, valid_amounts
from proxy.spool.plain import amounts_of, texts_of

Counter = tuple[str, str, int, str]
"""name, group, window start, measure"""


class SameAmount(Struct, gc=False, frozen=True):
    """What an ordinary call adds: the same amount to each of its counters. As good as so many `BudgetAmount`s; `counters` is
    one object for the many calls that have the same."""

    counters: tuple[Counter, ...]
    amount: int

    def __iter__(self) -> Iterator[BudgetAmount]:
        amount = self.amount
        return iter([(*counter, amount) for counter in self.counters])

    def __len__(self) -> int:
        return len(self.counters)


Amounts = Sequence[BudgetAmount] | SameAmount


class Known(NamedTuple):
    """How records state what a call adds to some counters: what stands around the amounts."""

    counters: tuple[Counter, ...]
    around: Sequence[str]


class States(Protocol):
    """Calls of a kind. stated: how the last of them said what it adds to the budgets: the next may say it so, too."""

    stated: Known | None


_known: dict[str, Known] = {}  # by the text, without the amounts
_MOST_KNOWN, _MOST_CHARS = 1024, 1000


def plain_amounts(
    stated: Sequence[Raw], costs: Sequence[int | None], kinds: Sequence[States]
) -> tuple[Sequence[str | None], Sequence[Amounts]]:
    """What ordinary calls add to the budgets: as the text of their rows, and as amounts. Raises ValueError where not all of it
    can be added."""
    numbers = orjson.dumps(costs).decode()[1:-1]
    guesses = [kind.stated for kind in kinds]
    if all(guesses) and "null" not in numbers:
        known = cast("Sequence[Known]", guesses)
        texts = list(map(str.join, [f",{number}]" for number in numbers.split(",")], [guess.around for guess in known]))
        # They are right where they come to the same text.
        if "\n".join(texts).encode() == b"\n".join(stated):
            return texts, list(map(SameAmount, [guess.counters for guess in known], cast("Sequence[int]", costs)))
    said = texts_of(stated)
    each: list[Amounts] = []
    for at, (cost, kind) in enumerate(zip(costs, kinds, strict=True)):
        amounts = _stated(stated[at], cost, kind)
        each.append(amounts)
        if not amounts:
            said[at] = None
    return said, each


def _stated(raw: Raw, cost: int | None, kind: States) -> Amounts:
    """As `plain_amounts`, of one. Raises ValueError."""
    if cost is None:
        return _each(raw)
    text, amount = str(raw, "utf-8"), f",{cost}]"
    without = text.replace(amount, ",]")
    known = _known.get(without)
    if known is None:
        amounts = _each(raw)
        # A name that looks like the end of an amount is not known: of all others only one text comes to what is.
        if not amounts or without.count(",]") != len(amounts) or any(item[4] != cost for item in amounts):
            return amounts
        known = Known(tuple((name, group, at, measure) for name, group, at, measure, _ in amounts), text.split(amount))
        if len(text) <= _MOST_CHARS:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[without] = known
    kind.stated = known
    return SameAmount(known.counters, cost)


def _each(stated: Raw) -> Sequence[BudgetAmount]:
    """Amounts that differ. Raises ValueError."""
    amounts, plain = valid_amounts(amounts_of(stated))
    if not plain:
        raise ValueError(stated)
    return amounts


def budget_amounts(each: Iterable[Amounts]) -> dict[Counter, int]:
    """What entries that add these add to each budget's counter."""
    amounts: dict[Counter, int] = defaultdict(int)
    # Of those that have the same counters, by the object: to compare names takes longer than all else.
    alike: dict[int, int] = defaultdict(int)
    counters: dict[int, tuple[Counter, ...]] = {}
    for budgets in each:
        if type(budgets) is SameAmount:
            key = id(budgets.counters)
            alike[key] += budgets.amount
            counters[key] = budgets.counters
        else:
            for name, group, window_start, measure, amount in budgets:
                amounts[name, group, window_start, measure] += amount
    for key, amount in alike.items():
        for counter in counters[key]:
            amounts[counter] += amount
    return amounts
