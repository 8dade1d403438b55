"""Budgets as they stand: the configuration's budgets with what the data planes' counters say. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from proxy.budgets.budget import Budget
from proxy.money import usd_text
from proxy.times import BadQuestion


def budgets_as_they_stand(
    budgets: Sequence[Budget], standings: Sequence[Mapping[str, Any]], now_s: float
) -> list[dict[str, Any]]:
    """The API's budgets. Amounts are USD as decimal strings, or counts of tokens or requests; `groups` where there are some."""
    items = []
    for budget in budgets:
        start, end = budget.window_now(now_s)
        limit = budget.limit_for("", now_s)
        group_rows = [row for row in standings if row["budget"] == budget.name and row["window_start"] == start]
        spent, reserved = sum(row["spent"] for row in group_rows), sum(row["reserved"] for row in group_rows)
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
                    for row in sorted(group_rows, key=lambda row: (-row["spent"], row["group"]))
                ],
            }
        )
    return items


def page_of(
    items: Sequence[Mapping[str, Any]], most: int, after: str | None
) -> tuple[list[Mapping[str, Any]], str | None]:
    """Budgets with at most so many groups in all, from behind the place `after` on; and the place where the next page begins.

    A place is a budget, what its last group has spent, and that group. Raises `BadQuestion` where it is none.
    """
    place = None if after is None else _place(after)
    names = [item["name"] for item in items]
    if place is not None and place[0] not in names:
        raise BadQuestion("next: is not a place in this list; ask again without it")
    page: list[Mapping[str, Any]] = []
    last = after
    for item in items if place is None else items[names.index(place[0]) :]:
        groups = item["groups"]
        if place is not None and item["name"] == place[0]:
            groups = [group for group in groups if _rank(group) > place[1:]]
            if not groups:
                continue
        if groups and not most:
            return page, last
        taken, rest = groups[:most], groups[most:]
        page.append({**item, "groups": taken})
        if taken:
            most -= len(taken)
            last = json.dumps([item["name"], str(-_rank(taken[-1])[0]), taken[-1]["group"]])
        if rest:
            return page, last
    return page, None


def _rank(group: Mapping[str, Any]) -> tuple[Decimal, str]:
    """Those with most spent come first."""
    spent = next(value for name, value in group.items() if name.startswith("spent_"))
    return -Decimal(spent), group["group"]


def _place(text: str) -> tuple[str, Decimal, str]:
    try:
        name, spent, group = json.loads(text)
        return str(name), -Decimal(spent), str(group)
    except (ValueError, TypeError, RecursionError, InvalidOperation):
        raise BadQuestion("next: must be the `next` of an earlier page, unchanged") from None


def _moment(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat().replace("+00:00", "Z")
