"""Questions about single calls and budgets, for the API and the command line alike. What was spent: `spend.py`.

Times go in as integer epoch microseconds (`since` inclusive, `until` exclusive, by `started_at`); money comes out as
integer nano-USD. Nothing from a client is ever part of a statement's text: names come from tables here, values are bound.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Engine, RowMapping

from proxy.budgets.budget import Budget
from proxy.ledger.schema import TOKEN_COLUMNS, budget_bases, budget_spend, entries

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
_SPAN = re.compile(r"(\d{1,6})([smhdw])\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class BadQuestion(ValueError):  # noqa: N818 - told to whoever asked
    """A parameter that makes no sense; the message says which and what would."""


def moment(text: str, now_s: float) -> int:
    """`7d` (before now), or RFC 3339, as epoch microseconds."""
    span = _SPAN.match(text)
    if span:
        return int((now_s - int(span[1]) * _SECONDS[span[2]]) * 1_000_000)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuestion(f"{text!r} is no time: write 7d, 12h, or 2026-11-23T12:00:00Z") from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def rfc3339(microseconds: int | None) -> str | None:
    if microseconds is None:
        return None
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


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


def spent(engine: Engine, budget: str, measure: str, window_start: int) -> dict[str, int]:
    """What each group of a budget has in a window, as `budget_seeds` says it; for budgets with a million groups."""
    found: dict[str, int] = {}
    with engine.connect() as connection:
        for table in (budget_spend, budget_bases):
            query = sa.select(table.c.group, table.c.amount).where(
                table.c.budget == budget, table.c.window_start == window_start, table.c.measure == measure
            )
            for group, amount in connection.execute(query):
                found[group] = found.get(group, 0) + int(amount)
    return found


def budget_seeds(engine: Engine, budgets: Sequence[Budget], now_s: float) -> list[dict[str, Any]]:
    """What each counter of the current windows has: the fields of `Standing`. A definition's base and what came since."""
    if not budgets:
        return []
    windows = {budget.name: (budget, *budget.window_now(now_s)) for budget in budgets}
    spent: dict[tuple[str, str], int] = {}
    with engine.connect() as connection:
        for table in (budget_spend, budget_bases):
            current = [
                sa.and_(table.c.budget == name, table.c.window_start == start, table.c.measure == budget.measure)
                for name, (budget, start, _) in windows.items()
            ]
            for row in connection.execute(sa.select(table).where(sa.or_(*current))).mappings():
                key = (row["budget"], row["group"])
                spent[key] = spent.get(key, 0) + int(row["amount"])
    return [
        {
            "budget": name,
            "group": group,
            "window_start": windows[name][1],
            "window_end": windows[name][2],
            "measure": windows[name][0].measure,
            "spent": amount,
            "limit": windows[name][0].limit_for(group, now_s),
        }
        for (name, group), amount in spent.items()
    ]
