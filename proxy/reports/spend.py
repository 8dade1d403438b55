"""What was spent, by whatever is asked for: from the roll-ups as far as they go, the rest from the entries.

Which tables answer which span of time: `spans.py`; how they are read: `totals.py`. However a question is answered, the answer
is the same.
Times are integer epoch microseconds, `since` inclusive and `until` exclusive, by `started_at`; money is integer nano-USD.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import add
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from pricing.values import frozen
from proxy.ledger.corrections import NOW_PRICED
from proxy.ledger.database import reading
from proxy.ledger.rollup_schema import LONG_SESSION, SUMS, spend_sessions
from proxy.ledger.rollups import DAY_US, Units, quantity
from proxy.ledger.schema import TOKEN_COLUMNS, counted, entries, horizon
from proxy.reports.calls import GROUPS
from proxy.reports.spans import ENTRIES, LABEL, LENGTHS_US, Span, answering_each
from proxy.reports.totals import (
    PLACES,
    Kept,
    Total,
    Totals,
    add_entries,
    add_entries_of,
    add_rolled,
    add_units,
    has_units,
    new_totals,
)
from proxy.times import BadQuestion, rfc3339

_LOOK_UP = 500
_MAX_NAMES = 16
_NO_TOKENS = tuple(name for name in SUMS if name not in TOKEN_COLUMNS.values())
_REQUESTS, _UNPRICED, _COST, _CAPACITY = (
    PLACES[name] for name in ("requests", "unpriced_requests", "cost_nanousd", "capacity_nanousd")
)
_TOKENS = tuple((unit, PLACES[column]) for unit, column in TOKEN_COLUMNS.items())
_TIMES = frozenset(LENGTHS_US)


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


class Sums(NamedTuple):
    """Of a group no more than what it cost. values: of each name, as in `SpendRow.group`."""

    values: tuple[str | None, ...]
    requests: int
    cost_nanousd: int
    unpriced_requests: int
    capacity_nanousd: int


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
    spans = [Span(since, until)]
    if not rolled or list(by) != ["session"] or kept.names:
        return spend_each(engine, by, spans, kept, rolled=rolled, with_tokens=with_tokens)[0]
    totals = new_totals()
    with reading(engine).connect() as connection:
        _add_sessions(connection, spans[0], totals)
    return [_row(by, *item) for item in _ranked(by, totals)]


def spend_each(
    engine: Engine,
    by: Sequence[str],
    spans: Sequence[Span],
    kept: Kept,
    *,
    rolled: bool = True,
    with_tokens: bool = True,
) -> list[list[SpendRow]]:
    """As `spend`, of several spans at once, which costs much less than to ask for one after the other."""
    each = _totals_each(engine, by, spans, kept, SUMS if with_tokens else _NO_TOKENS, rolled)
    return [[_row(by, *item) for item in _ranked(by, totals)] for totals in each]


def sums_each(engine: Engine, by: Sequence[str], spans: Sequence[Span], kept: Kept) -> list[list[Sums]]:
    """As `spend_each`, without what was used: for many groups of many spans. Raises `BadQuestion`."""
    each = _totals_each(engine, by, spans, kept, _NO_TOKENS, True)
    return [[_sums(by, *item) for item in _ranked(by, totals)] for totals in each]


def _totals_each(
    engine: Engine, by: Sequence[str], spans: Sequence[Span], kept: Kept, sums: Sequence[str], rolled: bool
) -> list[Totals]:
    check_names(by)
    check_names(kept.names)
    each = [new_totals() for _ in spans]
    with reading(engine).connect() as connection:
        parts_of = answering_each(connection, [*by, *kept.names] if rolled else None, spans)
        parts = [(part, totals) for parts, totals in zip(parts_of, each, strict=True) for part in parts]
        add_rolled(connection, [one for one in parts if one[0].source is not ENTRIES], by, kept, sums)
        add_entries_of(connection, [one for one in parts if one[0].source is ENTRIES], by, kept, sums)
    return each


def _ranked(by: Sequence[str], totals: Totals) -> list[tuple[tuple[Any, ...], Total]]:
    left = {values: total for values, total in totals.items() if total.is_left}
    if not by:
        left.setdefault((), Total())  # a total without groups is there in any case
    return sorted(left.items(), key=_dearest_first)


def _dearest_first(item: tuple[tuple[Any, ...], Total]) -> tuple[Any, ...]:
    values, total = item
    return -total.numbers[_COST], *[(value is not None, str(value)) for value in values]


def _sums(by: Sequence[str], values: tuple[Any, ...], total: Total) -> Sums:
    numbers = total.numbers
    unpriced = numbers[_UNPRICED] - (_now_priced(total.units) if total.units else 0)
    shown = tuple(map(_shown, by, values)) if not _TIMES.isdisjoint(by) else values
    return Sums(shown, numbers[_REQUESTS], numbers[_COST], unpriced, numbers[_CAPACITY])


def _now_priced(units: Units) -> int:
    """Of how many calls a correction has told the price."""
    return int(quantity((scale, amount) for (unit, scale), amount in units.items() if unit == NOW_PRICED))


def _row(by: Sequence[str], values: tuple[Any, ...], total: Total) -> SpendRow:
    numbers = total.numbers
    usage: dict[str, int | str] = {unit: numbers[place] for unit, place in _TOKENS if numbers[place] or total.units}
    now_priced = 0
    if total.units:
        usage |= _with_units(usage, total.units)
        usage.pop(NOW_PRICED, None)
        now_priced = _now_priced(total.units)
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
        total.numbers = list(map(add, total.numbers, numbers))
    if has_units(connection, spend_sessions):
        add_units(connection, spend_sessions, [session], inside, totals)
    reaching: list[str | None] = []
    if across is not None:
        reaching += connection.execute(sa.select(spend_sessions.c.session).where(across)).scalars()
    for name in reaching:
        totals.pop((name,), None)  # what its other row has, if that lies within, is among its entries
    for some in entries_of(reaching):
        where = sa.and_(some, span.holds(entries.c.started_at), counted())
        add_entries(connection, [entries.c.root_session_id.label("g0")], where, [(totals, 1)])


def within(span: Span) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool] | None]:
    """Which sessions lie within the span, and which reach beyond it."""
    first, last = spend_sessions.c.first_at, spend_sessions.c.last_at
    inside = sa.and_(span.holds(first), span.holds(last))
    # Either half has an index to be found by.
    across = [
        sa.and_(last >= edge, first < edge, half)
        for edge in span
        if edge is not None
        for half in (last < edge + DAY_US, sa.text(LONG_SESSION))
    ]
    return inside, sa.or_(*across) if across else None


def entries_of(sessions: Sequence[str | None]) -> Iterator[sa.ColumnElement[bool]]:
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
