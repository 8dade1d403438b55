"""One batch into the ledger: entries, counters, metrics and positions in one transaction, exactly once.

A commit whose answer is lost may have happened or not, so every batch carries a number, kept in the database with it: the
next try looks there first. Numbers grow by random steps, so that of two copies of the database which went on by themselves
(a promoted standby and the old primary) none has the other's. Rows that are in the ledger already (another instance charged
the attempt) are not counted again; where they were charged at the ceiling, a correction of the difference is written.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, RowMapping
from sqlalchemy.exc import DBAPIError

from proxy.jobs.machine import RUNNING, UNCONFIRMED
from proxy.ledger.beside import jobs
from proxy.ledger.beside.export_log import ENTRY, note
from proxy.ledger.beside.jobs import is_of_a_job
from proxy.ledger.beside.stored import write_stored
from proxy.ledger.database import writing
from proxy.ledger.entries.corrections import change_of, correction_of, entry_in_ledger
from proxy.ledger.entries.entry import Entry, Shipped, as_shipped, joined
from proxy.ledger.entries.row_checks import storable
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.inserting import Inserting
from proxy.ledger.rollups.sums import counted_columns
from proxy.ledger.rollups.writing import Rolling
from proxy.ledger.schema import NOT_COUNTED, budget_spend, entries, metric_state, spool_positions
from proxy.ledger.upserts import Upsert
from proxy.spool import records
from proxy.times import now_us

log = logging.getLogger("taximeter.recorder")

BATCH_NUMBER = "_batch"  # a row of metric_state: the number of the instance's last batch that was committed
_LOOK_UP = 500
# PostgreSQL's way to set hundreds at once: a tenth of the CPU of as many statements here, and a third less time there.
_SET_METRICS = (
    "INSERT INTO metric_state (instance, name, labels, value) "
    "SELECT %s, series->>0, series->>1, series->>2 FROM json_array_elements(%s::json) AS series "
    "ON CONFLICT (instance, name, labels) DO UPDATE SET value = excluded.value"
)
_COUNT_BATCH = "UPDATE metric_state SET value = %s WHERE instance = %s AND name = %s AND labels = '[]' AND value = %s"
_POSITION = [column.name for column in spool_positions.columns]


class Observed(Protocol):
    """What the entries of one batch add to the metrics."""

    def observe_entries(self, entries: Sequence[Entry]) -> None:
        """Never raises: what is in the ledger no metric can stop."""
        ...

    def observe_refusal(self, reason: str, budget: str | None) -> None: ...

    def observe_tally(self, tally: records.Tally) -> None: ...


class Metrics(Protocol):
    """What the recorder feeds; its state goes into the database with the rows that it was made from."""

    def due(self) -> bool:
        """Whether there is something to write down without any entry."""
        ...

    def observe(self) -> Observed:
        """A new observation, seen by nobody until it is added."""
        ...

    def changed_by(self, observed: Any) -> list[tuple[str, str, str]]:
        """(name, labels as JSON, value as JSON) of every series that the batch changes, with the batch added."""
        ...

    def add(self, observed: Any) -> None:
        """The batch is in the database: its observation becomes part of the state."""
        ...

    def reload(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Forget everything and begin from what the database has: the batch in doubt is in it."""
        ...

    def begin_again(self, connection: Connection) -> None:
        """Forget everything and begin from what the database has: it may be another copy than it was read of."""
        ...


class LedgerMovedError(Exception):
    """The database is not where this process left it: it is another copy. Nothing was written."""

    def __init__(self, known: int, last: int) -> None:
        super().__init__(f"batch {last} is the last of this instance in the ledger, and {known} was committed")


class Positions(NamedTuple):
    """How far each run is shipped with a batch: rows of `spool_positions`, and the runs that are over and done."""

    rows: list[dict[str, Any]]
    finished: list[str]


