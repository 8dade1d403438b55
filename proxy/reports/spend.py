"""What was spent, by whatever is asked for: from the roll-ups as far as they go, the rest from the entries.

Which tables answer which span of time: `spans.py`. However a question is answered, the answer is the same.
Times are integer epoch microseconds, `since` inclusive and `until` exclusive, by `started_at`; money is integer nano-USD.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from pricing.values import frozen
from proxy.ledger.corrections import NOW_PRICED
from proxy.ledger.database import reading
from proxy.ledger.label_days import label_value
from proxy.ledger.rolling import ENTRY_SUMS
from proxy.ledger.rollup_schema import SUMS, spend_sessions, spend_units
from proxy.ledger.rollups import Units, quantity, units_of
from proxy.ledger.schema import TOKEN_COLUMNS, counted, entries, horizon
from proxy.reports.calls import GROUPS
from proxy.reports.spans import ENTRIES, LABEL, LENGTHS_US, Part, Span, answering
from proxy.times import BadQuestion, rfc3339

_LOOK_UP = 500
_MAX_NAMES = 16
_NO_TOKENS = tuple(name for name in SUMS if name not in TOKEN_COLUMNS.values())
_PLACES = {name: place for place, name in enumerate(SUMS)}
_REQUESTS, _UNPRICED, _COST, _CAPACITY = (
    _PLACES[name] for name in ("requests", "unpriced_requests", "cost_nanousd", "capacity_nanousd")
)
_TOKENS = tuple((unit, _PLACES[column]) for unit, column in TOKEN_COLUMNS.items())
_LABELS = {"label": entries.c.labels, "claimed": entries.c.untrusted_labels}


@frozen
class SpendRow:
    """What one group came to. `group`: its value of each name that was asked for; hours and days as RFC 3339.
    capacity_nanousd: what it had of machines of one's own, beside its cost."""

    group: Mapping[str, str | None]
    requests: int
    usage: Mapping[str, int | str]
    cost_nanousd: int
    unpriced_requests: int
    capacity_nanousd: int = 0


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


class _Total:
    __slots__ = ("numbers", "units")

    def __init__(self) -> None:
        self.numbers = [0] * len(SUMS)
        self.units: Units = defaultdict(int)

    @property
    def is_left(self) -> bool:
        """What is added and taken off again leaves nothing."""
        return any(self.numbers) or any(self.units.values())


Totals = dict[tuple[Any, ...], _Total]


def spend(
    engine: Engine,
    by: Sequence[str],
    since: int | None,
    until: int | None,
    *,
    only: Mapping[str, str] | None = None,
    among: Sequence[Mapping[str, str]] = (),
    rolled: bool = True,
    with_tokens: bool = True,
) -> list[SpendRow]:
    """What was spent, a row a group, the dearest first.

    Requests are attempts that may have reached an upstream: void ones do not count, corrections change only cost and usage.
    only: of what has these values; "" is none. among: of what has all values of one of these, which all name the same.
    rolled: use the roll-ups. with_tokens: else the rows' `usage` lacks what has a column of its own, which is quicker.
    Raises `BadQuestion`.
    """
    kept = Kept(only or {}, among)
    check_names(by)
    check_names(kept.names)
    span = Span(since, until)
    totals: Totals = defaultdict(_Total)
    with reading(engine).connect() as connection:
        if rolled and list(by) == ["session"] and not kept.names:
            _add_sessions(connection, span, totals)
        else:
            names = [*by, *kept.names]
            sums = SUMS if with_tokens else _NO_TOKENS
            parts = answering(connection, names if rolled else None, span)
            _add_rolled(connection, [part for part in parts if part.source is not ENTRIES], by, kept, totals, sums)
            for part in parts:
                if part.source is ENTRIES:
                    _add_entries_of(connection, part, by, kept, totals, sums)
    totals = {values: total for values, total in totals.items() if total.is_left}
    if not by:
        totals.setdefault((), _Total())  # a total without groups is there in any case
    return [_row(by, values, total) for values, total in sorted(totals.items(), key=_dearest_first)]


def _dearest_first(item: tuple[tuple[Any, ...], _Total]) -> tuple[Any, ...]:
    values, total = item
    return -total.numbers[_COST], *[(value is not None, str(value)) for value in values]


