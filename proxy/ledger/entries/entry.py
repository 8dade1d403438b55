"""The entry of one attempt, made of its INTENT and its end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import Any, overload

import orjson
from msgspec import Struct
from msgspec.structs import astuple

from proxy.ledger.entries.amounts import Amounts, Counter, budget_amounts, plain_amounts
from proxy.ledger.entries.attempt_rows import ALIKE, Alike, Kind, alike_of, any_row, plain_columns
from proxy.ledger.entries.end_checks import check_stored
from proxy.ledger.entries.row import Columns, Row, columns_of
from proxy.ledger.entries.row_checks import is_valid, repaired, valid_amounts
from proxy.spool import records
from proxy.spool.frames import Records
from proxy.spool.plain import NOTHING, Ended, OfIntent, OfSettle, Part, is_said

NO_END: Any = {}
"""Of a correction, and of an entry as the ledger has it."""


class Entry(Struct, gc=False, frozen=True):
    """One row for the ledger, with what follows from it: what ended it, and what it adds to the budgets.

    values: the row's; a `Row` only where somebody asks for one, as most are looked at column by column. end: the record, which
    need not say everything; of an ordinary call (`plain_entries`) only what has no column, and mostly `NO_END`; that, too,
    where none ended it. parts: of an ordinary call, what its cost's lines say.
    """

    values: tuple[Any, ...]
    end: Any
    budgets: Amounts
    parts: Sequence[Part] | None = None

    @property
    def row(self) -> Row:
        values = self.values
        return values if type(values) is Row else Row._make(values)

    def with_row(self, row: Row) -> Entry:
        return Entry(row, self.end, self.budgets, self.parts)


_AT = {name: at for at, name in enumerate(Row._fields)}
_alike_of_row = itemgetter(*map(_AT.__getitem__, ALIKE))


class Shipped(Sequence[Entry]):
    """Entries column by column, as nearly all that becomes of them is made so; an `Entry` only of one that somebody asks for.
    Never changed.

    columns: of their rows, in the order of `Row`; none where there are no entries. ends, budgets, parts: as an `Entry` has
    each. alike: what each has in common with others, where that is known.
    """

    def __init__(
        self,
        columns: Columns,
        ends: Sequence[Any],
        budgets: Sequence[Amounts],
        parts: Sequence[Sequence[Part] | None],
        alike: Sequence[Alike] | None = None,
    ) -> None:
        self.columns = columns
        self.ends = ends
        self.budgets = budgets
        self.parts = parts
        self._alike = alike

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, at: int) -> Entry: ...
    @overload
    def __getitem__(self, at: slice) -> Shipped: ...
    def __getitem__(self, at: int | slice) -> Entry | Shipped:
        if isinstance(at, slice):
            columns = [column[at] for column in self.columns]
            return Shipped(columns, self.ends[at], self.budgets[at], self.parts[at], self.alike[at])
        return Entry(tuple([column[at] for column in self.columns]), self.ends[at], self.budgets[at], self.parts[at])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as of a list

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """The values of each."""
        return list(zip(*self.columns, strict=True))

    def column(self, name: str) -> Sequence[Any]:
        """What the rows have in a column."""
        return self.columns[_AT[name]] if self else ()

    def with_column(self, name: str, values: Sequence[Any]) -> Shipped:
        """The same with other values in a column that is none of `ALIKE`."""
        at = _AT[name]
        columns = [*self.columns[:at], values, *self.columns[at + 1 :]]
        return Shipped(columns, self.ends, self.budgets, self.parts, self.alike)

    @cached_property
    def alike(self) -> Sequence[Alike]:
        """What each has in common with others."""
        return self._alike or list(map(alike_of, zip(*map(self.column, ALIKE), strict=True)))

    def saying(self, name: str) -> list[Entry]:
        """Those whose ends say something under this name beside their rows."""
        return [self[at] for at, end in enumerate(self.ends) if end is not NO_END and end.get(name) is not None]

    @property
    def named(self) -> dict[str, Sequence[Any]]:
        """The columns by their names; none where there are no entries."""
        return dict(zip(Row._fields, self.columns, strict=True)) if self else {}

    @cached_property
    def amounts(self) -> dict[Counter, int]:
        """What they add to each budget's counter."""
        return budget_amounts(self.budgets)


def as_shipped(entries: Iterable[Entry]) -> Shipped:
    if isinstance(entries, Shipped):
        return entries
    each = list(entries)
    columns = columns_of([entry.values for entry in each])
    return Shipped(columns, *([getattr(entry, name) for entry in each] for name in ("end", "budgets", "parts")))


def joined(parts: Sequence[Shipped]) -> Shipped:
    """All of them, in their order."""
    some = [part for part in parts if part]
    if len(some) == 1:
        return some[0]
    columns = [list(chain.from_iterable(each)) for each in zip(*[part.columns for part in some], strict=True)]
    beside = zip(*[(part.ends, part.budgets, part.parts, part.alike) for part in some], strict=True)
    return Shipped(columns, *([*chain.from_iterable(each)] for each in beside)) if some else as_shipped(())


_looked_at = itemgetter(
    *map(OfSettle.__struct_fields__.index, ("budgets", "cost_nanousd", "itl_count", "epoch", "job", "stored"))
)


def entry_of(intent: records.Intent, end: records.End, instance: str) -> Entry:
    """The entry of one attempt. What a column or a counter cannot hold is repaired, and flagged `unreadable_record`."""
    ended: Any = end
    stated: Any = ended["budgets"] if "budgets" in ended else intent.get("budgets")
    row = any_row(intent, end, stated, instance)
    if row.status == "void" or not stated:
        stated = []
    amounts, plain = valid_amounts(stated)
    return Entry(row if plain and is_valid(row) else repaired(row, amounts), ended, amounts)


def plain_entries(
    intents: Sequence[OfIntent], ended: Ended, kinds: Sequence[Kind], shipped: Records, instance: str
) -> Shipped:
    """The entries of ordinary calls, as `entry_of` has each; at least one. Raises ValueError where that has to look. kinds:
    what each INTENT and its end have in common with others. shipped: the records that the ends are of."""
    said = list(zip(*map(astuple, ended.own), strict=True))
    budgets, costs, counts, epochs, jobs, stored = _looked_at(said)
    if jobs.count(NOTHING) < len(jobs) and any(map(is_said, jobs)):
        raise ValueError(jobs)
    texts, amounts = plain_amounts(budgets, costs, kinds)
    beside = [NO_END] * len(costs)
    is_bare = not any(counts) and stored.count(NOTHING) + epochs.count(None) == 2 * len(costs)
    if not is_bare or any(kind.flags for kind in {*kinds}):
        each = zip(ended.own, kinds, ended.places, strict=True)
        beside = [_beside_its_row(end, kind, shipped.payloads[place]) for end, kind, place in each]
    columns = plain_columns(intents, said, ended.lines, kinds, texts, instance)
    return Shipped(columns, beside, amounts, ended.parts, [kind.alike for kind in kinds])


def _beside_its_row(end: OfSettle, kind: Kind, payload: bytes) -> Any:
    """What it says that has no column, or is needed in another form. Raises ValueError."""
    if is_said(end.stored):
        whole = orjson.loads(payload)
        check_stored(whole)
        return whole
    said: dict[str, Any] = {}
    if kind.flags:
        said["flags"] = kind.flags
    if end.itl_count:
        said["itl_ms_sum"], said["itl_count"] = end.itl_ms_sum, end.itl_count
    if end.epoch is not None:
        said["epoch"] = end.epoch
    return said or NO_END
