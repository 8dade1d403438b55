"""Which sessions are going on, so that each can be measured once it has gone quiet. Pure: time is an argument.

A session is a root with all below it. A call that names no session is one of its own and is not watched: it would say
nothing about agents. A session that goes on after it was quiet is measured again, from there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple

from proxy.ledger.entries.entry import Shipped
from proxy.ledger.entries.row import Row
from proxy.ledger.schema import NOT_COUNTED

MAX_OPEN = 100_000
_MICRO = 1_000_000


_CALL = (
    "session_source", "session_id", "root_session_id", "status", "kind", "team", "client", "ended_at", "cost_nanousd",
)  # fmt: skip


class Call(NamedTuple):
    """What an entry adds to its session. requests is 0 for a correction."""

    session_id: str
    team: str
    client: str
    ended_at: int  # epoch microseconds
    requests: int
    cost_nanousd: int


class Session(NamedTuple):
    """What a session came to."""

    session_id: str
    team: str
    client: str
    last_at: int  # epoch microseconds
    requests: int
    cost_nanousd: int


def call_of(row: Row) -> Call | None:
    """The entry as its session sees it; None where it says nothing of one."""
    root: str | None = row.root_session_id
    alone = row.session_source == "none" and root == row.session_id
    if not root or alone or row.status in NOT_COUNTED:
        return None
    requests = 1 if row.kind == "attempt" else 0
    cost = row.cost_nanousd or 0
    return Call(root, row.team or "", row.client or "other", row.ended_at, requests, cost)


def calls_of(shipped: Shipped) -> list[Call]:
    """As `call_of`, of each of these that says something of its session."""
    columns = list(map(shipped.column, _CALL))
    sources, sessions, roots, *_ = columns
    if sessions == roots and sources.count("none") == len(sources):
        return []  # each call is a session of its own
    return [
        Call(root, team or "", client or "other", ended_at, 1 if kind == "attempt" else 0, cost or 0)
        for source, session, root, status, kind, team, client, ended_at, cost in zip(*columns, strict=True)
        if not (source == "none" and root == session) and root and status not in NOT_COUNTED
    ]


class Sessions:
    """The sessions that are going on, the longest silent first. `measured_until`: what fell silent by then is measured."""

    def __init__(self, quiet_s: float, measured_until: int = 0) -> None:
        self._quiet = int(quiet_s * _MICRO)
        self._open: OrderedDict[str, Session] = OrderedDict()
        self.measured_until = measured_until

    def anew(self, measured_until: int) -> Sessions:
        """The same, without any session."""
        return Sessions(self._quiet / _MICRO, measured_until)

    def __len__(self) -> int:
        return len(self._open)

    def quiet_at(self, now: int) -> list[Session]:
        """Those to be measured: quiet for long enough, and the longest silent where there are too many."""
        too_many = len(self._open) - MAX_OPEN
        numbered = enumerate(self._open.values())
        due = takewhile(lambda item: item[0] < too_many or item[1].last_at <= now - self._quiet, numbered)
        return [session for _, session in due]

    def any_quiet_at(self, now: int) -> bool:
        return bool(self._open) and next(iter(self._open.values())).last_at <= now - self._quiet

    def until(self, now: int, calls: Iterable[Call]) -> int:
        """What `measured_until` is once those quiet at `now` are measured and these calls, ended long ago perhaps, added."""
        return max(self.measured_until, min([now - self._quiet, *(call.ended_at - 1 for call in calls)]))

    def advance(self, now: int, measured: Iterable[Session], calls: Sequence[Call]) -> None:
        """Forget what is measured, and add these calls."""
        self.measured_until = self.until(now, calls)
        for session in measured:
            del self._open[session.session_id]
        for call in calls:
            self._add(call)

    def _add(self, call: Call) -> None:
        session = self._open.get(call.session_id)
        if session is None:
            if call.requests:  # a late correction is not a session
                self._open[call.session_id] = Session(*call)
            return
        self._open[call.session_id] = session._replace(
            last_at=max(session.last_at, call.ended_at),
            requests=session.requests + call.requests,
            cost_nanousd=session.cost_nanousd + call.cost_nanousd,
        )
        if call.requests:
            self._open.move_to_end(call.session_id)

    def resume(self, calls: Iterable[Call]) -> None:
        """Begin again from the ledger's entries, in the order in which they ended: what is measured already is left out."""
        for call in calls:
            open_session = self._open.get(call.session_id)
            if (
                open_session is not None
                and call.ended_at - open_session.last_at > self._quiet
                and self._is_measured(open_session)
            ):
                del self._open[call.session_id]
            self._add(call)
        for session in list(self._open.values()):
            if self._is_measured(session):
                del self._open[session.session_id]

    def _is_measured(self, session: Session) -> bool:
        return session.last_at <= self.measured_until
