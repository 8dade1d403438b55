"""What the ledger knows of sessions: the list of trees, one tree, and where a session stands."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, RowMapping

from proxy.ledger.queries import BadQuestion, entry
from proxy.ledger.schema import TOKEN_COLUMNS, entries, session_totals
from proxy.ledger.session_tree import Node, Part, tree_of

_CALLS = 1000
_MAX_DEPTH = 16
ORDERS = {"latest": session_totals.c.last_started_at, "cost": session_totals.c.cost_nanousd}


def sessions(
    engine: Engine,
    *,
    limit: int,
    order: str = "latest",
    after: str | None = None,
    since: int | None = None,
    until: int | None = None,
    team: str | None = None,
) -> list[dict[str, Any]]:
    """Trees of sessions with a call in the span, and what they came to in all: the latest or the dearest first.

    after: the last item of the page before, as `place_of` has it.
    """
    totals, by = session_totals.c, ORDERS[order]
    query = sa.select(session_totals).order_by(by.desc(), totals.session.desc()).limit(limit)
    if since is not None:
        query = query.where(totals.last_started_at >= since)
    if until is not None:
        query = query.where(totals.started_at < until)
    if team is not None:
        query = query.where(totals.team == team)
    if after is not None:
        value, mark, session = after.partition(":")
        if not mark or not value.removeprefix("-").isdigit() or len(value) > 19:
            raise BadQuestion("`next` is no place in this list")
        query = query.where(sa.or_(by < int(value), sa.and_(by == int(value), totals.session < session)))
    with engine.connect() as connection:
        return [_total(row) for row in connection.execute(query).mappings()]


def place_of(item: dict[str, Any], order: str) -> str:
    """Where an item stands in its list, for the next page."""
    return f"{item[ORDERS[order].name]}:{item['session']}"


def _total(row: RowMapping) -> dict[str, Any]:
    values = dict(row)
    usage = {unit: int(values.pop(column)) for unit, column in TOKEN_COLUMNS.items()}
    return values | {"usage": {unit: quantity for unit, quantity in usage.items() if quantity}}


def session(engine: Engine, session_id: str, calls: int = _CALLS) -> tuple[dict[str, Any], Node] | None:
    """A session with all below it: whose it is, and its tree with (at most so many) calls. None where there is none."""
    with engine.connect() as connection:
        root = _root_of(connection, session_id)
        if root is None:
            return None
        whose = connection.execute(sa.select(session_totals).where(session_totals.c.session == root)).mappings().first()
        of = entries.c.root_session_id == root
        parts = [_part(row) for row in connection.execute(_parts().where(of)).mappings()]
        rows = connection.execute(sa.select(entries).where(of).order_by(entries.c.id).limit(calls)).mappings()
        tree = tree_of(root, parts, [entry(row) for row in rows])
    node = next(node for _, node in tree.walk() if node.session == session_id)
    about = {name: whose[name] if whose else None for name in ("team", "key", "client", "source")}
    return about | {"root_session": root}, node


def _root_of(connection: Connection, session_id: str) -> str | None:
    """The root of a session's tree: itself, or what its calls say; None where it has none."""
    known = sa.select(entries.c.root_session_id)
    if connection.execute(known.where(entries.c.root_session_id == session_id).limit(1)).first():
        return session_id
    child = known.where(entries.c.session_id == session_id, entries.c.parent_session_id.is_not(None))
    root: str | None = connection.execute(child.limit(1)).scalar()
    return root


def _parts() -> sa.Select[Any]:
    """What each agent of each session came to; void attempts count for nothing, corrections change only the cost."""
    attempt = sa.and_(entries.c.kind == "attempt", entries.c.status != "void")
    names = ("session_id", "parent_session_id", "agent", "parent_agent")
    return sa.select(
        *[entries.c[name] for name in names],
        sa.func.sum(sa.case((attempt, 1), else_=0)).label("requests"),
        sa.func.sum(sa.case((sa.and_(attempt, entries.c.cost_nanousd.is_(None)), 1), else_=0)).label("unpriced"),
        sa.func.coalesce(sa.func.sum(entries.c.cost_nanousd), 0).label("cost_nanousd"),
        *[sa.func.sum(entries.c[column]).label(column) for column in TOKEN_COLUMNS.values()],
        sa.func.min(entries.c.started_at).label("started_at"),
        sa.func.max(entries.c.ended_at).label("ended_at"),
    ).group_by(*[entries.c[name] for name in names])


def _part(row: RowMapping) -> Part:
    usage = {unit: int(row[column]) for unit, column in TOKEN_COLUMNS.items() if row[column]}
    return Part(
        session=row["session_id"], parent_session=row["parent_session_id"], agent=row["agent"],
        parent_agent=row["parent_agent"], requests=int(row["requests"]), unpriced_requests=int(row["unpriced"]),
        cost_nanousd=int(row["cost_nanousd"]), usage=usage, started_at=row["started_at"], ended_at=row["ended_at"],
    )  # fmt: skip
