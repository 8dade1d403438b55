"""Where each sink stands, for the API, the command line and the metrics alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.export_schema import export_log, export_set_aside, export_sinks
from proxy.times import rfc3339

_MOST_COUNTED = 1_000_000


class SinkShown(BaseModel):
    """One sink."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: str
    state: str = Field(
        description="ok, behind (it takes nothing now), history (it gets what was there before), removed"
    )
    cursor: str | None = Field(description="The last entry that it has.")
    exported_at: str | None = Field(description="When it took something last.")
    lag_entries: int = Field(
        description="What has come into the ledger since and waits; at most 1,000,000 are counted."
    )
    lag_seconds: float = Field(description="How long the oldest of these has waited.")
    history_at: str | None = Field(
        description="Of a sink that gets what was there before it: up to which time it has that."
    )
    sent: int
    skipped: int = Field(description="Entries of which there is nothing to tell it.")
    set_aside: int = Field(description="Events that it refused for good, and that wait for `taximeter exports retry`.")
    failed: int = Field(description="Tries that did not work, and were made again.")
    error: str | None
    error_at: str | None
    instance: str | None = Field(description="Which instance exports to it.")


def sinks_shown(engine: Engine, configured: Sequence[str], now_us: int) -> list[dict[str, Any]]:
    """Rows of `SinkShown`, by name: those that have a place. configured: names that are in the configuration."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(export_sinks).order_by(export_sinks.c.name)).mappings().all()
        aside = _set_aside(connection) if rows else {}
        return [_shown(connection, dict(row), aside.get(row["name"], 0), configured, now_us) for row in rows]


def _set_aside(connection: Connection) -> dict[str, int]:
    c = export_set_aside.c
    return {name: int(count) for name, count in connection.execute(sa.select(c.sink, sa.func.count()).group_by(c.sink))}


def _shown(
    connection: Connection, row: Mapping[str, Any], aside: int, configured: Sequence[str], now_us: int
) -> dict[str, Any]:
    entries, oldest = waiting(connection, row["cursor"])
    lag_s = 0.0 if oldest is None else max(0.0, (now_us - oldest) / 1e6)
    if row["history_at"] is not None:
        lag_s = max(lag_s, (now_us - row["created_at"]) / 1e6)
    return {
        "name": row["name"],
        "type": row["type"],
        "state": _state(row, configured),
        "cursor": row["last_id"],
        "exported_at": rfc3339(row["last_at"]),
        "lag_entries": entries,
        "lag_seconds": round(lag_s, 3),
        "history_at": rfc3339(row["history_at"]),
        "sent": row["sent"],
        "skipped": row["skipped"],
        "set_aside": aside,
        "failed": row["failed"],
        "error": row["error"],
        "error_at": rfc3339(row["error_at"]),
        "instance": row["keeper"],
    }


def _state(row: Mapping[str, Any], configured: Sequence[str]) -> str:
    if row["name"] not in configured:
        return "removed"
    if row["error"] is not None:
        return "behind"
    return "ok" if row["history_at"] is None else "history"


def waiting(connection: Connection, cursor: int) -> tuple[int, int | None]:
    """How many entries lie behind a cursor, and when the first of them came (epoch microseconds)."""
    c = export_log.c
    oldest = connection.execute(sa.select(c.recorded_at).where(c.seq > cursor).order_by(c.seq).limit(1)).scalar()
    if oldest is None:
        return 0, None
    some = sa.select(c.seq).where(c.seq > cursor).limit(_MOST_COUNTED).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()), int(oldest)
