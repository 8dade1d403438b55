"""Budgets as they stand: the configuration's budgets with what the data planes' counters say. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from proxy.budgets.budget import Budget
from proxy.money import usd_text


def budgets_as_they_stand(
    budgets: Sequence[Budget], standings: Sequence[Mapping[str, Any]], now_s: float
) -> list[dict[str, Any]]:
    """The API's budgets. Amounts are USD as decimal strings, or counts of tokens or requests; `groups` where there are some."""
    items = []
    for budget in budgets:
        start, end = budget.window_now(now_s)
        limit = budget.limit_for("", now_s)
        mine = [row for row in standings if row["budget"] == budget.name and row["window_start"] == start]
        spent, reserved = sum(row["spent"] for row in mine), sum(row["reserved"] for row in mine)
        show = usd_text if budget.measure == "usd" else int
        unit = {"usd": "_usd", "tokens": "_tokens", "requests": "_requests"}[budget.measure]
        items.append(
            {
                "name": budget.name,
                f"limit{unit}": show(limit),
                f"spent{unit}": show(spent),
                f"reserved{unit}": show(reserved),
                f"remaining{unit}": show(max(0, limit - spent - reserved)) if not budget.per else None,
                "window": {"start": _moment(start), "end": _moment(end)} if end else {"start": None, "end": None},
                "action": "block" if budget.hard else "warn",
                "per": list(budget.per),
                "groups": [
                    {
                        "group": row["group"],
                        f"limit{unit}": show(budget.limit_for(row["group"], now_s)),
                        f"spent{unit}": show(row["spent"]),
                        f"reserved{unit}": show(row["reserved"]),
                    }
                    for row in sorted(mine, key=lambda row: -row["spent"])
                ],
            }
        )
    return items


def _moment(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat().replace("+00:00", "Z")
