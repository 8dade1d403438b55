"""The entry of one attempt, made of its INTENT and its end. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
from msgspec.structs import astuple

from proxy.ledger.amounts import Amounts, plain_amounts
from proxy.ledger.attempt_rows import Kind, any_row, plain_rows
from proxy.ledger.end_checks import check_stored
from proxy.ledger.row import Columns, Row, columns_of
from proxy.ledger.row_checks import is_valid, repaired, valid_amounts
from proxy.spool import records
from proxy.spool.frames import Record
from proxy.spool.plain import NOTHING, OfIntent, OfSettle, is_said

NO_END: Any = {}
"""Of a correction, and of an entry as the ledger has it."""


class Entry(NamedTuple):
    """One row for the ledger, with what follows from it: what ended it, and what it adds to the budgets.

    end: the record, which need not say everything; of an ordinary call (`plain_entries`) only what has no column, and its
    cost's lines as they stand there; `NO_END` where none ended it.
    """

    row: Row
    end: records.Settle
    budgets: Amounts


class Shipped(list[Entry]):
    """The entries of a batch, with the columns of their rows, which are made once for all who look at them. Never changed."""

    @cached_property
    def columns(self) -> Columns:
        return columns_of(entry.row for entry in self)


_entry = partial(tuple.__new__, Entry)
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
        else {"cost_lines": end.cost_lines}
        for end, kind, record, each, count, epoch in zip(ends, kinds, records, stored, counts, epochs, strict=True)
    ]
    rows = plain_rows(intents, said, kinds, texts, instance)
    return list(map(_entry, zip(rows, beside, amounts, strict=True)))


def _beside_its_row(end: OfSettle, kind: Kind, record: Record) -> Any:
    """What it says that has no column, or is needed in another form. Raises ValueError."""
    if is_said(end.stored):
        whole = orjson.loads(record.payload)
        check_stored(whole)
        return whole
    said: dict[str, Any] = {"cost_lines": end.cost_lines}
    if kind.flags:
        said["flags"] = kind.flags
    if end.itl_count:
        said["itl_ms_sum"], said["itl_count"] = end.itl_ms_sum, end.itl_count
    if end.epoch is not None:
        said["epoch"] = end.epoch
    return said
