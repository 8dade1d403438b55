"""The state of all metrics: integers, as the ledger database has them. A batch is added to it once it is committed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.control.metrics.observed import Observed
from proxy.control.metrics.quiet_sessions import Call, Sessions, call_of
from proxy.control.metrics.table import BY_NAME, Key
from proxy.ledger.entries.row import Row
from proxy.ledger.schema import entries, metric_state
from proxy.times import now_us

_QUIET_S = 900.0
_MEASURED = "_sessions_measured_until"  # a row of metric_state: epoch microseconds
_LONGEST_CALL = 86_400 * 1_000_000


class Exemplar(NamedTuple):
    """The call behind a histogram's latest value: what leads from a graph to the ledger without a label."""

    request_id: str
    session_id: str
    value: int


class MetricState:
    """All series of one instance: what is in the database. Changed by the recorder's thread, read by the API's."""

    def __init__(self, sessions: Sessions | None = None, instance: str = "") -> None:
        self._instance = instance
        self.lock = threading.Lock()
        self.counters: dict[Key, int] = {}
        self.histograms: dict[Key, list[int]] = {}  # a count for each bucket, then +Inf, then the sum
        self.exemplars: dict[Key, Exemplar] = {}
        self.models: set[str] = set()
        self.teams: set[str] = set()
        self.sessions = Sessions(_QUIET_S) if sessions is None else sessions
        self._observed: Observed | None = None  # what may or may not have been committed

    @classmethod
    def load(cls, engine: Engine, instance: str, session_quiet_s: float = _QUIET_S) -> MetricState:
        """The state as the ledger database has it."""
        state = cls(Sessions(session_quiet_s), instance)
        with engine.connect() as connection:
            state.begin_again(connection)
        return state

    def begin_again(self, connection: Connection) -> None:
        """Forget what is not in the database."""
        columns = (metric_state.c.name, metric_state.c.labels, metric_state.c.value)
        query = sa.select(*columns).where(metric_state.c.instance == self._instance)
        rows = [(row[0], row[1], row[2]) for row in connection.execute(query)]
        until = next((int(value) for name, _, value in rows if name == _MEASURED), 0)
        sessions = self.sessions.anew(until)
        if rows:  # a new instance has recorded none, and would look for them among all entries
            sessions.resume(_calls_since(connection, self._instance, until))
        self._observed = None
        self.reload(rows)
        self.sessions = sessions

    def reload(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Begin again from (name, labels as JSON, value as JSON); rows that are no metric's are somebody else's."""
        with self.lock:
            self.counters.clear()
            self.histograms.clear()
            for name, labels, text in rows:
                if name in BY_NAME:
                    key, value = (name, _all_labels(name, orjson.loads(labels))), json.loads(text)
                    (self.histograms if isinstance(value, list) else self.counters)[key] = value
                    if name == "requests_total":
                        values = dict(zip(BY_NAME[name].labels, key[1], strict=True))
                        self.models.add(values["model"])
                        self.teams.add(values["team"])
            if self._observed is not None:
                self._add_sessions(self._observed)

    def due(self) -> bool:
        """Whether there is something to write down without any entry: a session has gone quiet."""
        return self.sessions.any_quiet_at(now_us())

    def observe(self) -> Observed:
        """What a batch is observed by; nothing of it is seen here until it is added."""
        now = now_us()
        self._observed = Observed(self.models, self.teams, now, self.sessions.quiet_at(now))
        return self._observed

    def changed_by(self, observed: Observed) -> list[tuple[str, str, str]]:
        """(name, labels as JSON, value as JSON) of every series that the batch changes, with the batch added."""
        observed.spread()
        rows = [
            (key[0], orjson.dumps(key[1]).decode(), str(self.counters.get(key, 0) + amount))
            for key, amount in observed.counters.items()
        ]
        for key, counts in observed.histograms.items():
            rows.append((key[0], orjson.dumps(key[1]).decode(), json.dumps(self._histogram_with(key, counts))))
        rows.append((_MEASURED, "[]", str(self.sessions.until(observed.now, observed.calls))))
        return rows

    def add(self, observed: Observed) -> None:
        """The batch is in the database: its observation becomes part of the state."""
        with self.lock:
            for key, amount in observed.counters.items():
                self.counters[key] = self.counters.get(key, 0) + amount
            for key, counts in observed.histograms.items():
                self.histograms[key] = self._histogram_with(key, counts)
            for key, exemplar in observed.exemplars.items():
                self.exemplars[key] = Exemplar(*exemplar)
            self.models |= observed.models
            self.teams |= observed.teams
            self._add_sessions(observed)

    def _add_sessions(self, observed: Observed) -> None:
        self.sessions.advance(observed.now, observed.quiet, observed.calls)
        self._observed = None

    def _histogram_with(self, key: Key, counts: list[int]) -> list[int]:
        """The histogram with `counts` added."""
        histogram = self.histograms.get(key)
        return [a + b for a, b in zip(histogram, counts, strict=True)] if histogram else counts


_NAMES_AT_ONCE = 200


def _all_labels(name: str, values: list[str]) -> tuple[str, ...]:
    """The labels' values; one that was written before its metric had the label has "" for it."""
    return (*values, *[""] * (len(BY_NAME[name].labels) - len(values)))


def _calls_since(connection: Connection, instance: str, until: int) -> Iterable[Call]:
    """The calls of every session that was heard of since, in the order in which they ended."""
    e = entries.c
    lately = sa.select(e.root_session_id).where(
        e.instance == instance, e.started_at > until - _LONGEST_CALL, e.ended_at > until
    )
    # Named one by one, they are found by their index; asked for in one question, a large ledger was read from end to end.
    names = connection.execute(lately.distinct()).scalars().all()
    calls: list[Call] = []
    for first in range(0, len(names), _NAMES_AT_ONCE):
        some = names[first : first + _NAMES_AT_ONCE]
        query = sa.select(entries).where(e.root_session_id.in_(some), e.instance == instance)
        calls += [call for row in connection.execute(query) if (call := call_of(Row._make(row))) is not None]
    return sorted(calls, key=attrgetter("ended_at"))