def _row(by: Sequence[str], values: tuple[Any, ...], total: _Total) -> SpendRow:
    numbers = total.numbers
    usage: dict[str, int | str] = {unit: numbers[place] for unit, place in _TOKENS if numbers[place] or total.units}
    now_priced = 0
    if total.units:
        usage |= _with_units(usage, total.units)
        now_priced = int(usage.pop(NOW_PRICED, 0))
        usage = {unit: amount for unit, amount in usage.items() if amount}
    return SpendRow(
        group={name: _shown(name, value) for name, value in zip(by, values, strict=True)},
        requests=numbers[_REQUESTS],
        usage=usage,
        cost_nanousd=numbers[_COST],
        unpriced_requests=numbers[_UNPRICED] - now_priced,
        capacity_nanousd=numbers[_CAPACITY],
    )


def _with_units(tokens: Mapping[str, Any], units: Units) -> dict[str, int | str]:
    """The quantity of each of these units: what its rows say, and what its column says, where it has one (`tokens`)."""
    scaled: dict[str, list[tuple[int, int]]] = {}
    for (unit, scale), amount in sorted(units.items()):
        scaled.setdefault(unit, [(0, tokens.get(unit, 0))]).append((scale, amount))
    return {unit: quantity(parts) for unit, parts in scaled.items()}


def _shown(name: str, value: Any) -> Any:
    return rfc3339(int(value)) if name in LENGTHS_US else value


def check_names(by: Sequence[str]) -> None:
    """Raises `BadQuestion` for what cannot be grouped or filtered by."""
    if len(by) > _MAX_NAMES or len(set(by)) < len(by):
        raise BadQuestion(f"group by at most {_MAX_NAMES} names, each once")
    for name in by:
        if name not in GROUPS and name not in LENGTHS_US and not LABEL.match(name):
            allowed = ", ".join([*GROUPS, *LENGTHS_US, "label.NAME", "claimed.NAME"])
            raise BadQuestion(f"{name!r} cannot be grouped by; there are {allowed}")


# Reading


def _add_entries_of(
    connection: Connection, part: Part, by: Sequence[str], kept: Kept, totals: Totals, sums: Sequence[str]
) -> None:
    columns = _columns(connection, part, [*by, *kept.names])
    where = sa.and_(_where(part, kept, columns), counted())
    _add_entries(connection, _labelled(columns, by), where, totals, part.sign, sums)


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


def _add_entries(
    connection: Connection,
    groups: Sequence[sa.Label[Any]],
    where: sa.ColumnElement[bool],
    totals: Totals,
    sign: int = 1,
    sums: Sequence[str] = SUMS,
) -> None:
    added = [sa.func.sum(ENTRY_SUMS[name]).label(name) for name in sums]
    with_others = 0
    rest = sa.func.count(entries.c.usage)
    for row in connection.execute(sa.select(*groups, *added, rest).where(where).group_by(*groups)):
        with_others += row[-1]
        _count(totals, tuple(row[: len(groups)]), row[len(groups) : -1], sign, sums)
    if not with_others:
        return  # to read the entries a second time is half of the work
    others = sa.select(*groups, entries.c.usage).where(where, entries.c.usage.is_not(None))
    for row in connection.execute(others):
        units = totals[tuple(row[:-1])].units
        for key, amount in units_of(row[-1]).items():
            units[key] += sign * amount


def _add_rolled(
    connection: Connection, parts: Sequence[Part], by: Sequence[str], kept: Kept, totals: Totals, sums: Sequence[str]
) -> None:
    """What the roll-ups have: all parts in one question, so that a group is read once."""
    if not parts:
        return
    of_parts = sa.union_all(*[_rolled(connection, part, by, kept, sums) for part in parts]).subquery()
    groups, numbers = list(of_parts.c)[: len(by)], list(of_parts.c)[len(by) :]
    query = sa.select(*of_parts.c)
    if len(parts) > 1:
        query = sa.select(*groups, *map(sa.func.sum, numbers)).group_by(*groups)
    for row in connection.execute(query):
        _count(totals, tuple(row[: len(groups)]), row[len(groups) :], 1, sums)
    for part in parts:
        columns = _columns(connection, part, [*by, *kept.names])
        _add_units(
            connection, part.source.table, _labelled(columns, by), _where(part, kept, columns), totals, part.sign
        )


def _rolled(
    connection: Connection, part: Part, by: Sequence[str], kept: Kept, sums: Sequence[str]
) -> sa.Select[tuple[Any, ...]]:
    """The part's sums by group, taken off where it is. A label is taken out of its JSON once for each group of rows that have
    the same labels: from each row it would be half of the work."""
    table = part.source.table
    columns = _columns(connection, part, [*by, *kept.names])
    where = _where(part, kept, columns)
    added = [
        (sa.func.sum(table.c[name]) if part.sign > 0 else -sa.func.sum(table.c[name])).label(name) for name in sums
    ]
    if not any(LABEL.match(name) for name in by):
        groups = _labelled(columns, by)
        return sa.select(*groups, *added).where(where).group_by(*groups)
    plain = {name: columns[name].label(f"p{number}") for number, name in enumerate(by) if not LABEL.match(name)}
    rows = sa.select(*plain.values(), table.c.labels, *added).where(where).group_by(*plain.values(), table.c.labels)
    alike = rows.subquery()
    groups = _labelled(
        {
            name: alike.c[plain[name].name] if name in plain else column_of(connection, alike, None, name)
            for name in by
        }, by,
    )  # fmt: skip
    return sa.select(*groups, *[sa.func.sum(alike.c[name]).label(name) for name in sums]).group_by(*groups)


