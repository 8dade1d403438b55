"""The entry of one attempt, made of its INTENT and its end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any

import orjson
from msgspec import Raw, Struct
from msgspec.structs import astuple

from proxy.ledger.amounts import Amounts, Counter, budget_amounts, plain_amounts
from proxy.ledger.attempt_rows import Kind, any_row, plain_rows
from proxy.ledger.end_checks import check_stored
from proxy.ledger.row import Columns, Row, columns_of
from proxy.ledger.row_checks import is_valid, repaired, valid_amounts
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


class Shipped(list[Entry]):
    """The entries of a batch, and what several look at of them, which is made once for all. Never changed."""

    @cached_property
    def rows(self) -> list[tuple[Any, ...]]:
        """Their values."""
        return [entry.values for entry in self]

    @cached_property
    def columns(self) -> Columns:
        return columns_of(self.rows)

    def column(self, name: str) -> Sequence[Any]:
        """What the rows have in a column."""
        return self.columns[_AT[name]] if self else ()

    @cached_property
    def with_ends(self) -> list[Entry]:
        """Those whose ends say something beside their rows."""
        return [entry for entry in self if entry.end is not NO_END]

    @property
    def named(self) -> dict[str, Sequence[Any]]:
        """The columns by their names; none where there are no entries."""
        return dict(zip(Row._fields, self.columns, strict=True)) if self else {}

    @cached_property
    def amounts(self) -> dict[Counter, int]:
        """What they add to each budget's counter."""
        return budget_amounts(self)


_LINES = OfSettle.__struct_fields__.index("cost_lines")
_looked_at = itemgetter(
    *map(OfSettle.__struct_fields__.index, ("budgets", "cost_nanousd", "itl_count", "epoch", "stored"))
)


def as_shipped(entries: Iterable[Entry]) -> Shipped:
    return entries if isinstance(entries, Shipped) else Shipped(entries)


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


def plain_entries(ended: Sequence[Ended], instance: str) -> list[Entry | None]:
    """The entries of ordinary calls, as `entry_of` has each; None where that has to look. At least one."""
    try:
        return _plain(ended, instance)
    except ValueError:
        return [None] if len(ended) == 1 else [entry for one in ended for entry in plain_entries([one], instance)]


def _plain(ended: Sequence[Ended], instance: str) -> list[Entry | None]:
    """Raises ValueError."""
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
    rows = plain_rows(intents, said, kinds, texts, instance)
    lines: Sequence[Raw] = said[_LINES]
    if stored.count(NOTHING) < len(stored):  # a whole record has them
        lines = [NOTHING if "t" in end else raw for end, raw in zip(beside, lines, strict=True)]
    return list(map(Entry, rows, beside, amounts, lines))


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
