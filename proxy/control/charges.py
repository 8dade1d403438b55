"""What repricings lately took from or gave back to budgets: for data planes that went on without a control process.

It is told before it is in the ledger, so that none is there of which nobody hears, whenever this process is killed: then it is
in the spool still, and told once more. An id is charged once, so that hearing it again does nothing. A data plane that starts
gets what the ledger says was spent, and the ids of what is in that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Engine

from proxy.ledger.entries.corrections import repricings
from proxy.ledger.entries.entry import Shipped
from proxy.ledger.planes.counters import ended_amounts

_LATELY_S = 600.0  # far less than an id is remembered


def unknown_charges(engine: Engine, shipped: Shipped) -> list[Any]:
    """Those of `repricings` that the ledger does not have yet: what it has is in what data planes began with. Raises
    SQLAlchemyError."""
    charges = repricings(shipped)
    known = ended_amounts(engine, [name for name, _ in charges]) if charges else {}
    return [charge for charge in charges if charge[0] not in known]


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
