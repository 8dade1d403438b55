"""What the ledger says that each budget's counters have: what a store begins with, and what it is compared to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.budgets.budget import Budget
from proxy.jobs.machine import RUNNING
from proxy.ledger.schema import budget_bases, budget_spend, entries

_MOST_ASKED = 200


def spent(engine: Engine, budget: str, measure: str, window_start: int) -> dict[str, int]:
    """What each group of a budget has in a window, as `budget_seeds` says it; for budgets with a million groups."""
    groups: dict[str, int] = {}
    with engine.connect() as connection:
        for table in (budget_spend, budget_bases):
            query = sa.select(table.c.group, table.c.amount).where(
                table.c.budget == budget, table.c.window_start == window_start, table.c.measure == measure
            )
            for group, amount in connection.execute(query):
                groups[group] = groups.get(group, 0) + int(amount)
    return groups


def spent_by(engine: Engine, buckets: Sequence[tuple[str, str, int, str]]) -> list[int]:
    """What each of these has: budget, measure, window start, group."""
    sums: dict[tuple[str, str, int, str], int] = {}
    groups: dict[tuple[str, str, int], list[str]] = {}
    for budget, measure, start, group in buckets:
        groups.setdefault((budget, measure, start), []).append(group)
    with engine.connect() as connection:
        for table in (budget_spend, budget_bases):
            for (budget, measure, start), named in groups.items():
                # Not as rows of four values: PostgreSQL would read all groups of the budget for that.
                counters = (table.c.budget == budget, table.c.window_start == start, table.c.measure == measure)
                for first in range(0, len(named), _MOST_ASKED):
                    wanted = table.c.group.in_(named[first : first + _MOST_ASKED])
                    for group, amount in connection.execute(
                        sa.select(table.c.group, table.c.amount).where(*counters, wanted)
                    ):
                        sums[budget, measure, start, group] = sums.get((budget, measure, start, group), 0) + int(amount)
    return [sums.get(bucket, 0) for bucket in buckets]


def ended_amounts(engine: Engine, ids: Sequence[str]) -> dict[str, list[int]]:
    """Of attempts that have ended, and are no jobs that run: what each of their budgets was charged, in their order."""
    amounts: dict[str, list[int]] = {}
    columns = (entries.c.id, entries.c.budgets)
    with engine.connect() as connection:
        for first in range(0, len(ids), _MOST_ASKED):
            named = entries.c.id.in_(ids[first : first + _MOST_ASKED])
            query = sa.select(*columns).where(named, entries.c.status != RUNNING)
            for name, budgets in connection.execute(query):
                amounts[name] = [int(item[4]) for item in orjson.loads(budgets or "[]")]
    return amounts


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
