"""Whether a record's values fit their columns and the sums over them, and what happens if they do not.

A client chooses names, a defect writes nonsense: neither may cost a call its entry, nor stop those behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import Column

from proxy.budgets.budget import MOST_GROUP_CHARS, bounded
from proxy.ledger.entries.row import Row, json_text
from proxy.ledger.schema import TOKEN_COLUMNS, entries

BudgetAmount = tuple[str, str, int, str, int]  # name, group, window start, measure, amount

MOST = 2**53
"""Of anything that is added up: no call comes near it, and a thousand of the like fit into a database's integer."""
UNREADABLE = "unreadable_record"
MOST_NAME_CHARS = 300
"""Of a name that stands in a key: a configuration's are shorter, and no index of PostgreSQL takes 2,700 bytes."""

_MAX_INTEGER = 2**63 - 1


def is_amount(item: Any) -> bool:
    if type(item) not in (list, tuple) or len(item) != 5:
        return False
    name, group, window_start, measure, amount = item
    return (
        type(name) is str
        and type(group) is str
        and type(window_start) is int
        and type(measure) is str
        and type(amount) is int
        and -MOST <= amount <= MOST
        and -MOST <= window_start <= MOST
        and len(name) <= MOST_NAME_CHARS
        and len(measure) <= MOST_NAME_CHARS
        and "\x00" not in name
        and "\x00" not in measure
    )


def bounded_amount(item: Any) -> Any:
    """The amount with a group that every database's index takes; what the budgets themselves name is as it is."""
    name, group, window_start, measure, amount = item
    if len(group) <= MOST_GROUP_CHARS and "\x00" not in group:
        return item
    return [name, bounded(group), window_start, measure, amount]


def valid_amounts(stated: Any) -> tuple[Sequence[BudgetAmount], bool]:
    """What can be added of these amounts, and whether that is all of them, as they are."""
    amounts = list(stated) if isinstance(stated, list | tuple) else [stated]
    valid = [bounded_amount(item) for item in amounts if is_amount(item)]
    return valid, valid == amounts


def _types_of(column: Column[Any]) -> frozenset[type]:
    held: dict[type, set[type]] = {
        sa.Text: {str},
        sa.BigInteger: {int},
        sa.Integer: {int},
        sa.Boolean: {bool},
        sa.Double: {float, int},
    }
    return frozenset(held[type(column.type)] | ({type(None)} if column.nullable else set()))


_TYPES = {column.name: _types_of(column) for column in entries.columns}
_valid_signatures: set[tuple[type, ...]] = set()  # the types of whole rows that were found good; there are only some


_MONEY = ("cost_nanousd", "reserved_nanousd", "provider_cost_nanousd")


def is_valid(row: Row) -> bool:
    """Whether every column can hold its value, and sums of it."""
    signature = tuple(map(type, row))
    if signature not in _valid_signatures:
        if any(kind not in allowed for kind, allowed in zip(signature, _TYPES.values(), strict=True)):
            return False
        _valid_signatures.add(signature)
    return (
        -MOST <= (row.cost_nanousd or 0) <= MOST
        and -MOST <= (row.reserved_nanousd or 0) <= MOST
        and -MOST <= (row.provider_cost_nanousd or 0) <= MOST
    )


def repaired(row: Row, budgets: Sequence[BudgetAmount]) -> Row:
    """The row with what its columns can hold; without a cost that can be read it is charged as reserved, `unconfirmed`."""
    values: dict[str, Any] = {
        name: value if type(value) in _TYPES[name] else None for name, value in row._asdict().items()
    }
    values |= {name: None for name in _MONEY if not -MOST <= (values[name] or 0) <= MOST}
    if type(values["cost_nanousd"]) is not int and values["status"] != "void":
        values |= {"cost_nanousd": values["reserved_nanousd"], "status": "unconfirmed", "cost_lines": None}
    needed = {
        "request_id": values["id"],
        "attempt": 1,
        "started_at": values["ended_at"] or 0,
        "status": "unconfirmed",
        "outcome": "cut",
        **dict.fromkeys(TOKEN_COLUMNS.values(), 0),
    }
    values |= {name: value for name, value in needed.items() if values[name] is None}
    values["ended_at"] = values["started_at"] if values["ended_at"] is None else values["ended_at"]
    flags = orjson.loads(values["flags"]) if values["flags"] else []
    return Row(**values | {"flags": json_text([*flags, UNREADABLE]), "budgets": json_text(budgets)})


_LARGEST = {
    column.name: 2**31 - 1 if type(column.type) is sa.Integer else _MAX_INTEGER
    for column in entries.columns
    if isinstance(column.type, sa.Integer)
}
_INDEXED = {name for index in entries.indexes for name in index.columns.keys()}  # noqa: SIM118 - iterating gives columns


def storable(row: Row) -> Row:
    """The row as any database takes it: no NUL in text, integers within their columns, short text in what is indexed."""
    changed: dict[str, Any] = {}
    for name, value in row._asdict().items():
        if isinstance(value, str):
            text = value.replace("\x00", "\ufffd")
            changed[name] = bounded(text) if name in _INDEXED else text
        elif type(value) is int and name in _LARGEST:
            changed[name] = max(-_LARGEST[name], min(value, _LARGEST[name]))
    return row._replace(**changed)
