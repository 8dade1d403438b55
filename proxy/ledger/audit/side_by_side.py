"""Two lists of a table's rows side by side: what is stored, and what the entries come to."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.audit.difference import Differs
from proxy.ledger.rollup_schema import SUMS
from proxy.times import rfc3339

_AT_ONCE = 5000


def compare(
    connection: Connection, again: Engine, there: Any, ours: Any, table: sa.Table, since: int | None = None
) -> int:
    """Go through two lists in the order of their keys, side by side; how many rows they have. Raises `Differs`.

    since: of rows with an earlier `first_at` some entries are deleted, and nothing can be said.
    """
    keys = [column.name for column in table.primary_key]
    names = [column.name for column in table.columns]
    count = 0
    with (
        again.connect() as scratch,
        closing(_ordered(connection, there, table)) as stored_rows,
        closing(_ordered(scratch, ours, table)) as worked_out,
    ):
        other = next(worked_out, None)
        for stored in stored_rows:
            count += 1
            partly = since is not None and stored["first_at"] < since
            key = [_bytes(stored[name]) for name in keys]
            other_key = None if other is None else [_bytes(other[name]) for name in keys]
            if other is None or other_key is None or key < other_key:
                if not partly:
                    raise Differs(_place(table, stored), "no entry adds to it")
                continue
            if other_key < key:
                raise Differs(_place(table, other), "it is missing; entries add to it")
            for name in names:
                if not partly and _plain(stored[name]) != _plain(other[name]):
                    raise Differs(
                        _place(table, stored), f"{name} is {stored[name]}, and its entries come to {other[name]}"
                    )
            other = next(worked_out, None)
        if other is not None:
            raise Differs(_place(table, other), "it is missing; entries add to it")
    return count


def _ordered(connection: Connection, query: Any, table: sa.Table) -> Generator[Mapping[str, Any]]:
    binary = connection.dialect.name == "postgresql"
    keys = [query.selected_columns[column.name] for column in table.primary_key]
    order = [sa.collate(key, "C") if binary and isinstance(key.type, sa.Text) else key for key in keys]
    with connection.execute(query.order_by(*order), execution_options={"yield_per": _AT_ONCE}) as result:
        yield from (dict(row) for row in result.mappings())


def _bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else int(value)


def _place(table: sa.Table, row: Mapping[str, Any]) -> str:
    names = [
        f"{name}={rfc3339(value) if name == 'start_at' else value}"
        for name, value in row.items()
        if name not in (*SUMS, "amount", "first_at", "last_at", "ended_at") and value is not None
    ]
    return f"{table.name} {' '.join(names)}"