class Shipper:
    """Writes batches for one instance. Not for several threads."""

    def __init__(
        self, engine: Engine, instance: str, metrics: Metrics, capacity_of: Callable[[], Mapping[str, str]] = dict
    ) -> None:
        """capacity_of: by an upstream's name, the capacity whose cost its calls share."""
        self._engine = engine
        self._capacity_of = capacity_of
        self._instance = instance
        self._metrics = metrics
        self._inserting = Inserting(engine.dialect)
        self._add_spend = Upsert(budget_spend, engine.dialect, {"amount": "{there} + {new}"})
        self._set_metric = Upsert(metric_state, engine.dialect)
        self._set_position = Upsert(spool_positions, engine.dialect)
        self._count_batch = _COUNT_BATCH if engine.dialect.name == "postgresql" else _COUNT_BATCH.replace("%s", "?")
        self._rolling = Rolling(engine.dialect)
        self._number: int | None = None  # of the last batch that is known to be committed
        # The batch whose commit got no answer: its number, and what it inserted.
        self._in_doubt: tuple[int, Shipped] | None = None
        self.rejected: list[Entry] = []
        self.refuted: list[Entry] = []  # attempts whose reservations expired although they had ended, as they ended

    @property
    def number(self) -> int:
        """Of the last batch that is known to be committed; 0: none."""
        return self._number or 0

    def begin_again(self) -> None:
        """Take the database as it is: its number of batches, its metrics, both of one copy. Raises SQLAlchemyError."""
        with self._engine.connect() as connection:
            number = self._last_number(connection)
            self._metrics.begin_again(connection)
        self._number, self._in_doubt = number, None

    def check(self) -> None:
        """Whether the database is where this process left it. Raises LedgerMovedError where it is not, or SQLAlchemyError."""
        with self._engine.connect() as connection:
            self._check(connection)

    def _check(self, connection: Connection) -> None:
        last = self._last_number(connection)
        if self._number is not None and last != self._number:
            raise LedgerMovedError(self._number, last)

    def position_of(self, run: str) -> RowMapping | None:
        """How far a run is shipped; None where the database has not heard of it. Raises as `check`: one address may lead to
        another server each time, and what one copy of the ledger has is no place to go on from in the other."""
        with self._engine.connect() as connection:
            self._check(connection)
            return connection.execute(sa.select(spool_positions).where(spool_positions.c.run == run)).mappings().first()

    def ship(self, batch: Batch, positions: Positions) -> Shipped:
        """Write the batch; the entries that are new in the ledger. Raises SQLAlchemyError: then call again with the same;
        and LedgerMovedError: then `begin_again`, and with what is read from the positions that the database has."""
        with writing(self._engine).begin() as connection:
            if self._number is None:
                self._number = self._last_number(connection)
            if self._in_doubt is not None and self._last_number(connection) == self._in_doubt[0]:
                self._metrics.reload(self._metric_rows(connection))
                (self._number, inserted), self._in_doubt = self._in_doubt, None
                return inserted
            number = next_number(self._number)
            self._take_number(connection, self._number, number)
            observed = self._metrics.observe()
            self.rejected, self.refuted = [], []
            inserted = self._write_entries(connection, self._assigned(batch.entries))
            observed.observe_entries(inserted)
            for refused in batch.refusals:
                observed.observe_refusal(refused.reason, refused.budget)
            for tally in batch.tallies:
                observed.observe_tally(tally)
            self._write_budgets(connection, inserted)
            write_stored(connection, inserted.saying("stored"))
            self._rolling.add(connection, counted_columns(inserted.columns))
            self._write_metrics(connection, self._metrics.changed_by(observed))
            self._write_positions(connection, positions)
            note(connection, _to_export(inserted), now_us())
            self._in_doubt = number, inserted
        self._in_doubt = None
        self._number = number
        self._metrics.add(observed)
        return inserted

    def _assigned(self, shipped: Shipped) -> Shipped:
        """Calls of an upstream on machines of one's own will have a share of these."""
        capacity_of = self._capacity_of()
        if not capacity_of:
            return shipped
        said = zip(*map(shipped.column, ("kind", "status", "upstream", "capacity")), strict=True)
        capacities = [
            capacity_of.get(upstream or "") if status != "void" and kind == "attempt" else capacity
            for kind, status, upstream, capacity in said
        ]
        return shipped.with_column("capacity", capacities) if shipped else shipped

    def _take_number(self, connection: Connection, last: int, number: int) -> None:
        """The batch's number, if `last` is the last that the database knows."""
        if last == 0 and self._last_number(connection) == 0:
            self._set_metric.write(connection, [(self._instance, BATCH_NUMBER, "[]", str(number))])
            return
        values = (str(number), self._instance, BATCH_NUMBER, str(last))
        if connection.exec_driver_sql(self._count_batch, values).rowcount != 1:
            raise LedgerMovedError(last, self._last_number(connection))

    def _last_number(self, connection: Connection) -> int:
        return last_batch(connection, self._instance)

    def _metric_rows(self, connection: Connection) -> list[tuple[str, str, str]]:
        query = sa.select(metric_state.c.name, metric_state.c.labels, metric_state.c.value).where(
            metric_state.c.instance == self._instance
        )
        return [(row[0], row[1], row[2]) for row in connection.execute(query)]

    def _write_entries(self, connection: Connection, shipped: Shipped) -> Shipped:
        """Insert; the entries that were really new. All of them, but for a batch that repeats what is there."""
        if not shipped:
            return shipped
        may_be = shipped if "expired" in shipped.column("outcome") else shipped.saying("job")
        of_jobs = [entry for entry in may_be if is_of_a_job(entry)]
        if of_jobs:
            others = as_shipped(entry for entry in shipped if not is_of_a_job(entry))
            return joined([self._write_others(connection, others), as_shipped(self._write_jobs(connection, of_jobs))])
        return self._write_others(connection, shipped)

    def _write_others(self, connection: Connection, shipped: Shipped) -> Shipped:
        """Entries that are whole from the beginning."""
        if not shipped:
            return shipped
        try:
            with connection.begin_nested():
                if self._inserting.all(connection, shipped):
                    return shipped
                raise _RepeatedError
        except (_RepeatedError, OverflowError):
            pass
        except DBAPIError as error:
            if not _is_of_the_row(error):
                raise
        made_safe = [
            entry.with_row(storable(entry.row)) for entry in shipped
        ]  # what follows from them is as they are there
        new = [entry for entry in made_safe if self._write_entry(connection, entry)]
        return as_shipped([*new, *self._corrections(connection, made_safe, new)])

    def _write_jobs(self, connection: Connection, shipped: Sequence[Entry]) -> list[Entry]:
        """Jobs that begin, and that end: the entry that was `running` becomes what it came to; once."""
        counted = []
        for each in shipped:
            entry = each.with_row(storable(each.row))
            if entry.row.status == RUNNING:
                if self._write_entry(connection, entry):
                    counted.append(entry)
                if entry not in self.rejected:
                    jobs.begin(connection, entry)
            elif (new := self._end_job(connection, entry)) is not None:
                counted.append(new)
        return counted

    def _end_job(self, connection: Connection, entry: Entry) -> Entry | None:
        """What the end of a job adds to the ledger; None where it is known."""
        running_entry = (entries.c.id == entry.row.id, entries.c.status == RUNNING)
        ended = connection.execute(sa.update(entries).where(*running_entry).values(entry.row._asdict())).rowcount == 1
        if ended or self._write_entry(connection, entry):
            jobs.end(connection, entry, _recheck_s(entry))
            return entry
        if entry in self.rejected:
            return None
        charged = connection.execute(sa.select(entries).where(entries.c.id == entry.row.id)).mappings().one()
        before = jobs.known(connection, entry.row.id)
        revision = (entry.end.get("job") or {}).get("revision")
        if before is None or revision != before["revision"]:
            return self._corrected(connection, entry, dict(charged), refute=True)
        if charged["status"] == UNCONFIRMED and before["state"] == UNCONFIRMED:
            corrected = self._corrected(connection, entry, dict(charged), refute=False)
            if corrected is not None or entry.row.status == UNCONFIRMED:
                jobs.change(connection, entry, before)
            return corrected
        change = change_of(entry, dict(charged), dict(before))
        if jobs.change(connection, entry, before) and self._write_entry(connection, change):
            return change
        return None

    def _corrected(
        self, connection: Connection, entry: Entry, charged: dict[str, Any], *, refute: bool
    ) -> Entry | None:
        """An attempt that was charged at its ceiling: what it really came to."""
        if entry.end.get("job") is not None and refute:
            return None  # made from what is known no more: somebody else settled it
        if entry.row.outcome == "expired" and charged["status"] != UNCONFIRMED:
            self.refuted.append(entry_in_ledger(charged))
        correction = correction_of(entry, charged)
        if correction is not None and self._write_entry(connection, correction):
            return correction
        return None

    def _write_entry(self, connection: Connection, entry: Entry) -> bool:
        """One entry by itself, so that one that no database takes is the only one that is missing, and is kept and told."""
        try:
            with connection.begin_nested():
                return self._inserting.insert(connection, entry.row)
        except DBAPIError as error:
            if not _is_of_the_row(error):
                raise
            log.error("entry %s cannot be written: %s", entry.row.id, type(error).__name__)
            self.rejected.append(entry)
            return False

    def _corrections(self, connection: Connection, shipped: Sequence[Entry], new: Sequence[Entry]) -> list[Entry]:
        """For attempts that are in the ledger already, charged at their ceilings: what they really came to."""
        there = {id(entry) for entry in (*new, *self.rejected)}
        repeated = {entry.row.id: entry for entry in shipped if id(entry) not in there}
        ids = list(repeated)
        corrections = []
        for first in range(0, len(ids), _LOOK_UP):
            query = sa.select(entries).where(entries.c.id.in_(ids[first : first + _LOOK_UP]))
            for charged in connection.execute(query).mappings().all():
                if repeated[charged["id"]].row.outcome == "expired" and charged["status"] != "unconfirmed":
                    self.refuted.append(entry_in_ledger(dict(charged)))
                correction = correction_of(repeated[charged["id"]], dict(charged))
                if correction is not None and self._write_entry(connection, correction):
                    corrections.append(correction)
        return corrections

    def _write_budgets(self, connection: Connection, inserted: Shipped) -> None:
        if amounts := inserted.amounts:
            # In one order: no two can deadlock.
            self._add_spend.write(connection, [(*key, amount) for key, amount in sorted(amounts.items())])

    def _write_metrics(self, connection: Connection, changed: Iterable[tuple[str, str, str]]) -> None:
        rows = list(changed)
        if rows and connection.dialect.name == "postgresql":
            connection.exec_driver_sql(_SET_METRICS, (self._instance, orjson.dumps(rows).decode()))
        elif rows:
            self._set_metric.write(connection, [(self._instance, *row) for row in rows])

    def _write_positions(self, connection: Connection, positions: Positions) -> None:
        if positions.finished:
            connection.execute(sa.delete(spool_positions).where(spool_positions.c.run.in_(positions.finished)))
        if positions.rows:
            self._set_position.write(connection, [tuple(row[name] for name in _POSITION) for row in positions.rows])


