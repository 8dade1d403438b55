"""One session: its tree, and where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, RowMapping

from proxy.ledger.database import reading
from proxy.ledger.rollup_schema import spend_sessions
from proxy.ledger.rollups.sums import session_groups
from proxy.ledger.schema import TOKEN_COLUMNS, counted, entries
from proxy.reports.calls import entry
from proxy.reports.session_tree import Node, Part, tree_of

_CALLS = 1000
_MAX_DEPTH = 16


class SessionAbout(NamedTuple):
    """Whose a session is, and what said so (`source`: `header`, `guessed` …)."""

    team: str | None
    key: str | None
    client: str | None
    source: str | None
    root_session: str


def session(engine: Engine, session_id: str, calls: int = _CALLS) -> tuple[SessionAbout, Node] | None:
    """A session with all below it: whose it is, and its tree with (at most so many) calls. None where there is none."""
    with engine.connect() as connection:
        root = _root_of(connection, session_id)
        if root is None:
            return None
        of = entries.c.root_session_id == root
        parts = [_part(row) for row in connection.execute(_parts().where(of)).mappings()]
        rows = connection.execute(sa.select(entries).where(of).order_by(entries.c.id).limit(calls)).mappings()
        attempts = [entry(row) for row in rows]
    node = next(node for _, node in tree_of(root, parts, attempts).walk() if node.session == session_id)
    first = attempts[0]
    return SessionAbout(first["team"], first["key"], first["client"], first["session_source"], root), node


def _root_of(connection: Connection, session_id: str) -> str | None:
    """The root of a session's tree: itself, or what its calls say; None where it has none."""
    root_column = sa.select(entries.c.root_session_id)
    if connection.execute(root_column.where(entries.c.root_session_id == session_id).limit(1)).first():
        return session_id
    child = root_column.where(entries.c.session_id == session_id, entries.c.parent_session_id.is_not(None))
    root: str | None = connection.execute(child.limit(1)).scalar()
    return root


def _parts() -> sa.Select[Any]:
    """What each agent of each session came to; void attempts count for nothing, corrections change only the cost."""
    attempt = sa.and_(entries.c.kind == "attempt", counted())
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


def recalled(engine: Engine, names: Sequence[str]) -> list[dict[str, Any]]:
    """Those of these sessions that the ledger has: whose each is, where it stands, and what its whole tree has cost."""
    with reading(engine).connect() as connection:
        return [session for name in names[:_MAX_DEPTH] if (session := _recalled(connection, name)) is not None]


def _recalled(connection: Connection, name: str) -> dict[str, Any] | None:
    root = _root_of(connection, name)
    if root is None:
        return None
    parents: list[str] = []
    above: str | None = name
    while above is not None and above != root and len(parents) < _MAX_DEPTH:
        above = _parent_of(connection, above)
        parents.append(above or root)
    whose = sa.select(entries.c.team, entries.c.key).where(entries.c.root_session_id == root).limit(1)
    team, key = connection.execute(whose).one()
    of = spend_sessions.c.group.in_(session_groups([root]))
    cost = sa.select(sa.func.sum(spend_sessions.c.cost_nanousd)).where(of)
    return {
        "name": name,
        "team": team,
        "key": key,
        "root": root,
        "parent": parents[0] if parents else None,
        "depth": len(parents) + 1,
        "tree_nanousd": int(connection.execute(cost).scalar() or 0),
    }


def _parent_of(connection: Connection, child: str) -> str | None:
    of = sa.and_(entries.c.session_id == child, entries.c.parent_session_id.is_not(None))
    parent: str | None = connection.execute(sa.select(entries.c.parent_session_id).where(of).limit(1)).scalar()
    return parent
