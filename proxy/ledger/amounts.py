"""What entries add to the budgets' counters. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from msgspec import Raw, Struct

from proxy.ledger.row_checks import BudgetAmount, valid_amounts
from proxy.spool.plain import amounts_of

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
    around: Sequence[bytes]


class Stated(NamedTuple):
    """known: what the next call of its kind may state, too."""

    text: str
    amounts: Amounts
    known: Known | None


_known: dict[bytes, Known] = {}  # by the text, without the amounts
_MOST_KNOWN, _MOST_BYTES = 1024, 1000

_new = tuple.__new__


def plain_amounts(stated: Raw, cost: int | None, guess: Known | None) -> Stated | None:
    """What an ordinary call adds to the budgets; None where not all of it can be added. guess: what such a call stated before:
    it is right where it comes to the same bytes. Raises ValueError."""
    if cost is None:
        return _each(stated)
    amount = b",%d]" % cost
    if guess is not None and Raw(text := amount.join(guess.around)) == stated:
        return _new(Stated, (text.decode(), SameAmount(guess.counters, cost), guess))
    text = bytes(stated)
    without = text.replace(amount, b",]")
    known = _known.get(without)
    if known is None:
        each = _each(stated)
        # A name that looks like the end of an amount is not known: of all others only one text comes to what is.
        if each is None or without.count(b",]") != len(each.amounts) or any(item[4] != cost for item in each.amounts):
            return each
        known = Known(
            tuple((name, group, at, measure) for name, group, at, measure, _ in each.amounts), text.split(amount)
        )
        if len(text) <= _MOST_BYTES:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[without] = known
    return Stated(text.decode(), SameAmount(known.counters, cost), known)


def _each(stated: Raw) -> Stated | None:
    """Amounts that differ. Raises ValueError."""
    amounts, plain = valid_amounts(amounts_of(stated))
    return Stated(str(stated, "utf-8"), amounts, None) if plain else None


class _Counted(Protocol):
    @property
    def budgets(self) -> Amounts: ...


def budget_amounts(entries: Iterable[_Counted]) -> dict[Counter, int]:
    """What the entries add to each budget's counter."""
    amounts: dict[Counter, int] = defaultdict(int)
    # Of those that have the same counters, by the object: to compare names takes longer than all else.
    alike: dict[int, int] = defaultdict(int)
    counters: dict[int, tuple[Counter, ...]] = {}
    for entry in entries:
        budgets = entry.budgets
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