def _add_units(
    connection: Connection,
    table: sa.Table,
    groups: Sequence[sa.Label[Any]],
    where: sa.ColumnElement[bool],
    totals: Totals,
    sign: int = 1,
) -> None:
    """Units without a column."""
    if not connection.execute(sa.select(sa.exists().where(spend_units.c.rollup == table.name))).scalar():
        return  # most ledgers have none, and each row would be looked up there
    same = [spend_units.c.rollup == table.name, spend_units.c.group == table.c.group]
    same += [spend_units.c.start_at == (table.c.start_at if "start_at" in table.c else 0)]
    amount = sa.func.sum(spend_units.c.amount)
    kinds = (spend_units.c.unit, spend_units.c.scale)
    query = sa.select(*groups, *kinds, amount).join_from(table, spend_units, sa.and_(*same)).where(where)
    for row in connection.execute(query.group_by(*groups, *kinds)):
        *values, unit, scale, total = row
        totals[tuple(values)].units[unit, scale] += sign * int(total)


def _count(totals: Totals, values: tuple[Any, ...], added: Sequence[Any], sign: int, sums: Sequence[str]) -> None:
    if not any(added):
        return  # the sum of nothing
    numbers = totals[values].numbers
    for name, number in zip(sums, added, strict=True):
        if number:
            numbers[_PLACES[name]] += sign * int(number)


# Sessions


def _add_sessions(connection: Connection, span: Span, totals: Totals) -> None:
    """Sessions that lie within the span are read whole; of those that reach beyond it, the entries within."""
    if span.is_empty:
        return
    inside, across = within(span)
    session = spend_sessions.c.session.label("g0")
    for name, *numbers in connection.execute(
        sa.select(session, *[spend_sessions.c[name] for name in SUMS]).where(inside)
    ):
        total = totals[name,]  # a session may have two rows, of two versions
        total.numbers = [known + more for known, more in zip(total.numbers, numbers, strict=True)]
    _add_units(connection, spend_sessions, [session], inside, totals)
    reaching: list[str | None] = []
    if across is not None:
        reaching += connection.execute(sa.select(spend_sessions.c.session).where(across)).scalars()
    for name in reaching:
        totals.pop((name,), None)  # what its other row has, if that lies within, is among its entries
    for some in _entries_of(reaching):
        where = sa.and_(some, span.holds(entries.c.started_at), counted())
        _add_entries(connection, [entries.c.root_session_id.label("g0")], where, totals)


def within(span: Span) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool] | None]:
    """Which sessions lie within the span, and which reach beyond it."""
    first, last = spend_sessions.c.first_at, spend_sessions.c.last_at
    inside = sa.and_(span.holds(first), span.holds(last))
    if span.since is None and span.until is None:
        return inside, None
    touching = sa.and_(sa.true(), *([] if span.since is None else [last >= span.since]))
    touching = sa.and_(touching, *([] if span.until is None else [first < span.until]))
    return inside, sa.and_(touching, sa.not_(inside))


def of_sessions(which: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Entries of these sessions. Those that name none are one session, as good as any."""
    named = sa.select(spend_sessions.c.session).where(which)
    nameless = sa.exists().where(which, spend_sessions.c.session.is_(None))
    return sa.or_(entries.c.root_session_id.in_(named), sa.and_(entries.c.root_session_id.is_(None), nameless))


def _entries_of(sessions: Sequence[str | None]) -> Iterator[sa.ColumnElement[bool]]:
    """Conditions for the entries of these sessions, some sessions each. Those that name none are one session."""
    if None in sessions:
        yield entries.c.root_session_id.is_(None)
    names = list(dict.fromkeys(name for name in sessions if name is not None))
    for first in range(0, len(names), _LOOK_UP):
        yield entries.c.root_session_id.in_(names[first : first + _LOOK_UP])


def entries_since(engine: Engine) -> int | None:
    """Where the entries that are kept begin; None where all are."""
    with engine.connect() as connection:
        return horizon(connection)
