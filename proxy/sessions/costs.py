"""What each session has cost so far, for the response headers."""

from __future__ import annotations

from proxy.latest import Latest

_MAX_SESSIONS = 100_000


class SessionCosts:
    """The latest sessions' totals in nano-USD, by team and session id."""

    def __init__(self) -> None:
        self._nanousd: Latest[tuple[str | None, str], int] = Latest(_MAX_SESSIONS)

    def total(self, team: str | None, session_id: str) -> int:
        return self._nanousd.get((team, session_id)) or 0

    def begin(self, team: str | None, session_id: str, nanousd: int) -> None:
        """What a session had cost before its first call here; where it had one, that total stands."""
        if (team, session_id) not in self._nanousd:
            self.add(team, session_id, nanousd)

    def add(self, team: str | None, session_id: str, nanousd: int) -> int:
        """Add a cost; the session's total with it."""
        total = self.total(team, session_id) + nanousd
        self._nanousd[team, session_id] = total
        return total
