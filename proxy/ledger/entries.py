"""The entry of one attempt, made of its INTENT and its end. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import orjson

from proxy.ledger.amounts import Amounts, plain_amounts
from proxy.ledger.attempt_rows import Kind, any_row, plain_rows
from proxy.ledger.end_checks import check_stored
from proxy.ledger.row import Row
from proxy.ledger.row_checks import is_valid, repaired, valid_amounts
from proxy.spool import records
from proxy.spool.plain import OfIntent, OfSettle, is_said

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


_entry = partial(tuple.__new__, Entry)


def entry_of(intent: records.Intent, end: records.End, instance: str) -> Entry:
    """The entry of one attempt. What a column or a counter cannot hold is repaired, and flagged `unreadable_record`."""
    ended: Any = end
    stated: Any = ended["budgets"] if "budgets" in ended else intent.get("budgets")
    row = any_row(intent, end, stated, instance)
    if row.status == "void" or not stated:
        stated = []
    amounts, plain = valid_amounts(stated)
    return Entry(row if plain and is_valid(row) else repaired(row, amounts), ended, amounts)


class Ended(NamedTuple):
    """An ordinary call: its INTENT, the SETTLE that ended it, and what both have in common with others."""

    intent: OfIntent
    end: OfSettle
    kind: Kind
    payload: bytes


def plain_entries(ended: Sequence[Ended], instance: str) -> list[Entry | None]:
    """The entries of ordinary calls, as `entry_of` has each; None where that has to look. At least one."""
    try:
        return _plain(ended, instance)
    except ValueError:
        return [None] if len(ended) == 1 else [entry for one in ended for entry in plain_entries([one], instance)]


def _plain(ended: Sequence[Ended], instance: str) -> list[Entry | None]:
    """Raises ValueError."""
    texts: list[str | None] = []
    amounts, said = [], []
    for _, end, kind, payload in ended:
        stated = plain_amounts(end.budgets, end.cost_nanousd, kind.stated)
        if stated is None:
            raise ValueError(end.budgets)
        text, budgets, kind.stated = stated
        texts.append(text if budgets else None)
        amounts.append(budgets)
        said.append(_beside_its_row(end, kind, payload))
    intents, ends, kinds, _ = zip(*ended, strict=True)
    rows = plain_rows(intents, ends, kinds, texts, instance)
    return list(map(_entry, zip(rows, said, amounts, strict=True)))


def _beside_its_row(end: OfSettle, kind: Kind, payload: bytes) -> Any:
    """What it says that has no column, or is needed in another form. Raises ValueError."""
    if is_said(end.stored):
        whole = orjson.loads(payload)
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
