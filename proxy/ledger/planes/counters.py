"""Budgets' counters as the ledger has them: what a store starts with, and what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, RowMapping

from proxy.budgets.budget import Budget
from proxy.jobs.machine import RUNNING
from proxy.ledger.database import reading
from proxy.ledger.planes.snapshot import MOST_ASKED, seeds_of
from proxy.ledger.schema import budget_bases, budget_spend, entries


class Sum(NamedTuple):
    """One counter's sum: what entries say that they counted in it, and the base of its budget's definition."""

    counted: int
    base: int


def spent(engine: Engine, budget: str, measure: str, window_start: int) -> dict[str, int]:
    """What each group of a budget has in a window, as `budget_seeds` says it; for budgets with a million groups."""
    return {group: sum(parts) for group, parts in sums(engine, budget, measure, window_start).items()}


def sums(engine: Engine, budget: str, measure: str, window_start: int) -> dict[str, Sum]:
    """As `spent`, in its parts; in the order of the groups' names."""
    read: list[dict[str, int]] = []
    with reading(engine).connect() as connection:
        for table in (budget_spend, budget_bases):
            query = sa.select(table.c.group, table.c.amount).where(
                table.c.budget == budget, table.c.window_start == window_start, table.c.measure == measure
            )
            read.append({group: int(amount) for group, amount in connection.execute(query)})
    counted, bases = read
    return {group: Sum(counted.get(group, 0), bases.get(group, 0)) for group in sorted(counted | bases)}


def spent_by(engine: Engine, buckets: Sequence[tuple[str, str, int, str]]) -> list[tuple[int, int]]:
    """What each of these has: budget, measure, window start, group; and how much of that is its base."""
    sums: dict[tuple[str, str, int, str], tuple[int, int]] = {}
    groups: dict[tuple[str, str, int], list[str]] = {}
    for budget, measure, start, group in buckets:
        groups.setdefault((budget, measure, start), []).append(group)
    with reading(engine).connect() as connection:
        for table in (budget_spend, budget_bases):
            for (budget, measure, start), named in groups.items():
                # Not as rows of four values: PostgreSQL would read all groups of the budget for that.
                counters = (table.c.budget == budget, table.c.window_start == start, table.c.measure == measure)
                for first in range(0, len(named), MOST_ASKED):
                    wanted = table.c.group.in_(named[first : first + MOST_ASKED])
                    for group, amount in connection.execute(
                        sa.select(table.c.group, table.c.amount).where(*counters, wanted)
                    ):
                        bucket = (budget, measure, start, group)
                        total, base = sums.get(bucket, (0, 0))
                        sums[bucket] = total + int(amount), base + (int(amount) if table is budget_bases else 0)
    return [sums.get(bucket, (0, 0)) for bucket in buckets]


def ended_amounts(engine: Engine, ids: Sequence[str]) -> dict[str, list[int]]:
    """What each budget of ended attempts was charged, in their order; running jobs are left out."""
    amounts: dict[str, list[int]] = {}
    columns = (entries.c.id, entries.c.budgets)
    with engine.connect() as connection:
        for first in range(0, len(ids), MOST_ASKED):
            named = entries.c.id.in_(ids[first : first + MOST_ASKED])
            query = sa.select(*columns).where(named, entries.c.status != RUNNING)
            for name, budgets in connection.execute(query):
                amounts[name] = [int(item[4]) for item in orjson.loads(budgets or "[]")]
    return amounts


def budget_seeds(engine: Engine, budgets: Sequence[Budget], now_s: float) -> list[dict[str, Any]]:
    """What each counter of the current windows has, as `seeds_of` says it."""
    with reading(engine).connect() as connection:
        return seeds_in(connection, budgets, now_s)


def seeds_in(connection: Connection, budgets: Sequence[Budget], now_s: float) -> list[dict[str, Any]]:
    """As `budget_seeds`, by what a transaction sees."""
    counted, bases = [rows_now(connection, table, budgets, now_s) for table in (budget_spend, budget_bases)]
    return seeds_of(budgets, counted, bases, now_s)


def rows_now(connection: Connection, table: sa.Table, budgets: Sequence[Budget], now_s: float) -> list[RowMapping]:
    """The rows of `table` (`budget_spend`, `budget_bases`) of these budgets' current windows and measures."""
    asked: dict[tuple[int, str], list[str]] = {}
    for budget in budgets:
        asked.setdefault((budget.window_now(now_s)[0], budget.measure), []).append(budget.name)
    rows: list[RowMapping] = []
    for (start, measure), names in asked.items():
        current = (table.c.window_start == start, table.c.measure == measure)
        for first in range(0, len(names), MOST_ASKED):
            some = table.c.budget.in_(names[first : first + MOST_ASKED])
            rows += connection.execute(sa.select(table).where(*current, some)).mappings()
    return rows
