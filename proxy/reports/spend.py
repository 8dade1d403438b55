"""What was spent, by whatever is asked for: from the roll-ups as far as they go, the rest from the entries.

Which tables answer which span of time: `spans.py`; how they are read: `totals.py`. However a question is answered, the answer
is the same.
Times are integer epoch microseconds, `since` inclusive and `until` exclusive, by `started_at`; money is integer nano-USD.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from pricing.values import frozen
from proxy.ledger.database import reading
from proxy.ledger.entries.corrections import NOW_PRICED
from proxy.ledger.rollup_schema import LONG_SESSION, SUMS, spend_sessions
from proxy.ledger.rollups.sums import Units, quantity
from proxy.ledger.schema import TOKEN_COLUMNS, counted, entries, horizon
from proxy.reports.calls import GROUPS
from proxy.reports.spans import ENTRIES, LABEL, LENGTHS_US, Span, answering_each
from proxy.reports.totals import (
    Kept,
    Totals,
    Values,
    add_entries,
    add_entries_of,
    add_rolled,
    add_units,
    has_units,
)
from proxy.times import DAY_US, BadQuestion, rfc3339

_LOOK_UP = 500
_MAX_NAMES = 16
_NO_TOKENS = tuple(name for name in SUMS if name not in TOKEN_COLUMNS.values())
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
    totals = Totals()
    with reading(engine).connect() as connection:
        _add_sessions(connection, spans[0], totals)
    return _rows(by, totals, 0)


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
    totals = _totals(engine, by, spans, kept, SUMS if with_tokens else _NO_TOKENS, rolled)
    return [_rows(by, totals, span) for span in range(len(spans))]


def sums_each(engine: Engine, by: Sequence[str], spans: Sequence[Span], kept: Kept) -> Iterator[list[Sums]]:
    """As `spend_each`, without what was used and in no order: for many groups of many spans. Raises `BadQuestion`."""
    totals, has_times = _totals(engine, by, spans, kept, _NO_TOKENS, True), not _TIMES.isdisjoint(by)
    for span in range(len(spans)):
        sums = []
        for values, (requests, unpriced, cost, capacity), units in totals.left(span):
            shown = tuple(map(_shown, by, values)) if has_times else values
            sums.append(Sums(shown, requests, cost, unpriced - (_now_priced(units) if units else 0), capacity))
        yield sums


def dearest_first(sums: Sums) -> tuple[Any, ...]:
    """To sort by."""
    return -sums.cost_nanousd, *[(value is not None, str(value)) for value in sums.values]


def _totals(
    engine: Engine, by: Sequence[str], spans: Sequence[Span], kept: Kept, sums: Sequence[str], rolled: bool
) -> Totals:
    check_names(by)
    check_names(kept.names)
    totals = Totals(len(spans), sums)
    with reading(engine).connect() as connection:
        parts_of = answering_each(connection, [*by, *kept.names] if rolled else None, spans)
        parts = [(part, number) for number, parts in enumerate(parts_of) for part in parts]
        add_rolled(connection, [one for one in parts if one[0].source is not ENTRIES], by, kept, totals)
        add_entries_of(connection, [one for one in parts if one[0].source is ENTRIES], by, kept, totals)
    return totals


def _rows(by: Sequence[str], totals: Totals, span: int) -> list[SpendRow]:
    """The dearest first."""
    left = list(totals.left(span))
    if not by and not left:
        left = [((), [0] * len(totals.sums), None)]  # a total without groups is there in any case
    cost = totals.sums.index("cost_nanousd")
    left.sort(key=lambda group: (-group[1][cost], *[(value is not None, str(value)) for value in group[0]]))
    return [_row(by, totals.sums, *group) for group in left]


def _now_priced(units: Units) -> int:
    """Of how many calls a correction has told the price."""
    return int(quantity((scale, amount) for (unit, scale), amount in units.items() if unit == NOW_PRICED))


def _row(
    by: Sequence[str], sums: Sequence[str], values: Values, numbers: Sequence[int], units: Units | None
) -> SpendRow:
    number_of = dict(zip(sums, numbers, strict=True))
    usage: dict[str, int | str] = {unit: number_of[name] for unit, name in TOKEN_COLUMNS.items() if number_of.get(name)}
    now_priced = 0
    if units:
        usage |= _with_units(usage, units)
        usage.pop(NOW_PRICED, None)
        now_priced = _now_priced(units)
        usage = {unit: amount for unit, amount in usage.items() if amount}
    return SpendRow(
        group={name: _shown(name, value) for name, value in zip(by, values, strict=True)},
        requests=number_of["requests"],
        usage=usage,
        cost_nanousd=number_of["cost_nanousd"],
        unpriced_requests=number_of["unpriced_requests"] - now_priced,
        capacity_nanousd=number_of["capacity_nanousd"],
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
        totals.add(0, (name,), numbers)  # a session may have two rows, of two versions
    if has_units(connection, spend_sessions):
        add_units(connection, spend_sessions, [session], inside, totals)
    reaching: list[str | None] = []
    if across is not None:
        reaching += connection.execute(sa.select(spend_sessions.c.session).where(across)).scalars()
    for name in reaching:
        totals.drop((name,))  # what its other row has, if that lies within, is among its entries
    for some in entries_of(reaching):
        where = sa.and_(some, span.holds(entries.c.started_at), counted())
        add_entries(connection, [entries.c.root_session_id.label("g0")], where, [(0, 1)], totals)


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
