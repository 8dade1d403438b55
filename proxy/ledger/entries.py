"""The entry of one attempt, made of its INTENT and its end. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson

from proxy.ledger.attempt_rows import any_row, kind_of, plain_row
from proxy.ledger.end_checks import check_stored
from proxy.ledger.row import Row
from proxy.ledger.row_checks import BudgetAmount, is_valid, plain_amounts, repaired, valid_amounts
from proxy.spool import records
from proxy.spool.plain import Intent, Settle, is_said, lines_of

_new = tuple.__new__

NO_END: Any = {}
"""Of a correction, and of an entry as the ledger has it."""


class Entry(NamedTuple):
    """One row for the ledger, with what follows from it: what ended it, and what it adds to the budgets.

    end: the record, which need not say everything; of an ordinary call (`plain_entry`) only what has no column; `NO_END` where
    none ended it.
    """

    row: Row
    end: records.Settle
    budgets: Sequence[BudgetAmount]


def entry_of(intent: records.Intent, end: records.End, instance: str) -> Entry:
    """The entry of one attempt. What a column or a counter cannot hold is repaired, and flagged `unreadable_record`."""
    ended: Any = end
    stated: Any = ended["budgets"] if "budgets" in ended else intent.get("budgets")
    row = any_row(intent, end, stated, instance)
    if row.status == "void" or not stated:
        stated = []
    amounts, plain = valid_amounts(stated)
    return Entry(row if plain and is_valid(row) else repaired(row, amounts), ended, amounts)


def plain_entry(intent: Intent, end: Settle, payload: bytes, instance: str) -> Entry | None:
    """The entry of an ordinary call that its SETTLE (`payload`) ended, as `entry_of` has it; None where that has to look."""
    own = end.own
    try:
        kind = None if is_said(own.job) else kind_of(intent.common, end.common)
        if kind is None:
            return None
        row = plain_row(intent, end, kind, instance)
        amounts = plain_amounts(row.budgets, row.cost_nanousd, own.budgets)
        if is_said(own.stored):
            ended = orjson.loads(payload)
            check_stored(ended)
        else:
            ended = {"cost_lines": lines_of(own.cost_lines)}
            if kind.flags:
                ended["flags"] = kind.flags
            if own.itl_count:
                ended["itl_ms_sum"], ended["itl_count"] = own.itl_ms_sum, own.itl_count
            if own.epoch is not None:
                ended["epoch"] = own.epoch
    except ValueError:
        return None
    return None if amounts is None else _new(Entry, (row, ended, amounts))


def budget_amounts(shipped: Iterable[Entry]) -> dict[tuple[str, str, int, str], int]:
    """What the entries add to each budget's counter: (name, group, window start, measure) -> amount."""
    amounts: dict[tuple[str, str, int, str], int] = defaultdict(int)
    for entry in shipped:
        for name, group, window_start, measure, amount in entry.budgets:
            amounts[name, group, window_start, measure] += amount
    return amounts
