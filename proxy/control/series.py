"""The state of all metrics: integers, as the ledger database has them. A batch is added to it once it is committed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from typing import NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.control.metrics import BY_NAME, Key
from proxy.control.observed import Observed
from proxy.ledger.schema import metric_state


class Exemplar(NamedTuple):
    """The call behind a histogram's latest value: what leads from a graph to the ledger without a label."""

    request_id: str
    session_id: str
    value: int


class MetricState:
    """All series of one instance: what is in the database. Changed by the recorder's thread, read by the API's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counters: dict[Key, int] = {}
        self.histograms: dict[Key, list[int]] = {}  # a count for each bucket, then +Inf, then the sum
        self.exemplars: dict[Key, Exemplar] = {}
        self.models: set[str] = set()
        self.teams: set[str] = set()

    @classmethod
    def load(cls, engine: Engine, instance: str) -> MetricState:
        """The state as the ledger database has it."""
        state = cls()
        columns = (metric_state.c.name, metric_state.c.labels, metric_state.c.value)
        with engine.connect() as connection:
            rows = connection.execute(sa.select(*columns).where(metric_state.c.instance == instance)).all()
        state.reload((name, labels, value) for name, labels, value in rows)
        return state

    def reload(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Begin again from (name, labels as JSON, value as JSON); rows that are no metric's are somebody else's."""
        with self.lock:
            self.counters.clear()
            self.histograms.clear()
            for name, labels, text in rows:
                if name in BY_NAME:
                    key, value = (name, tuple(orjson.loads(labels))), json.loads(text)
                    (self.histograms if isinstance(value, list) else self.counters)[key] = value
                    if name == "requests_total":
                        said = dict(zip(BY_NAME[name].labels, key[1], strict=True))
                        self.models.add(said["model"])
                        self.teams.add(said["team"])

    def observe(self) -> Observed:
        """What a batch is observed by; nothing of it is seen here until it is added."""
        return Observed(self.models, self.teams)

    def changed_by(self, observed: Observed) -> list[tuple[str, str, str]]:
        """(name, labels as JSON, value as JSON) of every series that the batch changes, with the batch added."""
        observed.spread()
        rows = [
            (key[0], orjson.dumps(key[1]).decode(), str(self.counters.get(key, 0) + amount))
            for key, amount in observed.counters.items()
        ]
        for key, counts in observed.histograms.items():
            rows.append((key[0], orjson.dumps(key[1]).decode(), json.dumps(self._histogram_with(key, counts))))
        return rows

    def add(self, observed: Observed) -> None:
        """The batch is in the database: its observation becomes part of the state."""
        with self.lock:
            for key, amount in observed.counters.items():
                self.counters[key] = self.counters.get(key, 0) + amount
            for key, counts in observed.histograms.items():
                self.histograms[key] = self._histogram_with(key, counts)
            for key, (row, value) in observed.exemplars.items():
                self.exemplars[key] = Exemplar(row["request_id"], row["root_session_id"] or "", value)
            self.models |= observed.models
            self.teams |= observed.teams

    def _histogram_with(self, key: Key, counts: list[int]) -> list[int]:
        """The histogram with `counts` added."""
        known = self.histograms.get(key)
        return [a + b for a, b in zip(known, counts, strict=True)] if known else counts
