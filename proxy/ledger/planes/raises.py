"""Temporary raises of budgets: recorded with their time, in the one place that every instance reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.budgets.budget import Budget, bounded
from proxy.ids import Ids
from proxy.ledger.database import writing
from proxy.ledger.schema import budget_bases, budget_spend, raises
from proxy.money import NANO
from proxy.times import now_us

_MAX_AMOUNT = 9_000_000 * NANO


class RaiseProblem(ValueError):  # noqa: N818 - told to whoever asked for it
    """A raise that cannot be; the message says why."""


class UnknownGroupError(RaiseProblem):
    """No call was ever counted in the group, and nothing names it: it may be misspelt."""


class RaiseRequest(NamedTuple):
    """What somebody asks for: the budget's name, and by how much in its own measure (USD as a Decimal).

    group: of a budget with groups; None: all of them. until_s: epoch seconds; None: to the end of the current window, of a
    `total` for ever. reason: kept with the raise.
    """

    budget: str
    by: Decimal
    group: str | None = None
    until_s: float | None = None
    reason: str | None = None


def make_raise(
    engine: Engine,
    budgets: Sequence[Budget],
    wanted: RaiseRequest,
    *,
    now_s: float,
    named: Collection[str] | None = None,
) -> dict[str, Any]:
    """Record a raise; its row. Raises KeyError where there is no such budget, RaiseProblem where the raise makes no sense.

    named: groups that may be raised before the ledger has anything of them; None: any.
    """
    name, by, group, until_s, reason = wanted
    budget = _budget(budgets, name)
    amount = _amount(budget, by)
    if group is not None and not budget.per:
        raise RaiseProblem(f"the budget {name!r} has no groups (`per`)")
    if group is not None and named is not None and group not in named and not _is_known(engine, budget, group):
        raise UnknownGroupError(f"the budget {name!r} has no group {group!r}: no call was ever counted in it")
    if until_s is None:
        until_s = budget.window_now(now_s)[1]
    if until_s is not None and until_s <= now_s:
        raise RaiseProblem("the end of the raise lies in the past")
    row = _row(name, group, amount, None if until_s is None else int(until_s * 1e6), now_s, reason)
    with writing(engine).begin() as connection:
        connection.execute(sa.insert(raises), row)
    return row


def end_raise(engine: Engine, raise_id: str, now_s: float) -> dict[str, Any] | None:
    """End a raise that is in force; its row, which stays on record. None where there is none of this id."""
    with writing(engine).begin() as connection:
        return _end(connection, raise_id, now_s)


def lower_raise(
    engine: Engine, budgets: Sequence[Budget], raise_id: str, *, to: Decimal, now_s: float
) -> dict[str, Any] | None:
    """End a raise and make a smaller one in its place, for the same group and as long. None where there is none of this id;
    raises RaiseProblem where it would not be smaller, KeyError where its budget is gone."""
    with writing(engine).begin() as connection:
        old = _end(connection, raise_id, now_s)
        if old is None:
            return None
        amount = _amount(_budget(budgets, old["budget"]), to)
        if amount >= old["by_amount"]:
            raise RaiseProblem("a raise can only be lowered; to raise further, make another one")
        row = _row(old["budget"], old["group"], amount, old["until_at"], now_s, old["reason"])
        connection.execute(sa.insert(raises), row)
        return row


def _end(connection: Connection, raise_id: str, now_s: float) -> dict[str, Any] | None:
    """The row as it was."""
    this_raise = sa.and_(raises.c.id == raise_id, _not_ended(int(now_s * 1e6)))
    row = connection.execute(sa.select(raises).where(this_raise)).mappings().first()
    if row is not None:
        connection.execute(sa.update(raises).where(this_raise).values(until_at=int(now_s * 1e6)))
    return None if row is None else dict(row)


def _budget(budgets: Sequence[Budget], name: str) -> Budget:
    budget = next((budget for budget in budgets if budget.name == name), None)
    if budget is None:
        raise KeyError(name)
    return budget


def _amount(budget: Budget, by: Decimal) -> int:
    scale = NANO if budget.measure == "usd" else 1
    if not 0 < by <= _MAX_AMOUNT // scale or (amount := by * scale) != int(amount):
        unit = "USD, no finer than a nano-dollar" if budget.measure == "usd" else budget.measure
        raise RaiseProblem(f"a raise must be above 0 and at most 9,000,000 ({unit})")
    return int(amount)


def _is_known(engine: Engine, budget: Budget, group: str) -> bool:
    """Whether anything was ever counted in the group, whatever the window, or it was raised before."""
    with engine.connect() as connection:
        for table in (budget_spend, budget_bases, raises):
            its_rows = sa.select(table.c.budget).where(table.c.budget == budget.name, table.c.group == group).limit(1)
            if connection.execute(its_rows).first() is not None:
                return True
    return False


def _row(
    name: str, group: str | None, amount: int, until_at: int | None, now_s: float, reason: str | None
) -> dict[str, Any]:
    now = int(now_s * 1e6)
    values = {"budget": name, "group": group, "by_amount": amount, "until_at": until_at, "created_at": now}
    values |= {"reason": reason or None}
    return {"id": Ids().new(now)} | values


def _not_ended(now: int) -> sa.ColumnElement[bool]:
    return sa.or_(raises.c.until_at.is_(None), raises.c.until_at > now)


def named_groups(budget: Budget, keys: Iterable[Mapping[str, Any]]) -> set[str]:
    """The groups of a budget that its overrides and these keys name: a call may come for each of them.

    keys: `name`, `team`, `user` and `customer` each.
    """
    named = set(budget.overrides)
    if len(budget.per) == 1 and budget.per[0] in _OF_KEYS:
        attribute = _OF_KEYS[budget.per[0]]
        named |= {bounded(key[attribute]) for key in keys if key[attribute]}
    return named


_OF_KEYS = {"key": "name", "team": "team", "user": "user", "customer": "customer"}


def in_force(engine: Engine, now_s: float | None = None) -> list[dict[str, Any]]:
    """The raises that have not ended, as plain values."""
    now = now_us() if now_s is None else int(now_s * 1e6)
    query = sa.select(raises).where(_not_ended(now)).order_by(raises.c.id)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
