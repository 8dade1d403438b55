"""Rows of the ledger as data planes are told them, however they were read. Pure, and without SQLAlchemy.

`Row` has a table's columns by their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from proxy.budgets.budget import Budget, Raise
from proxy.budgets.key_limits import KeyLimits

Row = Mapping[Any, Any]
KEY_ATTRIBUTES = ("team", "user", "customer")
MOST_ASKED = 200  # about in one question: SQLite refuses a thousand conditions


def identities_of(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Live keys, of `keys`, as the fields of `Identity`."""
    return [identity_of(row) for row in rows]


def identity_of(row: Row) -> dict[str, Any]:
    return {
        "key_id": row["key_id"],
        "key": row["name"],
        **{name: row[name] for name in KEY_ATTRIBUTES},
        "labels": orjson.loads(row["labels"]) if row["labels"] else {},
        "models": orjson.loads(row["models"]) if row["models"] else None,
        "expires_at": None if row["expires_at"] is None else row["expires_at"] / 1e6,
    }


def limits_of(rows: Sequence[Row]) -> list[KeyLimits]:
    """rows: keys that have or had limits, in the order in which they were made. The live ones' limits; before them what revoked
    keys had, one of a kind."""
    live = [limit_of(row["limits"]) for row in rows if row["revoked_at"] is None]
    gone = {kind_of(limit_of(row["limits"])) for row in rows if row["revoked_at"] is not None}
    return [*sorted(gone, key=str), *live]


def limit_of(text: str) -> KeyLimits:
    """As the column `limits` has it."""
    return KeyLimits(**orjson.loads(text))


def kind_of(limit: KeyLimits) -> KeyLimits:
    """What stays of a revoked key's limits."""

    def same(amount: int | None) -> int | None:
        return None if amount is None else 0

    amounts = same(limit.requests_a_minute), same(limit.tokens_a_minute)
    return KeyLimits("", same(limit.nanousd), limit.window, *amounts, live=False)


def as_raises(rows: Iterable[Row]) -> list[Raise]:
    """Of `raises`, those in force."""
    return [
        Raise(row["budget"], row["group"], row["by_amount"], None if row["until_at"] is None else row["until_at"] / 1e6)
        for row in rows
    ]


def seeds_of(
    budgets: Iterable[Budget], counted: Iterable[Row], bases: Iterable[Row], now_s: float
) -> list[dict[str, Any]]:
    """What counters of the current windows have: the fields of `Standing`, and how much of `spent` is the `base` of the
    budget's definition. counted, bases: of `budget_spend` and `budget_bases`, of no other windows."""
    windows = {budget.name: (budget, *budget.window_now(now_s)) for budget in budgets}
    base = {(row["budget"], row["group"]): int(row["amount"]) for row in bases}
    spent: dict[tuple[str, str], int] = {}
    for row in counted:
        key = (row["budget"], row["group"])
        spent[key] = spent.get(key, 0) + int(row["amount"])
    for key, amount in base.items():
        spent[key] = spent.get(key, 0) + amount
    return [
        {
            "budget": name,
            "group": group,
            "window_start": windows[name][1],
            "window_end": windows[name][2],
            "measure": windows[name][0].measure,
            "spent": amount,
            "base": base.get((name, group), 0),
            "limit": windows[name][0].limit_for(group, now_s),
        }
        for (name, group), amount in spent.items()
    ]