def next_number(last: int) -> int:
    return last + 1 + int.from_bytes(os.urandom(4))


def last_batch(connection: Connection, instance: str) -> int:
    """The number of the last batch that an instance has committed; 0: none."""
    query = sa.select(metric_state.c.value).where(
        metric_state.c.instance == instance, metric_state.c.name == BATCH_NUMBER
    )
    return int(connection.execute(query).scalar() or 0)


def _to_export(inserted: Shipped) -> Iterator[tuple[str, str]]:
    """What is in no sum (running, void) is not exported."""
    ids, statuses = inserted.column("id"), inserted.column("status")
    return ((name, ENTRY) for name, status in zip(ids, statuses, strict=True) if status not in NOT_COUNTED)


def _recheck_s(entry: Entry) -> float | None:
    """When a job that has ended is asked for once more: where its provider may give money back."""
    seconds = (entry.end.get("job") or {}).get("recheck_s")
    return seconds if isinstance(seconds, int | float) else None


def _is_of_the_row(error: DBAPIError) -> bool:
    """Whether it is what was written that failed, and would again; not the database or the way there."""
    if error.connection_invalidated:
        return False
    too_large = (getattr(error.orig, "sqlstate", None) or "").startswith("54")  # PostgreSQL's: beyond an index's limit
    return too_large or isinstance(error, sa.exc.DataError | sa.exc.IntegrityError)


class _RepeatedError(Exception):
    """Some rows of a batch were in the ledger already."""
