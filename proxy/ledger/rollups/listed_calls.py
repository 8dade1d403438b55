"""In which past three hours a user or a customer has calls, or some attribute a value: for lists of them. Where few calls have
it, which. Filled by `label_parts.py`, read by `call_runs.py`.

A row of all calls is as wide as forty numbers, and there may be as many persons as calls: without this a list of one of them
reads everybody's, and so does a list of anything rare, such as an outcome. It is kept by three hours and not as an index, which
would cost each call that is recorded, and which an old ledger could only get while nothing is recorded. What is found here is
looked up: nothing depends on it but time.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.ledger.schema import entries

PERSONS = ("customer", "user")
NAMES = (
    "key", "team", "model", "provider", "upstream", "agent", "status", "outcome", "operation", "client", "usage_source",
)  # fmt: skip
"""Whose rare values are listed, beside labels."""
_MOST_CALLS = 100_000
"""Of three hours; more are read from the entries."""
_FEW, _RARE = 50, 20
"""So many calls with a value are few, if they are less than one of so many: others are soon met among all entries."""
_AT_ONCE = 5000

_Rows = list[dict[str, Any]]


class Lists(NamedTuple):
    """Rows of `person_calls` and of `rare_calls`."""

    persons: _Rows
    rare: _Rows


def lists_of_calls(
    connection: Connection, start_at: int, length_us: int, labels: Mapping[str, sa.ColumnElement[Any]]
) -> Lists | None:
    """None where there are too many calls. labels: names such as label.plan, with where their values are."""
    names = (*PERSONS, *NAMES, *labels)
    columns = [*[entries.c[name] for name in (*PERSONS, *NAMES)], *labels.values()]
    within = (entries.c.started_at >= start_at, entries.c.started_at < start_at + length_us)
    query = sa.select(entries.c.id, *columns).where(*within).limit(_MOST_CALLS + 1)
    ids_of: list[dict[Any, list[str]]] = [defaultdict(list) for _ in names]
    count = 0
    for rows in connection.execute(query.execution_options(yield_per=_AT_ONCE)).partitions():
        ids, *values_of = zip(*rows, strict=True)
        count += len(ids)
        for listed, values in zip(ids_of, values_of, strict=True):
            for entry_id, value in zip(ids, values, strict=True):
                listed[value].append(entry_id)
    if count > _MOST_CALLS:
        return None
    persons: dict[int, list[str]] = {}
    rare: dict[int, list[str]] = {}
    for name, listed in zip(names, ids_of, strict=True):
        for value, some in listed.items():
            text = None if value is None else str(value)
            if name not in PERSONS:
                few = len(some) <= _FEW and len(some) * _RARE < count
                _add(rare, value_of(name, text), some if few else None)
            elif text:
                _add(persons, value_of(name, text), some)
    return Lists(
        [{"start_at": start_at, "person": person, "ids": ids_text(some)} for person, some in sorted(persons.items())],
        [{"start_at": start_at, "value": value, "ids": ids_text(some)} for value, some in sorted(rare.items())],
    )


def _add(listed: dict[int, list[str]], value: int, some: list[str] | None) -> None:
    """None: many. Two values may have one number."""
    known = listed.get(value)
    if some is None or known == []:
        listed[value] = []
    else:
        listed[value] = [*(known or ()), *some]


def ids_text(ids: list[str]) -> str:
    return ",".join(sorted(ids))


def value_of(name: str, value: str | None) -> int:
    return int.from_bytes(hashlib.blake2b(orjson.dumps((name, value)), digest_size=8).digest(), "big") >> 1
