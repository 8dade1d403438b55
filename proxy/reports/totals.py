"""What groups come to in spans of time, added up: from the roll-ups as far as they go, the rest from the entries.

Which tables answer which span: `spans.py`. The questions themselves: `spend.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.ledger.rollup_schema import SUMS, spend_units
from proxy.ledger.rollups.label_days import label_value
from proxy.ledger.rollups.sums import Units, units_of
from proxy.ledger.rollups.writing import ENTRY_SUMS
from proxy.ledger.schema import counted, entries
from proxy.reports.calls import GROUPS
from proxy.reports.spans import ENTRIES, LABEL, LENGTHS_US, MOST_SPANS, Part, Span

_MOST_PARTS = 100  # in one question: SQLite takes 500
_AT_ONCE = 1000
_LABELS = {"label": entries.c.labels, "claimed": entries.c.untrusted_labels}


class Kept(NamedTuple):
    """Of what is reported: what has all values of `only`, and all of one of `among`, which all name the same."""

    only: Mapping[str, str]
    among: Sequence[Mapping[str, str]]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys([*self.only, *(name for values in self.among[:1] for name in values)]))

    def holds(self, columns: Mapping[str, Any]) -> sa.ColumnElement[bool]:
        def all_of(values: Mapping[str, str]) -> sa.ColumnElement[bool]:
            return sa.and_(sa.true(), *[_is(columns[name], value) for name, value in values.items()])

        return sa.and_(all_of(self.only), *([sa.or_(*map(all_of, self.among))] if self.among else []))


def _is(column: Any, value: str) -> sa.ColumnElement[bool]:
    none: sa.ColumnElement[bool] = sa.func.coalesce(column, "") == ""
    return column == value if value else none


Values = tuple[Any, ...]


class Totals:
    """What groups come to in some spans of time, by the groups' values, of which "" is none as null is: as many of `SUMS` as
    are asked for, in their order."""

    __slots__ = ("_numbers", "_units", "_width", "sums")

    def __init__(self, spans: int = 1, sums: Sequence[str] = SUMS) -> None:
        self.sums, self._width = sums, len(sums)
        # Of a group one span behind the other.
        self._numbers: dict[Values, list[int]] = defaultdict(([0] * (spans * len(sums))).copy)
        self._units: dict[tuple[int, Values], Units] = defaultdict(lambda: defaultdict(int))  # most groups have none

    def add(self, span: int, values: Values, added: Sequence[Any], sign: int = 1) -> None:
        """span: its number. added: in the order of `sums`, None for 0."""
        if not any(added):
            return  # the sum of nothing
        numbers, place = self._numbers[values if "" not in values else _without_empty(values)], span * self._width
        for number in added:
            if number:
                numbers[place] += sign * int(number)
            place += 1

    def add_unit(self, span: int, values: Values, key: tuple[str, int], amount: int) -> None:
        """key: a unit without a column, and its scale."""
        values = values if "" not in values else _without_empty(values)
        self._numbers[values]  # is there from here on
        self._units[span, values][key] += amount

    def drop(self, values: Values) -> None:
        """Of the first span."""
        self._numbers.pop(values, None)
        self._units.pop((0, values), None)

    def left(self, span: int) -> Iterator[tuple[Values, list[int], Units | None]]:
        """Each group that has anything in this span, with its sums and its units, None for none. What is added and taken off
        again leaves nothing."""
        first, last, units_of = span * self._width, (span + 1) * self._width, self._units
        for values, every in self._numbers.items():
            numbers = every[first:last]
            units = units_of.get((span, values)) if units_of else None
            if any(numbers) or (units is not None and any(units.values())):
                yield values, numbers, units


def _without_empty(values: Values) -> Values:
    return tuple(None if value == "" else value for value in values)


Wanted = Sequence[tuple[Part, int]]
"""What is to be read, and the number of the span that it is of."""


# Reading


def add_entries_of(connection: Connection, parts: Wanted, by: Sequence[str], kept: Kept, totals: Totals) -> None:
    """What is added to one span and taken off the one before is read once."""
    wanted: dict[Span, list[tuple[int, int]]] = defaultdict(list)
    for part, number in parts:
        for span in part.spans:
            wanted[span].append((number, part.sign))
    alike: dict[tuple[tuple[int, int], ...], list[Span]] = defaultdict(list)
    for span, into in wanted.items():
        alike[tuple(into)].append(span)
    for numbers, spans in alike.items():
        for first in range(0, len(spans), MOST_SPANS):
            part = Part(ENTRIES, spans[first : first + MOST_SPANS])
            columns = _columns(connection, part, [*by, *kept.names])
            where = sa.and_(_where(part, kept, columns), counted())
            add_entries(connection, _labelled(columns, by), where, numbers, totals)


def _columns(connection: Connection, part: Part, names: Sequence[str]) -> dict[str, Any]:
    table = part.source.table
    return {name: column_of(connection, table, _time(part), name) for name in names}


def _time(part: Part) -> sa.ColumnElement[int]:
    return entries.c.started_at if part.source is ENTRIES else part.source.table.c.start_at


def _where(part: Part, kept: Kept, columns: Mapping[str, Any]) -> sa.ColumnElement[bool]:
    where = sa.or_(*[span.holds(_time(part)) for span in part.spans])
    return sa.and_(where, kept.holds(columns)) if kept.names else where


def _labelled(columns: Mapping[str, Any], by: Sequence[str]) -> list[sa.Label[Any]]:
    return [columns[name].label(f"g{number}") for number, name in enumerate(by)]


def column_of(connection: Connection, table: sa.FromClause, time: Any, name: str) -> Any:
    """What a table is grouped or filtered by under this name."""
    label = LABEL.match(name)
    if label:
        return label_value(connection, _LABELS[label[1]] if table is entries else table.c.labels, label[2])
    if name in LENGTHS_US:
        return time - time % LENGTHS_US[name]
    return GROUPS[name] if table is entries else table.c[name]


def add_entries(
    connection: Connection,
    groups: Sequence[sa.Label[Any]],
    where: sa.ColumnElement[bool],
    into: Sequence[tuple[int, int]],
    totals: Totals,
) -> None:
    """into: the numbers of the spans that it is added to, each with its sign."""
    added = [sa.func.sum(ENTRY_SUMS[name]).label(name) for name in totals.sums]
    with_others = 0
    rest = sa.func.count(entries.c.usage)
    for row in connection.execute(sa.select(*groups, *added, rest).where(where).group_by(*groups)):
        with_others += row[-1]
        for span, sign in into:
            totals.add(span, tuple(row[: len(groups)]), row[len(groups) : -1], sign)
    if not with_others:
        return  # to read the entries a second time is half of the work
    others = sa.select(*groups, entries.c.usage).where(where, entries.c.usage.is_not(None))
    for row in connection.execute(others):
        more = units_of(row[-1])
        for span, sign in into:
            for key, amount in more.items():
                totals.add_unit(span, tuple(row[:-1]), key, sign * amount)


def add_rolled(connection: Connection, parts: Wanted, by: Sequence[str], kept: Kept, totals: Totals) -> None:
    """What the roll-ups have: many parts in one question, so that a group of one span is read once."""
    add, behind = totals.add, 1 + len(by)
    for first in range(0, len(parts), _MOST_PARTS):
        query = _of_parts(connection, parts[first : first + _MOST_PARTS], by, kept, totals.sums)
        for rows in connection.execute(query).partitions(_AT_ONCE):
            for row in rows:
                add(row[0], row[1:behind], row[behind:])
    with_units = {table for table in {part.source.table for part, _ in parts} if has_units(connection, table)}
    for part, number in parts:
        if part.source.table in with_units:
            columns = _columns(connection, part, [*by, *kept.names])
            where = _where(part, kept, columns)
            add_units(connection, part.source.table, _labelled(columns, by), where, totals, number, part.sign)


def _of_parts(
    connection: Connection, parts: Wanted, by: Sequence[str], kept: Kept, sums: Sequence[str]
) -> sa.Select[tuple[Any, ...]]:
    """The number of each group's span, its values and its sums. A label is taken out of its JSON once for each group of rows
    that have the same labels: from each row it would be half of the work."""
    plain = [name for name in by if not LABEL.match(name)]
    has_labels = len(plain) < len(by)
    rows = sa.union_all(*[_rolled(connection, part, number, plain, has_labels, kept, sums) for part, number in parts])
    of_parts = rows.subquery()
    columns = {name: of_parts.c[f"p{number}"] for number, name in enumerate(plain)}
    columns |= {name: column_of(connection, of_parts, None, name) for name in by if name not in columns}
    groups, numbers = [of_parts.c.span, *_labelled(columns, by)], [of_parts.c[name] for name in sums]
    if not has_labels and len({number for _, number in parts}) == len(parts):
        return sa.select(*groups, *numbers)
    return sa.select(*groups, *map(sa.func.sum, numbers)).group_by(*groups)


def _rolled(
    connection: Connection,
    part: Part,
    number: int,
    plain: Sequence[str],
    has_labels: bool,
    kept: Kept,
    sums: Sequence[str],
) -> sa.Select[tuple[Any, ...]]:
    """The part's sums, taken off where it is, by its plain names, and by its labels as they stand."""
    table = part.source.table
    columns = _columns(connection, part, [*plain, *kept.names])
    groups = [columns[name].label(f"p{place}") for place, name in enumerate(plain)]
    groups += [table.c.labels] if has_labels else []
    added = [
        (sa.func.sum(table.c[name]) if part.sign > 0 else -sa.func.sum(table.c[name])).label(name) for name in sums
    ]
    query = sa.select(sa.literal(number).label("span"), *groups, *added)
    return query.where(_where(part, kept, columns)).group_by(*groups)


def has_units(connection: Connection, table: sa.Table) -> bool:
    """Most ledgers have none, and each row would be looked up there."""
    return bool(connection.execute(sa.select(sa.exists().where(spend_units.c.rollup == table.name))).scalar())


def add_units(
    connection: Connection,
    table: sa.Table,
    groups: Sequence[sa.Label[Any]],
    where: sa.ColumnElement[bool],
    totals: Totals,
    span: int = 0,
    sign: int = 1,
) -> None:
    """Units without a column."""
    same = [spend_units.c.rollup == table.name, spend_units.c.group == table.c.group]
    same += [spend_units.c.start_at == (table.c.start_at if "start_at" in table.c else 0)]
    amount = sa.func.sum(spend_units.c.amount)
    kinds = (spend_units.c.unit, spend_units.c.scale)
    query = sa.select(*groups, *kinds, amount).join_from(table, spend_units, sa.and_(*same)).where(where)
    for row in connection.execute(query.group_by(*groups, *kinds)):
        *values, unit, scale, total = row
        totals.add_unit(span, tuple(values), (unit, scale), sign * int(total))
