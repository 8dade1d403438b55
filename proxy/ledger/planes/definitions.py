"""What a new or redefined budget starts with: the cost of its calls in the current window, by the ledger.

A budget's name is its identity, its definition (`match`, `per`, `window`, …) says what it counts. Entries state the budgets
that they counted in; those from before a definition state others. So the counter of a budget is a *base*, worked out from
the entries when its definition began (and the configuration's `opening`), and what has been counted in it since
(`budget_spend`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.budgets.budget import Amounts, Budget
from proxy.ledger.database import writing
from proxy.ledger.planes.counters import rows_now
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
    "labels": entries.c.labels,
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
        if changed:
            _take(connection, changed, now_s)
        return [budget.name for budget in changed]


class Definition(NamedTuple):
    """since: when it was taken, in epoch microseconds; of two of one budget, the later one has the larger number."""

    digest: str
    since: int


def definitions(engine: Engine) -> dict[str, Definition]:
    """Those in force, by the names of budgets."""
    with engine.connect() as connection:
        return definitions_in(connection)


def definitions_in(connection: Connection) -> dict[str, Definition]:
    """As `definitions`, by what a transaction sees."""
    rows = connection.execute(sa.select(budget_definitions))
    return {row.budget: Definition(row.digest, int(row.since_at)) for row in rows}


def _changed(connection: Connection, budgets: Sequence[Budget]) -> list[Budget]:
    stored = {row.budget: row.digest for row in connection.execute(sa.select(budget_definitions))}
    # What keys are made with begins with nothing, and never changes what it counts.
    return [one for one in budgets if one.keys is None and stored.get(one.name) != one.definition]


def _take(connection: Connection, budgets: Sequence[Budget], now_s: float) -> None:
    """All of them in one go: for each budget by itself, a thousand ask a thousand times what is much the same."""
    rows = connection.execute(sa.select(budget_definitions.c.budget, budget_definitions.c.since_at))
    before = {name: int(since) for name, since in rows}
    amounts: dict[str, dict[str, int]] = {budget.name: defaultdict(int) for budget in budgets}
    had: dict[str, set[str]] = defaultdict(set)
    for row in rows_now(connection, budget_bases, budgets, now_s):
        had[row["budget"]].add(row["group"])
        amounts[row["budget"]][row["group"]] += 0  # a budget that was removed is reported, too
    for row in rows_now(connection, budget_spend, budgets, now_s):
        # It is in `budget_spend`, and will be added again.
        amounts[row["budget"]][row["group"]] -= int(row["amount"])
    for alike, (start, end) in _alike(budgets, now_s):
        for name, group, amount in _spent(connection, alike, start, end):
            amounts[name][group] += amount

    for table in (budget_definitions, budget_bases):
        connection.execute(
            sa.delete(table).where(table.c.budget == sa.bindparam("name")), [{"name": name} for name in amounts]
        )
    since = int(now_s * 1e6)
    definitions = []
    bases = []
    for budget in budgets:
        name, (start, end) = budget.name, budget.window_now(now_s)
        # Later than the one before by a clock that another instance has, or that was set back.
        later = max(since, before[name] + 1) if name in before else since
        definitions.append({"budget": name, "digest": budget.definition, "since_at": later})
        amounts[name][""] += budget.opened_with(start, end)
        of_budget = {"budget": name, "window_start": start, "measure": budget.measure}
        bases += [
            of_budget | {"group": group, "amount": amount}
            for group, amount in amounts.pop(name).items()
            if amount or group in had[name]
        ]
    connection.execute(sa.insert(budget_definitions), definitions)
    if bases:
        connection.execute(sa.insert(budget_bases), bases)


def _alike(budgets: Sequence[Budget], now_s: float) -> Iterator[tuple[Sequence[Budget], tuple[int, int | None]]]:
    """The budgets in parts that one look at the entries answers, each with its window: they go by the same attributes."""
    parts: dict[Any, list[Budget]] = {}
    for budget in budgets:
        window, names = budget.window_now(now_s), frozenset(_columns_of(budget))
        parts.setdefault((window, names, budget.measure == "tokens"), []).append(budget)
    for (window, _, _), part in parts.items():
        yield part, window


def _columns_of(budget: Budget) -> list[str]:
    """The attributes that a call is looked at by; all labels as one."""
    names = (*(name for name, _ in budget.match), *budget.per)
    return list(dict.fromkeys("labels" if name.startswith("label.") else name for name in names))


def _spent(
    connection: Connection, budgets: Sequence[Budget], start: int, end: int | None
) -> Iterator[tuple[str, str, int]]:
    """What the entries of the window come to by the definitions of these budgets, which are alike: a budget's name, a group and
    a part of its sum."""
    columns = [_COLUMNS[name].label(f"a_{name}") for name in _columns_of(budgets[0])]
    units = list(TOKEN_COLUMNS.items()) if budgets[0].measure == "tokens" else []
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
    candidates = _candidates(budgets)
    for row in connection.execute(statement).mappings():
        if row["cost"] is None:
            continue  # the sum of nothing
        attributes = _attributes(row)
        used = Amounts(int(row["cost"]), {unit: int(row[f"u_{unit}"]) for unit, _ in units}, int(row["requests"]))
        for budget in candidates(attributes):
            if budget.matches(attributes):
                yield budget.name, budget.group(attributes), used.of(budget.measure, budget.units)


def _candidates(budgets: Sequence[Budget]) -> Callable[[Mapping[str, str | None]], Iterator[Budget]]:
    """Of which budgets some calls may be, by what they are attributed to: most of many name one customer or team each."""
    by_value: dict[str, dict[str | None, list[Budget]]] = defaultdict(lambda: defaultdict(list))
    others: list[Budget] = []
    for budget in budgets:
        exact = (item for item in budget.match if not any(value.endswith("*") for value in item[1]))
        attribute, values = next(exact, ("", ()))
        for value in dict.fromkeys(values):
            by_value[attribute][value].append(budget)
        if not attribute:
            others.append(budget)

    def candidates(attributes: Mapping[str, str | None]) -> Iterator[Budget]:
        yield from others
        for attribute, named in by_value.items():
            yield from named.get(attributes.get(attribute), ())

    return candidates


def _attributes(row: Mapping[Any, Any]) -> dict[str, str | None]:
    """A row of columns that are called a_ATTRIBUTE."""
    attributes = {column[2:]: value for column, value in row.items() if column.startswith("a_")}
    labels = attributes.pop("labels", None)
    return attributes | {f"label.{name}": value for name, value in orjson.loads(labels or b"{}").items()}
