"""The list of session trees: the latest, the dearest or those of most calls, all of them or those with some call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, RowMapping

from pricing.values import frozen
from proxy.ledger.database import reading
from proxy.ledger.rollup_schema import SUMS, spend_sessions
from proxy.ledger.rollups.call_runs import LATE_US, Run, is_listed, runs_of_calls
from proxy.ledger.rollups.sums import session_groups
from proxy.ledger.rollups.writing import ENTRY_SUMS
from proxy.ledger.schema import TOKEN_COLUMNS, counted, entries, horizon
from proxy.reports.spans import LENGTHS_US, Span
from proxy.reports.spend import check_names, entries_of, spend, within
from proxy.reports.totals import Kept, column_of
from proxy.times import DAY_US, BadQuestion

Order = Literal["latest", "cost", "calls"]
_LOOK_UP = 500
_LOOKED_AT, _MOST_LOOKED_AT = 500, 20_000  # sessions at once, for those that have some call
_MOST_UNKNOWN_US = 2 * DAY_US  # of which all entries are read
_MOST_LISTED = 20_000
_BY: dict[str, str] = {"latest": "ended_at", "cost": "cost_nanousd", "calls": "requests"}
_MAX_INTEGER = 2**63 - 1
# Operations in which a provider only says how many tokens an input has.
_FREE_COUNTS = ("count_tokens", "responses.input_tokens")


@frozen
class SessionRow:
    """The totals of one session tree. Times in epoch microseconds."""

    session: str | None
    team: str | None
    requests: int
    cost_nanousd: int
    unpriced_requests: int
    started_at: int
    ended_at: int
    usage: Mapping[str, int]


def sessions(
    engine: Engine,
    *,
    limit: int,
    order: Order = "latest",
    after: str | None = None,
    since: int | None = None,
    until: int | None = None,
    team: str | None = None,
    having: Mapping[str, str] = {},
    lone_counts: bool = False,
) -> list[SessionRow]:
    """Session trees, the latest, the dearest or those of most calls first: what they cost by calls in the span, and how many.

    after: the last item of the page before, as `place_of` has it. having: only those with a call in the span that has these
    values, "" for none; what they come to is that of all their calls. lone_counts: also the free counts of an input that belong
    to no run, each a session of its own for $0; sums over sessions want them, lists of runs do not. Raises `BadQuestion`.
    """
    check_having(having)
    span = Span(since, until)
    if span.is_empty:
        return []
    page = _Page(order, limit, after, lone_counts)
    if not having:
        return _listed(engine, page, span, team)
    key, of_key_alone = having.get("key"), having.keys() == {"key"}  # which sessions know themselves
    if not of_key_alone and (among := _sessions_of_rare_calls(engine, span, having)) is not None:
        return _listed(engine, page, span, team, among)
    shown: list[SessionRow] = []
    looked_at = 0
    days = None if of_key_alone else _days_with(engine, span, having)
    # Without an index for the order all sessions are gone through for each piece.
    size = max(limit, _LOOKED_AT if order == "latest" else 10 * _LOOKED_AT) if days is None or days else 0
    size = limit if of_key_alone else size
    while size:
        rows = _listed(engine, _Page(order, size, after, lone_counts), span, team, key=key)
        near = [row for row in rows if days is None or any(_touches(row, day) for day in days)]
        for first in range(0, len(near), _LOOK_UP):
            some = near[first : first + _LOOK_UP]
            has = _sessions_with(engine, [row.session for row in some], span, having)
            shown += [row for row in some if row.session in has]
            if len(shown) >= limit:
                return shown[:limit]
        if len(rows) < size:
            break
        looked_at += size
        after, size = place_of(rows[-1], order), min(2 * limit * looked_at // max(1, len(shown)), _MOST_LOOKED_AT)
    return shown


def check_having(names: Iterable[str]) -> None:
    """Raises `BadQuestion` for what sessions are not filtered by."""
    check_names(list(names))
    if wrong := [name for name in names if name in ("session", *LENGTHS_US)]:
        raise BadQuestion(f"filter.{wrong[0]}: a session is named in the address, a time by since and until")


def _days_with(engine: Engine, span: Span, having: Mapping[str, str]) -> list[int] | None:
    """On which days (where they begin) there are such calls; None where to know that every call would be read."""
    if any(name.startswith("claimed.") for name in having):
        return None
    rows = spend(engine, ["day"], *span, only=having)
    return [int(datetime.fromisoformat(row.group["day"] or "").timestamp()) * 1_000_000 for row in rows if row.requests]


def _touches(row: SessionRow, day: int) -> bool:
    return row.started_at < day + DAY_US and day <= row.ended_at


def _sessions_with(
    engine: Engine, names: Sequence[str | None], span: Span, having: Mapping[str, str]
) -> set[str | None]:
    """Those of these sessions that have such a call; None is that of calls without one."""
    has: set[str | None] = set()
    root = entries.c.root_session_id
    with reading(engine).connect() as connection:
        if having.keys() == {"key"}:
            has |= _sessions_of_one_key(connection, names, having["key"])
            names = [name for name in names if name not in has]
        columns = {name: column_of(connection, entries, entries.c.started_at, name) for name in having}
        of_such = (Kept(having, ()).holds(columns), span.holds(entries.c.started_at), counted())
        for first in range(0, len(names), _LOOK_UP):
            some = [name for name in names[first : first + _LOOK_UP] if name is not None]
            has |= set(connection.execute(sa.select(root).where(root.in_(some), *of_such).distinct()).scalars())
        if (
            None in names
            and connection.execute(sa.select(entries.c.id).where(root.is_(None), *of_such).limit(1)).first()
        ):
            has.add(None)
    return has


def _sessions_of_one_key(connection: Connection, names: Sequence[str | None], key: str) -> set[str | None]:
    """Those of these sessions whose calls all have this key."""
    table = spend_sessions.c
    alone = sa.and_(table.key == key, table.keyed == table.requests, table.requests > 0)
    groups, has = session_groups(names), set[str | None]()
    for first in range(0, len(groups), _LOOK_UP):
        of_these = table.group.in_(groups[first : first + _LOOK_UP])
        has |= set(connection.execute(sa.select(table.session).where(of_these, alone)).scalars())
    return has


def _may_have(key: str) -> sa.ColumnElement[bool]:
    """Sessions of whose calls some may have this key."""
    table = spend_sessions.c
    return sa.or_(table.key == key, table.key.is_(None), table.keyed < table.requests, table.requests == 0)


def _sessions_of_rare_calls(engine: Engine, span: Span, having: Mapping[str, str]) -> list[str | None] | None:
    """Those with such a call, where such calls are listed; None where to go through sessions is quicker."""
    listed: dict[str, str | None] = {name: value for name, value in having.items() if value and is_listed(name, value)}
    if not listed:
        return None
    with reading(engine).connect() as connection:
        ids: list[str] = []
        rest: list[Run] = []
        unknown, kept = 0, horizon(connection) or 0
        until = None if span.until is None else span.until + LATE_US
        for run in runs_of_calls(connection, listed, span.since, until, counted_alone=True):
            ids += run.ids or ()
            if run.ids is None:
                rest.append(run)
                unknown += 0 if run.until is None else max(0, run.until - max(run.since, kept))
            if unknown > _MOST_UNKNOWN_US or len(ids) > _MOST_LISTED:
                return None
        columns = {name: column_of(connection, entries, entries.c.started_at, name) for name in having}
        # An expression, so that the database goes by ids, which are quicker than the time's index.
        in_time = span.holds(sa.func.coalesce(entries.c.started_at, 0))
        of_such = sa.select(entries.c.root_session_id).where(Kept(having, ()).holds(columns), in_time, counted())
        has: set[str | None] = set()
        for run in rest:
            has |= set(connection.execute(of_such.where(run.holds)).scalars())
        for first in range(0, len(ids), _LOOK_UP):
            has |= set(connection.execute(of_such.where(entries.c.id.in_(ids[first : first + _LOOK_UP]))).scalars())
    return sorted(has, key=lambda name: name or "")


def _listed(
    engine: Engine,
    page: _Page,
    span: Span,
    team: str | None,
    among: Sequence[str | None] | None = None,
    key: str | None = None,
) -> list[SessionRow]:
    """among: of these sessions alone. key: of those that may have a call with it, "" for none."""
    inside, across = within(span)
    if key is not None:
        inside, across = sa.and_(inside, _may_have(key)), None if across is None else sa.and_(across, _may_have(key))
    groups = None if among is None else session_groups(among)
    table = spend_sessions.c
    whole = sa.select(
        table.session, table.team, *[table[name] for name in SUMS], table.first_at.label("started_at"), table.ended_at
    ).where(inside, *([] if team is None else [table.team == team]))
    with reading(engine).connect() as connection:
        rows: list[RowMapping] = []
        reaching: list[str | None] = []
        for first in range(0, 1 if groups is None else len(groups), _LOOK_UP):
            these = sa.true() if groups is None else table.group.in_(groups[first : first + _LOOK_UP])
            rows += page.read(connection, whole.where(these))
            if across is not None:
                reaching += connection.execute(sa.select(table.session).where(across, these)).scalars()
        for of_some in entries_of(reaching):
            rows += page.read(connection, _partly(span, of_some, team))
    shown = [_row(row) for row in rows]
    return sorted(shown, key=lambda row: (-getattr(row, page.by), row.session or ""))[: page.limit]


def _partly(span: Span, of_some: sa.ColumnElement[bool], team: str | None) -> sa.Select[Any]:
    """Sessions that reach beyond the span: their calls within."""
    partly = (
        sa.select(
            entries.c.root_session_id.label("session"),
            sa.func.max(entries.c.team).label("team"),
            *[sa.func.coalesce(sa.func.sum(ENTRY_SUMS[name]), 0).label(name) for name in SUMS],
            sa.func.min(entries.c.started_at).label("started_at"),
            sa.func.max(entries.c.ended_at).label("ended_at"),
        )
        .where(of_some, span.holds(entries.c.started_at), counted())
        .group_by(entries.c.root_session_id)
    )
    return partly if team is None else partly.where(entries.c.team == team)


class _Page:
    """A page of a list: so many rows, in an order, behind a place in it."""

    def __init__(self, order: Order, limit: int, after: str | None, lone_counts: bool) -> None:
        self.by, self.limit, self._lone_counts = _BY[order], limit, lone_counts
        self._after = None if after is None else _place(after)

    def read(self, connection: Connection, query: sa.Select[Any]) -> list[RowMapping]:
        rows = query.subquery()
        by, session = rows.c[self.by], cast("sa.ColumnElement[str]", sa.func.coalesce(rows.c.session, ""))
        if connection.dialect.name == "postgresql":
            session = sa.collate(session, "C")  # as Python sorts, and SQLite: a page's last row is the last in either
        page = sa.select(rows).order_by(by.desc(), session).limit(self.limit)
        if not self._lone_counts:
            page = page.where(sa.or_(*[rows.c[name] != 0 for name in SUMS if name != "requests"], _is_no_count(rows)))
        if self._after is not None:
            value, name = self._after
            page = page.where(sa.or_(by < value, sa.and_(by == value, session > name)))
        return list(connection.execute(page).mappings())


def _is_no_count(rows: sa.Subquery) -> sa.ColumnElement[bool]:
    """Asked of sessions that came to nothing. One entry is looked up for each: PostgreSQL may not read all entries ahead."""
    count = sa.select(entries.c.id).where(
        entries.c.root_session_id == rows.c.session,
        entries.c.session_source == "none",
        entries.c.operation.in_(_FREE_COUNTS),
    )
    return count.limit(1).scalar_subquery().is_(None)


def _place(after: str) -> tuple[int, str]:
    value, mark, session = after.partition(":")
    if (
        mark
        and len(value) < 20
        and value.isascii()
        and value.removeprefix("-").isdigit()
        and abs(int(value)) <= _MAX_INTEGER
    ):
        return int(value), session
    raise BadQuestion("next: is not a place in this list; ask again without it")


def place_of(row: SessionRow, order: Order) -> str:
    """Where a row stands in its list, for the next page."""
    return f"{getattr(row, _BY[order])}:{row.session or ''}"


def _row(row: RowMapping) -> SessionRow:
    return SessionRow(
        session=row["session"],
        team=row["team"],
        requests=int(row["requests"]),
        cost_nanousd=int(row["cost_nanousd"]),
        unpriced_requests=int(row["unpriced_requests"]),
        started_at=int(row["started_at"]),
        ended_at=int(row["ended_at"]),
        usage={unit: int(row[column]) for unit, column in TOKEN_COLUMNS.items() if row[column]},
    )
