"""Ships the spool to the ledger: in batches, each in one transaction with the counters and metrics that follow from it.

Exactly once: the position behind what is shipped is written in the same transaction, and the entry's id is unique in any
case. The database being away costs lag and nothing else: a batch is tried again until it is in.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from proxy.ledger.entries import Batch, Pairing, Row, budget_amounts, safe
from proxy.ledger.schema import budget_spend, entries, metric_state, spool_positions, writing
from proxy.ledger.spool import Position, SpoolReader, runs

log = logging.getLogger("taximeter.recorder")

_EVERY_S = 0.2
_MAX_ROWS = 5000
_RETRY_S = 0.5
_COLUMNS = [column.name for column in entries.columns]


class Metrics(Protocol):
    """What the recorder feeds; its state goes into the database with the rows that it was made from."""

    def observe_entry(self, row: Row, end: Mapping[str, Any]) -> None: ...

    def observe_refusal(self, reason: str, budget: str | None) -> None: ...

    def observe_tally(self, tally: Mapping[str, Any]) -> None: ...

    def changed(self) -> list[tuple[str, str, str]]:
        """(name, labels as JSON, value as JSON) of every series that changed since the last call."""
        ...


class _Run:
    """One spool run being shipped."""

    def __init__(self, reader: SpoolReader, pairing: Pairing) -> None:
        self.reader = reader
        self.pairing = pairing
        self.over = False
        self.at_end = False


class Recorder:
    """Reads every run in `folder` and writes the ledger. One for each data directory; not for several threads."""

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        *,
        instance: str,
        metrics: Metrics,
        on_shipped: Callable[[Sequence[Row]], None] | None = None,
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._instance = instance
        self._metrics = metrics
        self._on_shipped = on_shipped
        self._runs: dict[str, _Run] = {}
        self._insert = _insert_sql(engine)
        self._add_spend = _upsert(engine, budget_spend, adding="amount")
        self._set_metric = _upsert(engine, metric_state)
        self._set_position = _upsert(engine, spool_positions)
        self.database_down_since: float | None = None
        self.caught_up_at = 0.0
        self.unreadable_records = 0

    def run(self, stop: threading.Event) -> None:
        """Ship until `stop` is set and everything that is there by then is shipped."""
        while True:
            stopping = stop.is_set()
            while self.step():
                if stop.is_set() and self.database_down_since is not None:
                    return  # what is left stays in the spool for the next start
            if stopping:
                return
            stop.wait(_EVERY_S)

    def step(self) -> int:
        """Ship one batch; how many records it had. Waits (and comes back) while the database is away."""
        batch = Batch()
        count = self._read(batch)
        if not count and not batch and not any(run.over for run in self._runs.values()):
            self.caught_up_at = time.time()
            return 0
        for row, end in batch.timings:
            self._metrics.observe_entry(row, end)
        for reason, budget in batch.refusals:
            self._metrics.observe_refusal(reason, budget)
        for tally in batch.tallies:
            self._metrics.observe_tally(tally)
        self.unreadable_records += batch.unreadable
        changed = self._metrics.changed()
        while not self._try_write(batch, changed):
            time.sleep(_RETRY_S)
        if self._on_shipped is not None and batch.rows:
            self._on_shipped(batch.rows)
        self._forget_finished()
        return count

    def runs_of(self, worker: str) -> int:
        """How many of a worker's lives have something in the spool that may not be in the ledger."""
        return sum(1 for run in runs(self._folder) if run[:-37] == worker)

    @property
    def lag_s(self) -> float:
        """How long ago everything that was in the spool was in the ledger."""
        return max(0.0, time.time() - self.caught_up_at - _EVERY_S) if self.caught_up_at else 0.0

    @property
    def spool_bytes(self) -> int:
        return sum(run.reader.size_left() for run in self._runs.values())

    # Reading

    def _read(self, batch: Batch) -> int:
        count = 0
        for name in runs(self._folder):
            if name not in self._runs:
                self._runs[name] = self._resume(name)
        for run in self._runs.values():
            run.over = run.reader.is_over()
            records = run.reader.read(over=run.over)
            run.pairing.take(records, batch)
            count += len(records)
            run.at_end = not records
            if run.over and run.at_end:
                run.pairing.crashed(batch, time.time_ns() // 1000)
            if len(batch.rows) >= _MAX_ROWS:
                break
        return count

    def _resume(self, name: str) -> _Run:
        query = sa.select(spool_positions).where(spool_positions.c.run == name)
        while True:
            try:
                with self._engine.connect() as connection:
                    found = connection.execute(query).mappings().first()
                break
            except SQLAlchemyError as error:
                self._is_down(error)
                time.sleep(_RETRY_S)
        resume = Position(found["resume_segment"], found["resume_offset"]) if found else Position(0, 0)
        done = Position(found["done_segment"], found["done_offset"]) if found else Position(0, 0)
        return _Run(SpoolReader(self._folder, name, resume), Pairing(self._instance, done))

    # Writing

    def _try_write(self, batch: Batch, changed: Iterable[tuple[str, str, str]]) -> bool:
        try:
            with writing(self._engine).begin() as connection:
                rows = self._write_rows(connection, batch.rows)
                self._write_budgets(connection, rows)
                self._write_metrics(connection, changed)
                self._write_positions(connection)
        except SQLAlchemyError as error:
            self._is_down(error)
            return False
        if self.database_down_since is not None:
            log.warning("the ledger database is back after %.0f s", time.time() - self.database_down_since)
            self.database_down_since = None
        return True

    def _is_down(self, error: Exception) -> None:
        if self.database_down_since is None:
            self.database_down_since = time.time()
            log.error("the ledger database cannot be written (%s); the spool keeps everything", type(error).__name__)

    def _write_rows(self, connection: Connection, rows: list[Row]) -> list[Row]:
        """Insert; the rows that were really new. All of them, but for a batch that repeats what another one shipped."""
        if not rows:
            return rows
        values = [tuple(row.values()) for row in rows]
        try:
            with connection.begin_nested():
                done = connection.exec_driver_sql(self._insert, values)
                if done.rowcount == len(rows):
                    return rows
                raise _RepeatedError
        except _RepeatedError:
            pass
        except OverflowError:  # SQLite's driver, of an integer beyond 64 bits
            pass
        except DBAPIError as error:
            if error.connection_invalidated or not isinstance(error, sa.exc.DataError | sa.exc.IntegrityError):
                raise
        return [row for row in rows if self._write_row(connection, row)]

    def _write_row(self, connection: Connection, row: Row) -> bool:
        """One row by itself, so that one that no database takes is the only one that is missing, and is kept and told."""
        try:
            with connection.begin_nested():
                return connection.exec_driver_sql(self._insert, [tuple(safe(row).values())]).rowcount == 1
        except (sa.exc.DataError, sa.exc.IntegrityError) as error:
            log.error("entry %s cannot be written: %s", row["id"], type(error).__name__)
            self.unreadable_records += 1
            return False

    def _write_budgets(self, connection: Connection, rows: Iterable[Row]) -> None:
        amounts = budget_amounts(rows)
        if not amounts:
            return
        values = [
            {"budget": name, "group": group, "window_start": start, "measure": measure, "amount": amount}
            for (name, group, start, measure), amount in amounts.items()
        ]
        connection.execute(self._add_spend, values)

    def _write_metrics(self, connection: Connection, changed: Iterable[tuple[str, str, str]]) -> None:
        values = [
            {"instance": self._instance, "name": n, "labels": labels, "value": value} for n, labels, value in changed
        ]
        if values:
            connection.execute(self._set_metric, values)

    def _write_positions(self, connection: Connection) -> None:
        finished = [name for name, run in self._runs.items() if run.over and run.at_end]
        if finished:
            connection.execute(sa.delete(spool_positions).where(spool_positions.c.run.in_(finished)))
        values = []
        for name, run in self._runs.items():
            if name not in finished:
                done = run.reader.position
                resume = run.pairing.resume_at(done)
                values.append(
                    {
                        "run": name,
                        "resume_segment": resume.segment,
                        "resume_offset": resume.offset,
                        "done_segment": done.segment,
                        "done_offset": done.offset,
                    }
                )
        if values:
            connection.execute(self._set_position, values)

    def _forget_finished(self) -> None:
        for name, run in list(self._runs.items()):
            if run.over and run.at_end:
                run.reader.delete()
                del self._runs[name]
            else:
                run.reader.delete_before(run.pairing.resume_at(run.reader.position))


class _RepeatedError(Exception):
    """Some rows of a batch were in the ledger already."""


def _insert_sql(engine: Engine) -> str:
    """The INSERT of a whole row, compiled once; executed by the driver with tuples, past SQLAlchemy's per-row work."""
    quote = engine.dialect.identifier_preparer.quote
    mark = "?" if engine.dialect.name == "sqlite" else "%s"
    names = ", ".join(quote(name) for name in _COLUMNS)
    marks = ", ".join([mark] * len(_COLUMNS))
    return f"INSERT INTO entries ({names}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING"  # noqa: S608 - our own names


def _upsert(engine: Engine, table: sa.Table, adding: str | None = None) -> Any:
    """INSERT, or UPDATE of what is not the key where the key is there; the column `adding` adds to what is there."""
    insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    new: dict[str, Any] = {name: statement.excluded[name] for name in table.columns.keys() if name not in keys}  # noqa: SIM118 - iterating gives columns, not names
    if adding is not None:
        new[adding] = table.c[adding] + new[adding]
    return statement.on_conflict_do_update(index_elements=keys, set_=new)
