"""The top groups, and how many groups there are: ranked by the database, since there may be as many as calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.database import reading
from proxy.ledger.rollups.writing import ENTRY_SUMS
from proxy.ledger.schema import TOKEN_COLUMNS, counted, entries
from proxy.reports.spans import ENTRIES, LENGTHS_US, Part, Span, answering, is_left
from proxy.reports.spend import check_names
from proxy.reports.totals import Kept, column_of


class Ranking(NamedTuple):
    """first: the groups' values in the order of their rank, None for none. groups: how many there are in all."""

    first: list[tuple[str | None, ...]]
    groups: int


def ranking(
    engine: Engine, by: Sequence[str], span: Span, *, only: Mapping[str, str], order: str, most: int
) -> Ranking:
    """The `most` first groups of what was spent, in one of `ORDERS`. What has no such number comes behind all that have one;
    of equals that with more calls comes first. Raises `BadQuestion`."""
    with reading(engine).connect() as connection:
        both = sa.union_all(*_parts(connection, by, span, only, _NEEDED[order])).subquery()
        names = [both.c[f"g{number}"] for number in range(len(by))]
        sums = {name: sa.func.sum(both.c[name]) for name in _NEEDED[order]}
        value = _value(order, sums)
        places = [place for name in names for place in (name.is_not(None), name)]
        query = sa.select(*names, sa.func.count().over()).group_by(*names).having(is_left(sums.values()))
        query = query.order_by(value.is_(None), value.desc(), sa.func.sum(both.c.requests).desc(), *places)
        rows = connection.execute(query.limit(most)).all()
    return Ranking([tuple(row[:-1]) for row in rows], rows[0][-1] if rows else 0)


def costs_by(engine: Engine, by: Sequence[str], span: Span) -> dict[tuple[Any, ...], int]:
    """What each group cost (nano-USD), of those that cost anything: no other sum is read. Hours and days are where they begin,
    in epoch microseconds."""
    costs: dict[tuple[Any, ...], int] = {}
    with reading(engine).connect() as connection:
        for part in _parts(connection, by, span, {}, ("cost_nanousd",)):
            for *values, cost in connection.execute(part):
                costs[tuple(values)] = costs.get(tuple(values), 0) + int(cost)
    return {values: cost for values, cost in costs.items() if cost}


def count_groups(engine: Engine, by: Sequence[str], spans: Sequence[Span], *, only: Mapping[str, str]) -> int:
    """How many there are in any of these spans. Raises `BadQuestion`."""
    with reading(engine).connect() as connection:
        each = [_names(connection, by, span, only) for span in spans]
        groups = sa.union(*each).subquery()
        return int(connection.execute(sa.select(sa.func.count()).select_from(groups)).scalar_one())


def _names(connection: Connection, by: Sequence[str], span: Span, only: Mapping[str, str]) -> sa.Select[Any]:
    both = sa.union_all(*_parts(connection, by, span, only, _ANYTHING)).subquery()
    names = [both.c[f"g{number}"] for number in range(len(by))]
    return sa.select(*names).group_by(*names).having(is_left(sa.func.sum(both.c[name]) for name in _ANYTHING))


def _parts(
    connection: Connection, by: Sequence[str], span: Span, only: Mapping[str, str], sums: Sequence[str]
) -> list[sa.Select[Any]]:
    """From each table that has some of it: a row a group (g0, g1, …; what is empty is none), with these of `SUMS`."""
    kept = Kept(only, ())
    check_names(by)
    check_names(kept.names)
    parts = [_part(connection, part, by, kept, sums) for part in answering(connection, [*by, *kept.names], span)]
    return parts or [_part(connection, Part(ENTRIES, [Span(0, 0)]), by, kept, sums)]


def _part(connection: Connection, part: Part, by: Sequence[str], kept: Kept, sums: Sequence[str]) -> sa.Select[Any]:
    table, is_entries = part.source.table, part.source is ENTRIES
    time = entries.c.started_at if is_entries else table.c.start_at
    where = [sa.or_(*[span.holds(time) for span in part.spans])]
    where += [counted()] if is_entries else []
    where += [kept.holds({name: column_of(connection, table, time, name) for name in kept.names})] if kept.names else []
    columns_of = {name: column_of(connection, table, time, name) for name in by}
    groups = [column if name in LENGTHS_US else sa.func.nullif(column, "") for name, column in columns_of.items()]
    added = [ENTRY_SUMS[name] if is_entries else table.c[name] for name in sums]
    columns = [
        (part.sign * sa.func.coalesce(sa.func.sum(number), 0)).label(name)
        for name, number in zip(sums, added, strict=True)
    ]
    query = sa.select(*[group.label(f"g{number}") for number, group in enumerate(groups)], *columns)
    return query.where(*where).group_by(*groups)


_TOKENS = tuple(TOKEN_COLUMNS.values())
_ANYTHING = ("requests", "cost_nanousd")
"""A group that has anything has calls, or what corrections changed of its cost."""
_NEEDED = {
    "calls": _ANYTHING,
    "cost": ("requests", "unpriced_requests", "cost_nanousd"),
    "tokens": (*_ANYTHING, *_TOKENS),
    "rate": ("requests", "unpriced_requests", "cost_nanousd", *_TOKENS),
}
ORDERS = tuple(_NEEDED)
"""rate: cost by token."""


def _value(order: str, sums: Mapping[str, sa.ColumnElement[Any]]) -> sa.ColumnElement[Any]:
    """What groups are ranked by; NULL where it is not known, as the cost of calls none of which has a price."""
    if order == "calls":
        return sums["requests"]
    tokens = reduce(add, [sums[column] for column in _TOKENS if column in sums], sa.literal(0))
    if order == "tokens":
        return tokens
    requests, unpriced, cost = (sums[name] for name in ("requests", "unpriced_requests", "cost_nanousd"))
    known = sa.case((sa.or_(requests > unpriced, cost != 0, unpriced == 0), cost))
    return known if order == "cost" else sa.case((tokens > 0, 1.0 * known / tokens))
