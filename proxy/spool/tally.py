"""Counts of what has no INTENT of its own: refusals at the door, and what soft budgets would have refused."""

from __future__ import annotations

from dataclasses import field

from pricing.values import slotted
from proxy.spool import records


@slotted
class Tally:
    """Counts of what has no INTENT, handed to the spool at most once a second. refused: of all that was refused, for the
    log, which waits neither for the spool nor for the ledger."""

    refusals: dict[tuple[str, str | None], int] = field(default_factory=dict)
    refused: dict[tuple[str, str | None], int] = field(default_factory=dict)
    would_refuse: dict[str, int] = field(default_factory=dict)

    def refuse(self, reason: str, budget: str | None, *, recorded: bool = False) -> None:
        """recorded: it closed an INTENT, and is counted by that."""
        key = (reason, budget)
        self.refused[key] = self.refused.get(key, 0) + 1
        if not recorded:
            self.refusals[key] = self.refusals.get(key, 0) + 1

    def would(self, budget: str) -> None:
        self.would_refuse[budget] = self.would_refuse.get(budget, 0) + 1

    def __bool__(self) -> bool:
        return bool(self.refusals or self.would_refuse)

    def take_refused(self) -> dict[tuple[str, str | None], int]:
        """How many calls were refused since this was last asked, by reason and budget."""
        taken, self.refused = self.refused, {}
        return taken

    def record(self, now_us: int) -> records.Tally:
        """The `tally` record of what has come together; once it is written, `clear`."""
        return {
            "t": "tally",
            "at": now_us,
            "refusals": [[reason, budget, count] for (reason, budget), count in self.refusals.items()],
            "would_refuse": [[budget, count] for budget, count in self.would_refuse.items()],
        }

    def clear(self) -> None:
        self.refusals, self.would_refuse = {}, {}
