"""Jobs, for the API and the command line alike: the latest first, each with what it was reserved and what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.engine import Engine

from proxy.ledger.schema import entries, jobs
from proxy.money import usd_text
from proxy.reports.calls import GROUPS
from proxy.reports.shapes import Shown
from proxy.times import BadQuestion, rfc3339

State = Literal["running", "settled", "unconfirmed"]


class JobShown(Shown):
    """One job. `id` is that of its ledger entry; the provider's own id stays inside."""

    id: str
    api: str
    operation: str | None
    state: State
    overdue: bool = Field(description="Whether its deadline is over and no end was seen.")
    upstream: str | None
    model: str | None
    key: str | None
    team: str | None
    session_id: str | None
    created_at: str | None
    deadline_at: str | None
    ended_at: str | None
    reserved_usd: str | None
    cost_usd: str | None


def list_jobs(
    engine: Engine,
    *,
    now_us: int,
    limit: int,
    before: str | None = None,
    state: State | None = None,
    only: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Rows of `JobShown`, the latest first. before: the id of the last one of the page before. only: with these values
    of the attributes of calls; "" is none. Raises `BadQuestion`."""
    about = [entries.c[name] for name in ("upstream", "model", "key", "team", "session_id")]
    query = sa.select(jobs, *about).select_from(jobs.outerjoin(entries, entries.c.id == jobs.c.id))
    query = query.order_by(jobs.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(jobs.c.id < before)
    if state is not None:
        query = query.where(jobs.c.state == state)
    for name, value in (only or {}).items():
        if name not in GROUPS:
            raise BadQuestion(f"filter.{name[:60]}: there are {', '.join(GROUPS)}")
        query = query.where(GROUPS[name] == value if value else sa.func.coalesce(GROUPS[name], "") == "")
    with engine.connect() as connection:
        return [_shown(dict(row), now_us) for row in connection.execute(query).mappings()]


def _shown(row: dict[str, Any], now_us: int) -> dict[str, Any]:
    money = {
        name: None if row[f"{name}_nanousd"] is None else usd_text(row[f"{name}_nanousd"])
        for name in ("reserved", "cost")
    }
    times = {
        name: None if row[name] is None else rfc3339(row[name]) for name in ("created_at", "deadline_at", "ended_at")
    }
    plain = ("id", "api", "operation", "state", "upstream", "model", "key", "team", "session_id")
    return {
        **{name: row[name] for name in plain}, **times, **{f"{name}_usd": text for name, text in money.items()},
        "overdue": not row["ended"] and row["deadline_at"] < now_us,
    }  # fmt: skip
