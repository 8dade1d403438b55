"""The entry of one attempt, made of its INTENT and its end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import Any, overload

import orjson
from msgspec import Raw, Struct
from msgspec.structs import astuple

from proxy.ledger.entries.amounts import Amounts, Counter, budget_amounts, plain_amounts
from proxy.ledger.entries.attempt_rows import ALIKE, Alike, Kind, alike_of, any_row, plain_columns
from proxy.ledger.entries.end_checks import check_stored
from proxy.ledger.entries.row import Columns, Row, columns_of
from proxy.ledger.entries.row_checks import is_valid, repaired, valid_amounts
from proxy.spool import records
from proxy.spool.frames import Record
from proxy.spool.plain import NOTHING, OfIntent, OfSettle, is_said

NO_END: Any = {}
"""Of a correction, and of an entry as the ledger has it."""


class Entry(Struct, gc=False, frozen=True):
    """One row for the ledger, with what follows from it: what ended it, and what it adds to the budgets.

    values: the row's; a `Row` only where somebody asks for one, as most are looked at column by column. end: the record, which
    need not say everything; of an ordinary call (`plain_entries`) only what has no column, and mostly `NO_END`; that, too,
    where none ended it. lines: of an ordinary call, its cost's lines as they stand in the record.
    """

    values: tuple[Any, ...]
    end: Any
    budgets: Amounts
    lines: Raw = NOTHING

    @property
    def row(self) -> Row:
        values = self.values
        return values if type(values) is Row else Row._make(values)

    def with_row(self, row: Row) -> Entry:
        return Entry(row, self.end, self.budgets, self.lines)


_AT = {name: at for at, name in enumerate(Row._fields)}
_alike_of_row = itemgetter(*map(_AT.__getitem__, ALIKE))


class Shipped(Sequence[Entry]):
    """Entries column by column, as nearly all that becomes of them is made so; an `Entry` only of one that somebody asks for.
    Never changed.

    columns: of their rows, in the order of `Row`; none where there are no entries. ends, budgets, lines: as an `Entry` has
    each. alike: what each has in common with others, where that is known.
    """

    def __init__(
        self,
        columns: Columns,
        ends: Sequence[Any],
        budgets: Sequence[Amounts],
        lines: Sequence[Raw],
        alike: Sequence[Alike] | None = None,
    ) -> None:
        self.columns = columns
        self.ends = ends
        self.budgets = budgets
        self.lines = lines
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
            return Shipped(columns, self.ends[at], self.budgets[at], self.lines[at], self.alike[at])
        return Entry(tuple([column[at] for column in self.columns]), self.ends[at], self.budgets[at], self.lines[at])

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
        return Shipped(columns, self.ends, self.budgets, self.lines, self.alike)

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
    return Shipped(columns, *([getattr(entry, name) for entry in each] for name in ("end", "budgets", "lines")))


def joined(parts: Sequence[Shipped]) -> Shipped:
    """All of them, in their order."""
    some = [part for part in parts if part]
    if len(some) == 1:
        return some[0]
    columns = [list(chain.from_iterable(each)) for each in zip(*[part.columns for part in some], strict=True)]
    beside = zip(*[(part.ends, part.budgets, part.lines, part.alike) for part in some], strict=True)
    return Shipped(columns, *([*chain.from_iterable(each)] for each in beside)) if some else as_shipped(())


_LINES = OfSettle.__struct_fields__.index("cost_lines")
_looked_at = itemgetter(
    *map(OfSettle.__struct_fields__.index, ("budgets", "cost_nanousd", "itl_count", "epoch", "stored"))
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


Ended = tuple[OfIntent, OfSettle, Kind, Record]
"""An ordinary call: its INTENT, the SETTLE that ended it, what both have in common with others, and the record of its end."""


def plain_entries(ended: Sequence[Ended], instance: str) -> Shipped:
    """The entries of ordinary calls, as `entry_of` has each; at least one. Raises ValueError where that has to look."""
    intents, ends, kinds, records = zip(*ended, strict=True)
    said = list(zip(*map(astuple, ends), strict=True))
    budgets, costs, counts, epochs, stored = _looked_at(said)
    texts, amounts = plain_amounts(budgets, costs, kinds)
    beside = [
        _beside_its_row(end, kind, record)
        if each is not NOTHING or count or epoch is not None or kind.flags
        else NO_END
        for end, kind, record, each, count, epoch in zip(ends, kinds, records, stored, counts, epochs, strict=True)
    ]
    columns = plain_columns(intents, said, kinds, texts, instance)
    lines: Sequence[Raw] = said[_LINES]
    if stored.count(NOTHING) < len(stored):  # a whole record has them
        lines = [NOTHING if "t" in end else raw for end, raw in zip(beside, lines, strict=True)]
    return Shipped(columns, beside, amounts, lines, [kind.alike for kind in kinds])


def _beside_its_row(end: OfSettle, kind: Kind, record: Record) -> Any:
    """What it says that has no column, or is needed in another form. Raises ValueError."""
    if is_said(end.stored):
        whole = orjson.loads(record.payload)
        check_stored(whole)
        return whole
    said: dict[str, Any] = {}
    if kind.flags:
        said["flags"] = kind.flags
    if end.itl_count:
        said["itl_ms_sum"], said["itl_count"] = end.itl_ms_sum, end.itl_count
    if end.epoch is not None:
        said["epoch"] = end.epoch
    return said
