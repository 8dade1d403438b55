"""Exports, as they stand now. Every instance on a ledger says the same of them: take the largest, not the sum."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from proxy.control.metrics.exposition import Gauge
from proxy.control.state import ControlState
from proxy.exports.status import sinks_shown
from proxy.times import now_us

_OUTCOMES = {"sent": "sent", "set_aside": "refused", "skipped": "skipped", "failed": "failed"}


def export_gauges(state: ControlState) -> Iterator[Gauge]:
    """The gauges of the configured sinks."""
    configured = {row.key: row.type for row in state.config().exports}
    if not configured:
        return
    try:
        rows = sinks_shown(state.engine, configured, now_us())
    except SQLAlchemyError:
        return  # what is not known is not 0
    for row in rows:
        if row["state"] == "removed":
            continue
        yield "export_lag_seconds", {"sink": row["name"]}, f"{row['lag_seconds']:.3f}"
        for outcome, field in _OUTCOMES.items():
            yield "export_events_total", {"sink": row["name"], "outcome": outcome}, str(row[field])
