"""What the page asks of the ledger. Every answer is bounded, whatever stands in the ledger.

Times are integer epoch microseconds, money is integer nano-USD. A call counts where it began (`started_at`), as in the API.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ledger.database import reading
from proxy.ledger.parts_schema import spend_part_sources
from proxy.ledger.rollups.label_days import PARTS, covered
from proxy.ledger.rollups.label_parts import certainty_query
from proxy.ledger.rollups.sums import PART_US
from proxy.ledger.schema import alerts, counted, entries
from proxy.reports.sessions import sessions
from proxy.reports.spans import Span
from proxy.reports.spend import SpendRow, spend
from proxy.times import HOUR_US

_CALLS = sa.func.sum(sa.case((entries.c.kind == "attempt", 1), else_=0))
_COST = sa.func.coalesce(sa.func.sum(entries.c.cost_nanousd), 0)
_UNPRICED = sa.func.sum(sa.case((sa.and_(entries.c.kind == "attempt", entries.c.cost_nanousd.is_(None)), 1), else_=0))


class Spent(NamedTuple):
    """What a stretch of time, or a group of calls, came to."""

    cost_nanousd: int
    calls: int
    unpriced: int


class SessionSpent(NamedTuple):
    """One session tree. The team is that of one of its calls: a session belongs to one team."""

    session: str
    team: str | None
    agent: str | None
    calls: int
    cost_nanousd: int
    ended_at: int
    unpriced: int


class CostCertainty(NamedTuple):
    """How calls came to their costs. status: `settled`, `unconfirmed` …; source: who counted: `provider`, `estimated` …"""

    status: str
    source: str | None
    calls: int
    cost_nanousd: int
    unpriced: int


def cost_certainty(engine: Engine, since_us: int) -> list[CostCertainty]:
    """The calls since then by how their costs are known, the most frequent first."""
    sums: dict[tuple[str, str | None], list[int]] = defaultdict(lambda: [0, 0, 0])
    with reading(engine).connect() as connection:
        whole_since = -(-since_us // PART_US) * PART_US
        covered_spans = covered(connection, PARTS, whole_since, None, [], whole=True).known
        for row in connection.execute(_certainty(since_us, covered_spans)):
            for position, number in enumerate(row[2:]):
                sums[row[0], row[1] or None][position] += int(number)
    rows = [CostCertainty(*key, calls, cost, unpriced) for key, (calls, unpriced, cost) in sums.items()]
    return sorted(rows, key=lambda row: (-row.calls, row.status, row.source or ""))


def _certainty(since_us: int, covered_spans: Sequence[tuple[int, int]]) -> sa.CompoundSelect[Any]:
    """What is added up of the time since then, and the entries of the rest."""
    since, until = [since_us, *(last for _, last in covered_spans)], [*(first for first, _ in covered_spans), None]
    rest = [Span(*ends).holds(entries.c.started_at) for ends in zip(since, until, strict=True)]
    parts = [Span(*ends).holds(spend_part_sources.c.start_at) for ends in covered_spans]
    added_up = sa.select(*spend_part_sources.columns[1:]).where(sa.or_(sa.false(), *parts))
    return sa.union_all(certainty_query(sa.or_(*rest)), added_up)


def latest_alerts(engine: Engine, since_us: int, limit: int) -> list[Mapping[str, Any]]:
    """What operators were told since then, the latest first: rows of `alerts`."""
    query = sa.select(alerts).where(alerts.c.created_at >= since_us).order_by(alerts.c.created_at.desc()).limit(limit)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def spent_by_time(engine: Engine, now_us: int, step_us: int, steps: int) -> dict[int, Spent]:
    """The last `steps` stretches of `step_us`, the current one too, by where each begins; those without calls are 0."""
    last = now_us - now_us % step_us
    first = last - (steps - 1) * step_us
    if step_us == HOUR_US:
        by_time = {
            round(datetime.fromisoformat(row.group["hour"] or "").timestamp()) * 1_000_000: _spent(row)
            for row in spend(engine, ["hour"], first, last + step_us)
        }
    else:
        by_time = _by_time(engine, first, last + step_us, step_us)
    return {at: by_time.get(at, Spent(0, 0, 0)) for at in range(first, last + step_us, step_us)}


def _by_time(engine: Engine, first: int, until: int, step_us: int) -> dict[int, Spent]:
    start = (entries.c.started_at - entries.c.started_at % step_us).label("start")
    query = (
        sa.select(start, _COST, _CALLS, _UNPRICED)
        .where(entries.c.started_at >= first, entries.c.started_at < until, counted())
        .group_by(start)
    )
    with engine.connect() as connection:
        return {int(row[0]): Spent(int(row[1]), int(row[2]), int(row[3])) for row in connection.execute(query)}


def _spent(row: SpendRow) -> Spent:
    return Spent(row.cost_nanousd, row.requests, row.unpriced_requests)


def dearest(engine: Engine, by: str, since_us: int, limit: int) -> list[tuple[str | None, Spent]]:
    """The dearest `limit` models or teams (`by`), the dearest first."""
    rows = spend(engine, [by], since_us, None)
    rows.sort(key=lambda row: (-row.cost_nanousd, -row.requests))
    return [(row.group[by], _spent(row)) for row in rows[:limit]]


def dearest_sessions(engine: Engine, since_us: int, limit: int) -> list[SessionSpent]:
    """The session trees that cost most by calls since then; agents only where one is the whole session's."""
    rows = sessions(engine, limit=limit, order="cost", since=since_us)
    agents = _agents(engine, [row.session for row in rows if row.session is not None], since_us)
    return [
        SessionSpent(
            row.session or "",
            row.team,
            agents.get(row.session or ""),
            row.requests,
            row.cost_nanousd,
            row.ended_at,
            row.unpriced_requests,
        )
        for row in rows
    ]


def _agents(engine: Engine, names: Sequence[str], since_us: int) -> dict[str, str | None]:
    agent = entries.c.agent
    query = (
        sa.select(
            entries.c.root_session_id,
            sa.case((sa.func.min(agent) == sa.func.max(agent), sa.func.max(agent)), else_=None),
        )
        .where(entries.c.root_session_id.in_(names), entries.c.started_at >= since_us, counted())
        .group_by(entries.c.root_session_id)
    )
    with engine.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}
