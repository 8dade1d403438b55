"""What the groups of a budget come to together: for reports, without a value for each group. Pure."""

from __future__ import annotations

import math

from proxy.budgets.budget import Budget


class Totals:
    """Sums over the groups of one budget's current window, in the budget's measure.

    `over`: of each threshold in `alert_at`, how many groups stand at or above it.
    """

    def __init__(self, budget: Budget, now_s: float) -> None:
        self._budget = budget
        self._now_s = now_s
        self.spent = 0
        self.reserved = 0
        self.over = [0] * len(budget.alert_at)
        self.named = [*budget.overrides, *(one.group for one in budget.raises if one.group is not None)]
        limits = [budget.limit_for(group, now_s) for group in ("", *self.named)]
        # Most groups are far below: a group that has spent less than this need not be compared with its own limit.
        self._least = min(limits) * min(budget.alert_at, default=math.inf)

    def add(self, group: str, spent: int, reserved: int) -> None:
        self.spent += spent
        self.reserved += reserved
        if spent >= self._least:
            limit = self._budget.limit_for(group, self._now_s)
            for place, threshold in enumerate(self._budget.alert_at):
                self.over[place] += spent >= limit * threshold

    def as_message(self) -> dict[str, object]:
        return {"budget": self._budget.name, "spent": self.spent, "reserved": self.reserved, "over": self.over}
