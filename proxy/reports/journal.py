"""What happened to a budget: thresholds, refusals and raises, the latest first; and what guards stopped. Bounded, all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ledger.schema import alerts, raises


class BudgetEvent(NamedTuple):
    """kind: an alert's (`block`, `threshold` …), or `raise`, whose text is its reason. amount: of a raise, in the budget's
    measure. Times in µs."""

    at: int
    kind: str
    group: str | None
    text: str
    amount: int | None = None
    until_at: int | None = None
    raise_id: str | None = None


def of_budget(engine: Engine, name: str, group: str | None = None, limit: int = 100) -> list[BudgetEvent]:
    """The latest of one budget, or of one group of it (with what concerns all groups)."""
    query = sa.select(alerts).where(alerts.c.budget == name).order_by(alerts.c.created_at.desc()).limit(limit)
    made = sa.select(raises).where(raises.c.budget == name).order_by(raises.c.created_at.desc()).limit(limit)
    if group is not None:
        query = query.where(alerts.c.group.in_([group, ""]))
        made = made.where(sa.or_(raises.c.group == group, raises.c.group.is_(None)))
    with engine.connect() as connection:
        rows = [
            BudgetEvent(row["created_at"], row["kind"], row["group"] or None, row["text"])
            for row in connection.execute(query).mappings()
        ]
        rows += [
            BudgetEvent(
                row["created_at"],
                "raise",
                row["group"],
                row["reason"] or "",
                row["by_amount"],
                row["until_at"],
                row["id"],
            )
            for row in connection.execute(made).mappings()
        ]
    return sorted(rows, key=lambda row: -row.at)[:limit]


_LOOK_UP = 200


def of_guards(engine: Engine, sessions: Sequence[str]) -> list[BudgetEvent]:
    """When a guard first stopped a loop (kind `loop`) in one of these sessions, or a limit the session (`session_limit`), the
    first first. group: the session."""
    of_them = (alerts.c.kind.in_(["loop", "session_limit"]), alerts.c.budget == "")
    with engine.connect() as connection:
        rows = [
            BudgetEvent(row.created_at, row.kind, row.group, row.text)
            for first in range(0, len(sessions), _LOOK_UP)
            for row in connection.execute(
                sa.select(alerts).where(*of_them, alerts.c.group.in_(sessions[first : first + _LOOK_UP]))
            )
        ]
    return sorted(rows, key=lambda row: row.at)
