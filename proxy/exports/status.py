"""Where each sink stands, for the API, the command line and the metrics alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.export_schema import export_log, export_set_aside, export_sinks
from proxy.times import rfc3339

_MOST_COUNTED = 1_000_000


def sinks_shown(engine: Engine, configured: Mapping[str, str], now_us: int) -> list[dict[str, Any]]:
    """Rows as the API shows them, by name. configured: what is in the configuration, name -> type."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(export_sinks)).mappings().all()
        aside = _set_aside(connection) if rows else {}
        shown = [_shown(connection, dict(row), aside.get(row["name"], 0), configured, now_us) for row in rows]
    begun = {row["name"] for row in shown}
    shown += [_new(name, kind) for name, kind in configured.items() if name not in begun]
    return sorted(shown, key=lambda row: str(row["name"]))


def _new(name: str, kind: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("sent", "skipped", "refused", "set_aside", "failed"), 0)
    return {
        "name": name, "type": kind, "state": "new", "cursor": None, "exported_at": None, "lag_entries": 0, "lag_seconds": 0.0,
        "history_at": None, **nothing, "error": None, "error_at": None, "instance": None,
    }  # fmt: skip


def _set_aside(connection: Connection) -> dict[str, int]:
    c = export_set_aside.c
    return {name: int(count) for name, count in connection.execute(sa.select(c.sink, sa.func.count()).group_by(c.sink))}


def _shown(
    connection: Connection, row: Mapping[str, Any], aside: int, configured: Mapping[str, str], now_us: int
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
        "refused": row["set_aside"],
        "set_aside": aside,
        "failed": row["failed"],
        "error": row["error"],
        "error_at": rfc3339(row["error_at"]),
        "instance": row["keeper"],
    }


def _state(row: Mapping[str, Any], configured: Mapping[str, str]) -> str:
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
