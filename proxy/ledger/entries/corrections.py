"""Corrections of attempts that were charged at their ceilings, from what became known later. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from proxy.ids import correction_id
from proxy.ledger.entries.entry import NO_END, Entry, as_shipped
from proxy.ledger.entries.row import json_text, row_of
from proxy.ledger.schema import TOKEN_COLUMNS
from proxy.money import usd_text

CHANGED = "changed_later"
"""A flag: what a provider changed of a job's bill after its end."""

REPRICED = "repriced"
"""A flag: an entry whose price was wrong or missing, at the price of its day."""
INVOICED = "invoiced"
"""A flag: an `unconfirmed` entry, at what its provider's invoice says."""
NOW_PRICED = "repriced_request"
"""Of a correction's usage: it gives an attempt a price that had none. Sums take it off the calls without a price."""
_NO_TOKENS: dict[str, Any] = dict.fromkeys(TOKEN_COLUMNS.values(), 0)
_REPRICINGS = 1_000_000  # apart from the numbers of jobs' changes


def correction_of(entry: Entry, charged: Mapping[str, Any]) -> Entry | None:
    """A settlement that comes after its attempt was charged at the ceiling: the entry of the difference, or None.

    charged: the row in the ledger. Only an `unconfirmed` one can be corrected, and only by what is known for certain. The
    correction has an id made from the attempt's, so that it too can be written any number of times and is there once.
    """
    row = entry.row
    if charged["status"] != "unconfirmed" or row.status == "unconfirmed" or charged["kind"] != "attempt":
        return None
    before = {tuple(item[:4]): item[4] for item in orjson.loads(charged["budgets"] or "[]")}
    after = {item[:4]: item[4] for item in map(tuple, entry.budgets)}
    budgets = [(*key, after.get(key, 0) - before.get(key, 0)) for key in before | after]
    settled, was = row.cost_nanousd, charged["cost_nanousd"]
    difference = None if settled is None and was is None else (settled or 0) - (was or 0)
    ran_on = charged["outcome"] == "expired" and row.ended_at > charged["ended_at"]
    corrected = row._replace(
        id=correction_id(row.id),
        kind="correction",
        corrects_id=row.id,
        status="settled",
        cost_nanousd=difference,
        budgets=json_text(budgets),
        # It ran on after its reservation had expired: that time is in nobody's share yet.
        capacity=row.capacity if ran_on else None,
    )
    return Entry(corrected, entry.end, budgets)


def entry_in_ledger(charged: Mapping[str, Any]) -> Entry:
    """An entry as the ledger has it."""
    row = row_of(charged)
    return Entry(row, NO_END, [tuple(item) for item in orjson.loads(row.budgets or "[]")])


def change_of(entry: Entry, charged: Mapping[str, Any], before: Mapping[str, Any]) -> Entry:
    """What a job's provider says of its cost after it was settled: the entry of the difference.

    charged: the attempt's row. before: the row in `jobs`, as it was settled or corrected last.
    """
    row = entry.row
    was = {tuple(item[:4]): item[4] for item in orjson.loads(before["settled"] or "[]")}
    now = {item[:4]: item[4] for item in map(tuple, entry.budgets)}
    budgets = [(*key, now.get(key, 0) - was.get(key, 0)) for key in was | now]
    flags = orjson.loads(row.flags or "[]")
    corrected = row._replace(
        id=correction_id(row.id, before["revision"]),
        kind="correction",
        corrects_id=row.id,
        request_id=charged["request_id"],
        started_at=charged["started_at"],
        status="settled",
        cost_nanousd=(row.cost_nanousd or 0) - (before["cost_nanousd"] or 0),
        flags=json_text(list(dict.fromkeys([*flags, CHANGED]))),
        budgets=json_text(budgets),
        usage=None,
        capacity=None,  # its machines did nothing more
        **_NO_TOKENS,
    )
    return Entry(corrected, entry.end, budgets)


def repricing_of(
    charged: Mapping[str, Any], cost: Mapping[str, Any], cost_nanousd: int, net: int | None, number: int
) -> Entry:
    """An entry at its right price: the entry of the difference, which takes from and gives to budgets what that is.

    charged: the attempt's row. cost: its cost's columns (`cost_lines`, `price_version`). net: what it and its corrections come
    to so far (None: it has no price); number: how many times it was repriced before.
    """
    difference = cost_nanousd - (net or 0)
    measured = [tuple(item) for item in orjson.loads(charged["budgets"] or "[]") if item[3] == "usd"]
    budgets = [(*item[:4], difference) for item in measured]
    row = row_of(charged)._replace(
        id=correction_id(charged["id"], _REPRICINGS + number),
        kind="correction",
        corrects_id=charged["id"],
        cost_nanousd=difference,
        cost_source="computed",
        cost_lines=cost["cost_lines"],
        price_version=cost["price_version"],
        flags=json_text([REPRICED]),
        budgets=json_text(budgets),
        told_usage=None,
        usage=json_text({NOW_PRICED: 1}) if net is None else None,
        capacity=None,  # the attempt's alone, as what follows
        capacity_nanousd=None,
        energy_millijoules=None,
        energy_source=None,
        **_NO_TOKENS,
    )
    return Entry(row, NO_END, budgets)


def invoice_of(charged: Mapping[str, Any], cost_nanousd: int) -> Entry:
    """An entry that stands at its ceiling, at what the invoice says: the entry of the difference. It is the one correction that
    an `unconfirmed` entry can have, so that a settlement which comes later still changes nothing."""
    usd = usd_text(cost_nanousd)
    line = {"unit": "request", "quantity": "1", "price_usd": usd, "per": 1, "cost_usd": usd, "source": "invoice"}
    cost = {"cost_lines": json_text([line]), "price_version": charged["price_version"]}
    made = repricing_of(charged, cost, cost_nanousd, charged["cost_nanousd"], 0)
    row = made.row._replace(
        id=correction_id(charged["id"]), status="settled", cost_source="provider", flags=json_text([INVOICED])
    )
    return made.with_row(row)


def repricings(entries: Iterable[Entry]) -> list[list[Any]]:
    """Of those that no data plane knows of (repricings, what an invoice settled): the id, and what it takes from or gives to
    budgets."""
    shipped = as_shipped(entries)
    if "correction" not in shipped.column("kind"):
        return []
    return [
        [entry.row.id, [list(item) for item in entry.budgets]]
        for entry in shipped
        if entry.row.kind == "correction" and any(flag in (entry.row.flags or "") for flag in (REPRICED, INVOICED))
    ]


def record_of(correction: Entry) -> bytes:
    """A correction as the spool has it."""
    return orjson.dumps(
        {"t": "correction", "row": correction.row._asdict(), "budgets": [list(item) for item in correction.budgets]}
    )
