"""Questions about single calls, for the API and the command line alike. What was spent: `spend.py`.

Times go in as integer epoch microseconds (`since` inclusive, `until` exclusive, by `started_at`); money comes out as
integer nano-USD. Nothing from a client is ever part of a statement's text: names come from tables here, values are bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Engine, RowMapping

from proxy.ledger.schema import TOKEN_COLUMNS, entries

GROUPS = {
    "key": entries.c.key,
    "team": entries.c.team,
    "user": entries.c.user,
    "customer": entries.c.customer,
    "model": entries.c.model,
    "provider": entries.c.provider,
    "upstream": entries.c.upstream,
    "session": entries.c.root_session_id,
    "agent": entries.c.agent,
}

_FILTERS = {
    **GROUPS,
    "status": entries.c.status,
    "outcome": entries.c.outcome,
    "request_id": entries.c.request_id,
    "operation": entries.c.operation,
    "client": entries.c.client,
}
FILTERS = tuple(_FILTERS)


def requests(
    engine: Engine, *, limit: int, before: str | None, filters: Mapping[str, str], since: int | None, until: int | None
) -> list[dict[str, Any]]:
    """Ledger entries, the latest first; `before` is the id of the last one of the page before."""
    statement = sa.select(entries).order_by(entries.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(entries.c.id < before)
    if since is not None:
        statement = statement.where(entries.c.started_at >= since)
    if until is not None:
        statement = statement.where(entries.c.started_at < until)
    for name, value in filters.items():
        statement = statement.where(_FILTERS[name] == value)
    with engine.connect() as connection:
        return [entry(row) for row in connection.execute(statement).mappings()]


def request(engine: Engine, entry_id: str) -> list[dict[str, Any]]:
    """One entry by its id, or all attempts (and corrections) of one request id."""
    same = sa.or_(entries.c.id == entry_id, entries.c.request_id == entry_id)
    with engine.connect() as connection:
        rows = connection.execute(sa.select(entries).where(same).order_by(entries.c.id)).mappings()
        return [entry(row) for row in rows]


_JSON_COLUMNS = ("labels", "untrusted_labels", "told_usage", "cost_lines", "flags", "budgets")

_LISTS = ("cost_lines", "flags", "budgets")


def entry(row: RowMapping) -> dict[str, Any]:
    """A ledger row with its JSON opened and its usage in one place; times still in microseconds, money in nano-USD."""
    values = dict(row)
    usage = {unit: values.pop(column) for unit, column in TOKEN_COLUMNS.items()}
    usage = {unit: quantity for unit, quantity in usage.items() if quantity}
    usage |= orjson.loads(values["usage"]) if values["usage"] else {}
    for name in _JSON_COLUMNS:
        values[name] = orjson.loads(values[name]) if values[name] else ([] if name in _LISTS else {})
    values["usage"] = usage
    values["stream"] = bool(values["stream"])
    return values
