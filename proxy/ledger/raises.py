"""Temporary raises of budgets: recorded with their time, in the one place that every instance reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.budgets.budget import Budget, Raise
from proxy.ids import Ids
from proxy.ledger.database import writing
from proxy.ledger.schema import raises
from proxy.money import NANO
from proxy.times import now_us

_MAX_AMOUNT = 9_000_000 * NANO


class RaiseProblem(ValueError):  # noqa: N818 - told to whoever asked for it
    """A raise that cannot be; the message says why."""


def make_raise(
    engine: Engine,
    budgets: Sequence[Budget],
    name: str,
    *,
    by: Any,
    group: str | None,
    until_s: float | None,
    now_s: float,
) -> dict[str, Any]:
    """Record a raise of the budget `name` by an amount in its own measure (USD as a Decimal); the row. Raises KeyError
    where there is no such budget, RaiseProblem where the raise makes no sense.

    until_s: epoch seconds; None: to the end of the current window, of a `total` for ever.
    """
    budget = next((one for one in budgets if one.name == name), None)
    if budget is None:
        raise KeyError(name)
    scale = NANO if budget.measure == "usd" else 1
    if not 0 < by <= _MAX_AMOUNT // scale or (amount := by * scale) != int(amount):
        unit = "USD, no finer than a nano-dollar" if budget.measure == "usd" else budget.measure
        raise RaiseProblem(f"a raise must be above 0 and at most 9,000,000 ({unit})")
    if group is not None and not budget.per:
        raise RaiseProblem(f"the budget {name!r} has no groups (`per`)")
    if until_s is None:
        until_s = budget.window_now(now_s)[1]
    if until_s is not None and until_s <= now_s:
        raise RaiseProblem("the end of the raise lies in the past")
    row = {
        "id": Ids().new(int(now_s * 1e6)),
        "budget": name,
        "group": group,
        "by_amount": int(amount),
        "until_at": None if until_s is None else int(until_s * 1e6),
        "created_at": int(now_s * 1e6),
    }
    with writing(engine).begin() as connection:
        connection.execute(sa.insert(raises), row)
    return row


def in_force(engine: Engine, now_s: float | None = None) -> list[dict[str, Any]]:
    """The raises that have not ended, as plain values."""
    now = now_us() if now_s is None else int(now_s * 1e6)
    query = sa.select(raises).where(sa.or_(raises.c.until_at.is_(None), raises.c.until_at > now)).order_by(raises.c.id)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def as_raises(rows: Sequence[Mapping[str, Any]]) -> list[Raise]:
    return [
        Raise(row["budget"], row["group"], row["by_amount"], None if row["until_at"] is None else row["until_at"] / 1e6)
        for row in rows
    ]
