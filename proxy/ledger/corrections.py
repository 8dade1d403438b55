"""What is learned of an attempt after it was charged at its ceiling. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from proxy.ids import correction_id
from proxy.ledger.entries import SILENT_END, Entry
from proxy.ledger.schema import TOKEN_COLUMNS
from proxy.ledger.sound import Row, json_text

CHANGED = "changed_later"
"""A flag: what a provider changed of a job's bill after its end."""


def correction_of(entry: Entry, charged: Mapping[str, Any]) -> Entry | None:
    """A settlement that comes after its attempt was charged at the ceiling: the entry of the difference, or None.

    charged: the row in the ledger. Only an `unconfirmed` one can be corrected, and only by what is known for certain. The
    correction has an id made from the attempt's, so that it too can be written any number of times and is there once.
    """
    row = entry.row
    if charged["status"] != "unconfirmed" or row["status"] == "unconfirmed" or charged["kind"] != "attempt":
        return None
    before = {tuple(item[:4]): item[4] for item in orjson.loads(charged["budgets"] or "[]")}
    after = {item[:4]: item[4] for item in map(tuple, entry.budgets)}
    budgets = [(*key, after.get(key, 0) - before.get(key, 0)) for key in before | after]
    settled, was = row["cost_nanousd"], charged["cost_nanousd"]
    difference = None if settled is None and was is None else (settled or 0) - (was or 0)
    corrected = row | {
        "id": correction_id(row["id"]),
        "kind": "correction",
        "corrects_id": row["id"],
        "status": "settled",
        "cost_nanousd": difference,
        "budgets": json_text(budgets),
    }
    return Entry(corrected, entry.end, budgets)


def entry_in_ledger(row: Row) -> Entry:
    """An entry as the ledger has it."""
    return Entry(row, SILENT_END, [tuple(item) for item in orjson.loads(row["budgets"] or "[]")])


def change_of(entry: Entry, charged: Mapping[str, Any], before: Mapping[str, Any]) -> Entry:
    """What a job's provider says of its cost after it was settled: the entry of the difference.

    charged: the attempt's row. before: the row in `jobs`, as it was settled or corrected last.
    """
    row = entry.row
    was = {tuple(item[:4]): item[4] for item in orjson.loads(before["settled"] or "[]")}
    now = {item[:4]: item[4] for item in map(tuple, entry.budgets)}
    budgets = [(*key, now.get(key, 0) - was.get(key, 0)) for key in was | now]
    flags = orjson.loads(row["flags"] or "[]")
    corrected = row | {
        "id": correction_id(row["id"], before["revision"]),
        "kind": "correction",
        "corrects_id": row["id"],
        "request_id": charged["request_id"],
        "started_at": charged["started_at"],
        "status": "settled",
        "cost_nanousd": (row["cost_nanousd"] or 0) - (before["cost_nanousd"] or 0),
        "flags": json_text(list(dict.fromkeys([*flags, CHANGED]))),
        "budgets": json_text(budgets),
        **dict.fromkeys(TOKEN_COLUMNS.values(), 0),
        "usage": None,
    }
    return Entry(corrected, entry.end, budgets)
