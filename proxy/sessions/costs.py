"""What each session has cost so far, for the response headers."""

from __future__ import annotations

from proxy.bounded_table import BoundedTable

_MAX_SESSIONS = 100_000
_BITS = 2**60 - 1  # of a hash: what Python keeps in one number of the smallest size


class SessionCosts:
    """The latest sessions' totals in nano-USD, by team and session id.

    By a hash of these, whose key only this process has: every call without a session is one of its own, and a hundred thousand
    ids with their pairs took twice the memory.
    """

    def __init__(self) -> None:
        self._nanousd: BoundedTable[int, int] = BoundedTable(_MAX_SESSIONS)

    def total(self, team: str | None, session_id: str) -> int:
        return self._nanousd.get(hash((team, session_id)) & _BITS) or 0

    def begin(self, team: str | None, session_id: str, nanousd: int) -> None:
        """What a session had cost before its first call here; where it had one, that total stands."""
        if hash((team, session_id)) & _BITS not in self._nanousd:
            self.add(team, session_id, nanousd)

    def add(self, team: str | None, session_id: str, nanousd: int) -> int:
        """Add a cost; the session's total with it."""
        key = hash((team, session_id)) & _BITS
        total = (self._nanousd.get(key) or 0) + nanousd
        self._nanousd[key] = total
        return total
