"""What repricings lately took from or gave back to budgets: for data planes that went on without a control process.

A data plane that starts gets what the ledger says was spent. One that has counted on since an earlier life of the control
process hears of what is shipped in the new one before it is back; an id is charged once, so that hearing it again does nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

_LATELY_S = 600.0  # far less than an id is remembered


class Charges:
    """All of it on the process's loop."""

    def __init__(self) -> None:
        self.count = 0  # of all that were ever noted
        self._noted: deque[tuple[float, Any]] = deque()

    def note(self, charges: Sequence[Any], now_s: float) -> None:
        """charges: as `corrections.repricings` has them."""
        self.count += len(charges)
        self._noted.extend((now_s, charge) for charge in charges)
        self._forget(now_s)

    def lately(self, now_s: float) -> list[Any]:
        self._forget(now_s)
        return [charge for _, charge in self._noted]

    def _forget(self, now_s: float) -> None:
        while self._noted and self._noted[0][0] < now_s - _LATELY_S:
            self._noted.popleft()
