"""What a new or redefined budget starts with: the cost of its calls in the current window, by the ledger.

A budget's name is its identity, its definition (`match`, `per`, `window`, …) says what it counts. Entries state the budgets
that they counted in; those from before a definition state others. So the counter of a budget is a *base*, worked out from
the entries when its definition began (and the configuration's `opening`), and what has been counted in it since
(`budget_spend`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.budgets.budget import Amounts, Budget
from proxy.ledger.database import writing
from proxy.ledger.schema import TOKEN_COLUMNS, budget_bases, budget_definitions, budget_spend, counted, entries

_COLUMNS = {
    "key": entries.c.key,
    "team": entries.c.team,
    "user": entries.c.user,
    "customer": entries.c.customer,
    "model": entries.c.model_requested,
    "upstream": entries.c.upstream,
    "provider": entries.c.provider,
    "agent": entries.c.agent,
    "session": entries.c.root_session_id,
}


def take_definitions(engine: Engine, budgets: Sequence[Budget], now_s: float) -> list[str]:
    """Note the definitions in force and work out the bases of those that are new; the names of these.

    Everything that was spent before has to be in the ledger by then. Atomic against the recorder: it waits meanwhile.
    """
    with engine.connect() as connection:
        if not _changed(connection, budgets):
            return []
    with writing(engine).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.text("LOCK TABLE budget_spend IN SHARE ROW EXCLUSIVE MODE"))
        changed = _changed(connection, budgets)
        for budget in changed:
            _take(connection, budget, now_s)
        return [budget.name for budget in changed]


class Definition(NamedTuple):
    """since: when it was taken, in epoch microseconds; of two of one budget, the later one has the larger number."""

    digest: str
    since: int


def definitions(engine: Engine) -> dict[str, Definition]:
    """Those in force, by the names of budgets."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(budget_definitions))
        return {row.budget: Definition(row.digest, int(row.since_at)) for row in rows}


def _changed(connection: Connection, budgets: Sequence[Budget]) -> list[Budget]:
    stored = {row.budget: row.digest for row in connection.execute(sa.select(budget_definitions))}
    # What keys are made with begins with nothing, and never changes what it counts.
    return [one for one in budgets if one.keys is None and stored.get(one.name) != one.definition]


def _take(connection: Connection, budget: Budget, now_s: float) -> None:
    name = budget.name
    before = connection.execute(
        sa.select(budget_definitions.c.since_at).where(budget_definitions.c.budget == name)
    ).scalar()
    start, end = budget.window_now(now_s)
    had = [
        budget_bases.c.budget == name,
        budget_bases.c.window_start == start,
        budget_bases.c.measure == budget.measure,
    ]
    with_base = set(connection.execute(sa.select(budget_bases.c.group).where(*had)).scalars())
    for table in (budget_definitions, budget_bases):
        connection.execute(sa.delete(table).where(table.c.budget == name))
    since = int(now_s * 1e6)
    if before is not None:  # by a clock that another instance has, or that was set back
        since = max(since, int(before) + 1)
    row = {"budget": name, "digest": budget.definition, "since_at": since}
    connection.execute(sa.insert(budget_definitions), row)
    counted = select_counted(name, start, budget.measure)
    amounts = defaultdict(int, _spent(connection, budget, start, end))
    amounts[""] += budget.opened_with(start, end)
    for group in with_base:  # a budget that was removed is reported, too
        amounts[group] += 0
    for group, amount in connection.execute(counted):
        amounts[group] -= int(amount)  # it is in `budget_spend`, and will be added again
    rows = [
        {"budget": name, "group": group, "window_start": start, "measure": budget.measure, "amount": amount}
        for group, amount in amounts.items()
        if amount or group in with_base
    ]
    if rows:
        connection.execute(sa.insert(budget_bases), rows)


def select_counted(budget: str, window_start: int, measure: str) -> sa.Select[Any]:
    """Group and amount of what entries said that they counted in a budget's window."""
    table = budget_spend
    where = (table.c.budget == budget, table.c.window_start == window_start, table.c.measure == measure)
    return sa.select(table.c["group"], table.c.amount).where(*where)


def _spent(connection: Connection, budget: Budget, start: int, end: int | None) -> Iterator[tuple[str, int]]:
    """What the entries of the window come to by this definition, by group."""
    names = list(dict.fromkeys([*(name for name, _ in budget.match), *budget.per]))
    labelled = any(name.startswith("label.") for name in names)
    columns = [_COLUMNS[name].label(f"a_{name}") for name in names if name in _COLUMNS]
    columns += [entries.c.labels.label("labels")] if labelled else []
    units = list(TOKEN_COLUMNS.items()) if budget.measure == "tokens" else []
    sums = [
        sa.func.sum(sa.func.coalesce(entries.c.cost_nanousd, 0)).label("cost"),
        sa.func.sum(sa.case((sa.and_(entries.c.kind == "attempt", entries.c.attempt == 1), 1), else_=0)).label(
            "requests"
        ),
        *[sa.func.sum(entries.c[column]).label(f"u_{unit}") for unit, column in units],
    ]
    where = [counted()]
    if start:
        where.append(entries.c.started_at >= start * 1_000_000)
    if end is not None:
        where.append(entries.c.started_at < end * 1_000_000)
    statement = sa.select(*columns, *sums).where(*where).group_by(*columns)
    totals: dict[str, int] = defaultdict(int)
    for row in connection.execute(statement).mappings():
        if row["cost"] is None:
            continue  # the sum of nothing
        attributes = _attributes(dict(row), names)
        if budget.matches(attributes):
            tokens = {unit: int(row[f"u_{unit}"]) for unit, _ in units}
            used = Amounts(int(row["cost"]), tokens, int(row["requests"]))
            totals[budget.group(attributes)] += used.of(budget.measure, budget.units)
    yield from totals.items()


def _attributes(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, str | None]:
    attributes: dict[str, str | None] = {name: row[f"a_{name}"] for name in names if name in _COLUMNS}
    labels = orjson.loads(row["labels"]) if row.get("labels") else {}
    return attributes | {name: labels.get(name[6:]) for name in names if name.startswith("label.")}
