"""What sessions cost in all processes, without a round trip a call: what Redis said last, and what came here since. No I/O.

For headers, not for budgets: what other processes added is as old as the last answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from proxy.bounded_table import BoundedTable

_MOST = 20_000
_MOST_TOLD = 400
FRESH_S = 1.0
"""What was said longer ago is asked for anew."""


class _Known(NamedTuple):
    total: int
    at_s: float


class SharedSessionCosts:
    """By the names that sessions have in Redis; amounts in nano-USD."""

    def __init__(self) -> None:
        self._known: BoundedTable[str, _Known] = BoundedTable(_MOST)
        self._untold: dict[str, int] = {}

    def total(self, name: str, now_s: float) -> int | None:
        """What it has cost; None where that was not said lately."""
        known = self._known.get(name)
        if known is None or known.at_s < now_s - FRESH_S:
            return None
        return known.total + self._untold.get(name, 0)

    def add(self, name: str, nanousd: int) -> None:
        """To be told. A store that is away for long is told of the latest, for bounded memory."""
        untold = self._untold
        if len(untold) >= _MOST and name not in untold:
            del untold[next(iter(untold))]
        untold[name] = untold.get(name, 0) + nanousd

    def take(self, name: str) -> list[tuple[str, int]]:
        """What is to be told of this session, which is told from here on."""
        return [(name, self._untold.pop(name, 0))]

    def take_all(self) -> Iterator[list[tuple[str, int]]]:
        """What is to be told by now, some at a time, each told from when it is given out; without what comes meanwhile."""
        untold, names = self._untold, list(self._untold)
        for at in range(0, len(names), _MOST_TOLD):
            some = [(name, untold.pop(name)) for name in names[at : at + _MOST_TOLD] if name in untold]
            if some:
                yield some

    def note_totals(self, names: Sequence[str], totals: Sequence[int], now_s: float, asked: str = "") -> None:
        """asked: the session whose total somebody waits for. Of one that nobody here ever asked for none is kept."""
        for name, total in zip(names, totals, strict=True):
            if name == asked or name in self._known:
                self._known[name] = _Known(total, now_s)
