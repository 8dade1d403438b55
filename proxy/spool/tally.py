"""Counts of what has no INTENT of its own: refusals at the door, and what soft budgets would have refused."""

from __future__ import annotations

from dataclasses import field

from pricing.values import slotted
from proxy.spool import records


@slotted
class Tally:
    """Counts of what has no INTENT, handed to the spool at most once a second."""

    refusals: dict[tuple[str, str | None], int] = field(default_factory=dict)
    would_refuse: dict[str, int] = field(default_factory=dict)

    def refuse(self, reason: str, budget: str | None) -> None:
        key = (reason, budget)
        self.refusals[key] = self.refusals.get(key, 0) + 1

    def would(self, budget: str) -> None:
        self.would_refuse[budget] = self.would_refuse.get(budget, 0) + 1

    def take(self, now_us: int) -> records.Tally | None:
        """The `tally` record of what has come together, or None; starts again from nothing."""
        if not self.refusals and not self.would_refuse:
            return None
        record: records.Tally = {
            "t": "tally",
            "at": now_us,
            "refusals": [[reason, budget, count] for (reason, budget), count in self.refusals.items()],
            "would_refuse": [[budget, count] for budget, count in self.would_refuse.items()],
        }
        self.refusals, self.would_refuse = {}, {}
        return record
