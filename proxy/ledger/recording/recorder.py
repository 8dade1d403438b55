"""Ships the spool to the ledger, in batches, for as long as the process lives.

The database being away costs lag and nothing else: a batch is tried again until it is in. A record that nobody can read
is kept in a file beside the spool and counted; its neighbours are not touched by it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.ledger.checkpoints import Checkpoints
from proxy.ledger.entries.entry import Shipped
from proxy.ledger.recording.batch import Batch, CallEnd, Leased, RefusedCall, call_ends
from proxy.ledger.recording.markers import MARKER_BEGINS, epoch_of
from proxy.ledger.recording.outage import GivenUpError, Outage
from proxy.ledger.recording.runs import Run, Runs
from proxy.ledger.recording.shipping import LedgerMovedError, Metrics, Positions, Shipper
from proxy.ledger.recording.unrecorded import keep_rejected, keep_unreadable
from proxy.rate_limited_log import RateLimitedLog
from proxy.spool.frames import Records
from proxy.spool.kept import Kept
from proxy.spool.records import Intent
from proxy.times import now_s, now_us

log = logging.getLogger("taximeter.recorder")

# How long records may come together. A batch costs what thirty entries do, so that where there are many, more do.
_EVERY_S, _MANY_EVERY_S, _MANY = 0.2, 0.5, 100
_LATELY = 1000  # ends that a killed worker may not have reported to the budgets
# Entries of one batch, and what one read has beyond them: more save a server work, a file hardly any, and take memory.
_MAX_ENTRIES, _MAX_ENTRIES_OF_A_SERVER = 500, 5000
_RECORDS_OF_AN_ENTRY = 2  # so many are read at most, too: what is refused has no entry
_CHECK_EVERY_S, _DROP_EVERY_S = 1.0, 5.0
_INTENT_AFTER_US = 2_000_000  # a call's INTENT is written that long after it began at most
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_shortages = RateLimitedLog(log, logging.ERROR)


def _at_once(step: Callable[[], int], _: bool) -> int:
    return step()


class ShippingGate(Protocol):
    """The recorder's side of shared budgets: what must be known before records are shipped, and who is told then."""

    def may_ship(self) -> bool: ...

    def may_pass(self, epoch: str) -> bool:
        """Whether what stands behind this epoch's marker may be shipped."""
        ...

    def count(self, entries: Shipped) -> None:
        """These are about to be shipped."""
        ...

    def over(self, run: str, lately: Sequence[CallEnd], leased: Sequence[Leased]) -> None:
        """A run is over; these are its last ends, and those of them that were granted out of leases."""
        ...

    def gone(self, run: str) -> None:
        """What it left open is counted, too: nothing more comes of it."""
        ...

    def ended(self, ends: Sequence[CallEnd]) -> None:
        """Their reservations expired, but the ledger knows how they ended."""
        ...

    def moved(self) -> None:
        """The ledger is an older copy, and gets again what it lacks: sums that were made of it do not hold."""
        ...


class Recorder:
    """Reads every run in `folder` and writes the ledger. One for each data directory; not for several threads at once.

    on_shipping gets what is about to be shipped, and once more where it raises SQLAlchemyError; on_shipped gets the entries
    that are new in the ledger, and the calls that were refused, after each commit.
    """

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        *,
        instance: str,
        metrics: Metrics,
        on_shipping: Callable[[Shipped], object] = lambda _: None,
        on_shipped: Callable[[Shipped, Sequence[RefusedCall]], None] | None = None,
        gate: ShippingGate | None = None,
        kept: Kept | None = None,
        capacity_of: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._folder = folder
        self._most = _MAX_ENTRIES_OF_A_SERVER if engine.dialect.name == "postgresql" else _MAX_ENTRIES
        self._shipper = Shipper(engine, instance, metrics, capacity_of)
        self._checkpoints = Checkpoints(engine)
        self._capacity_of = capacity_of
        self._metrics = metrics
        self._on_shipping = on_shipping
        self._on_shipped = on_shipped
        self._gate = gate
        self._kept = kept or Kept(folder)
        self._runs = Runs(self._shipper, folder, instance, self._kept, lately=_LATELY if gate else 0)
        self._gone: list[str] = []  # runs of which everything is read
        self._begun = False  # where the runs stand is known
        self._drop_at = 0.0
        self._check_at = 0.0  # monotonic
        self.checked_at = 0.0  # monotonic: when the database was found to be where this process left it
        self.batch: int | None = None  # the last one in the ledger; None while another is on its way
        self.is_at_rest = True  # what may be shipped is asked before anything else is done
        self._short_of_files = False
        self._turn = 0  # which batch this is
        self._behind = False  # the last batch is not all that was there
        self._many = False  # it had so many that it pays to wait for more
        self.outage = Outage(engine.url)
        self.caught_up_at = 0.0
        self.unreadable_records = 0
        self.complete_until = 0  # epoch microseconds: calls on capacities that began before are in the ledger, and over

    def run(self, stop: threading.Event, take: Callable[[Callable[[], int], bool], int] = _at_once) -> None:
        """Ship until `stop` is set and everything that is there by then is shipped, or the database is away.

        take: takes a step, somewhere, and is told whether more waits behind it already.
        """
        self.outage.is_stopping = stop.is_set
        with contextlib.suppress(GivenUpError):
            while True:
                stopping = stop.is_set()
                while take(self.step, stopping or self._behind):
                    if not (stopping or self._behind):  # it pays to let some come together
                        break
                if stopping:
                    return
                stop.wait(_MANY_EVERY_S if self._many else _EVERY_S)
        log.warning("the ledger database is still away: the next start ships what is left in the spool")

    def catch_up(self) -> None:
        """Ship what is there now, and what runs that are over left open: of what comes meanwhile there may be no end. Raises
        GivenUpError."""
        began = now_s()
        while self.step() and (self.caught_up_at < began or any(run.over for run in self._runs)):
            pass

    def step(self) -> int:
        """Ship one batch; how many records it had, or 1 where something else is left to write down. Waits while the database
        is away; raises GivenUpError."""
        self.is_at_rest = False
        try:
            if self._gate is not None and not self._gate.may_ship():
                return 0
            count = self._step()
            self._note_complete()
            return count
        except GivenUpError:
            self._begun = False  # what was read is not there: who goes on all the same begins where the database is
            raise
        except LedgerMovedError as error:
            log.error(
                "the ledger database is another copy than before (a fail-over to a standby that lags?), or others went on "
                "without this instance, which stood still: %s; its positions are taken, and the spool is read again from there",
                error,
            )  # fmt: skip
            self._begun = False
            if self._gate is not None:
                self._gate.moved()
            return 1
        finally:
            self.is_at_rest = True

    def _note_complete(self) -> None:
        if upstreams := self._capacity_of():
            opened = [run.pairing.open_since(upstreams) for run in self._runs]
            self.complete_until = min(
                [int(self.caught_up_at * 1e6) - _INTENT_AFTER_US, *(at for at in opened if at is not None)]
            )

    def _step(self) -> int:
        while not self._begun:
            self.outage.insist(self._begin)
        batch = Batch()
        read_at = now_s()
        self._read(batch)
        self._many = batch.records >= _MANY
        if not batch.records and not batch and not self._runs.due and not self._metrics.due():
            if self._check() and not self._short_of_files:
                self.caught_up_at = read_at
            return 0
        self.batch = None
        if batch.count:
            self.outage.insist(lambda: self._on_shipping(batch.entries))
        if self._gate is not None:
            if batch.entries:
                self._gate.count(batch.entries)
            while self._gone:
                self._gate.gone(self._gone.pop())
        positions, checked_at = self._runs.positions(), time.monotonic()
        inserted = self.outage.insist(lambda: self._ship(batch, positions))
        self.checked_at = checked_at
        self._note_markers()
        if self._gate is not None and self._shipper.refuted:
            self._gate.ended(call_ends(self._shipper.refuted))
        self.unreadable_records += keep_unreadable(self._folder, batch.unreadable)
        self._tell(inserted, batch.refusals)
        self.batch = self._shipper.number
        if not self._behind and not self._short_of_files:
            self.caught_up_at = read_at
        try:
            self._runs.committed(positions)
            self._drop_kept()
            self._checkpoints.committed(len(inserted))
        except OSError as error:
            self._put_off(error)
        _shortages.tell()
        return batch.records or int(self._runs.are_gone)

    def _tell(self, inserted: Shipped, refusals: Sequence[RefusedCall]) -> None:
        if (inserted or refusals) and self._on_shipped is not None:
            try:
                self._on_shipped(inserted, refusals)
            except Exception:  # a listener's fault must not stop the ledger
                log.exception("metrics, logs and alerts of a batch failed; the ledger has the batch")

    def _begin(self) -> None:
        """Begin at the positions in the database; its batch number is read first, so that a change in between is noticed."""
        self._shipper.begin_again()
        self._runs.begin_again()
        self.batch, self._begun = self._shipper.number, True

    def _check(self) -> bool:
        """Now and then where there is nothing to ship, and always before a rebuild may add up the ledger; False where the
        database does not answer."""
        now = time.monotonic()
        self._drop_kept()
        if now > self._check_at or any(run.marker != run.held_at for run in self._runs):
            try:
                self._shipper.check()
            except SQLAlchemyError:
                return False
            self.checked_at, self._check_at = now, now + _CHECK_EVERY_S
            self._note_markers()
        return True

    def _drop_kept(self) -> None:
        now = time.monotonic()
        if now >= self._drop_at:
            self._drop_at = now + _DROP_EVERY_S
            self._runs.drop_kept()

    def check_soon(self) -> float:
        """See with the next step whether the ledger is still the same; it is known when `checked_at` is not before the answer.
        0.0 where a ledger does not fail over."""
        if not self._kept.keeps:
            return 0.0
        self._check_at = asked_at = time.monotonic()
        return asked_at

    def has_runs(self) -> bool:
        """Whether anything in the spool may not be in the ledger."""
        return bool(self._runs.in_folder)

    def runs_of(self, worker: str) -> int:
        """How many of a worker's lives have something in the spool that may not be in the ledger."""
        return sum(1 for run in self._runs.in_folder if run[:-37] == worker)

    @property
    def database_down_since(self) -> float | None:
        """Epoch seconds; None while the database takes what is written."""
        return self.outage.since

    @property
    def database_down_because(self) -> str:
        """What the driver says of it; empty while it takes what is written."""
        return self.outage.reason

    @property
    def lag_s(self) -> float:
        """How long ago everything that was in the spool was in the ledger."""
        return max(0.0, now_s() - self.caught_up_at - _MANY_EVERY_S) if self.caught_up_at else 0.0

    @property
    def intents_overdue(self) -> int:
        """Attempts of runs that live, whose reservations' deadlines are over and which have no end."""
        return sum(run.pairing.overdue(now_us()) for run in self._runs if not run.over)

    def in_flight(self) -> list[Intent]:
        """The attempts of runs that live which hold a reservation, as far as the spool is read. From any thread."""
        return [intent for run in self._runs if not run.over for intent in run.pairing.in_flight()]

    @property
    def spool_bytes(self) -> int:
        return sum(run.reader.size_left() for run in self._runs)

    # Reading

    def _read(self, batch: Batch) -> None:
        """Read records into `batch`. Where files cannot be opened just now, the rest waits for its turn."""
        self._short_of_files = self._behind = False
        try:
            self.outage.insist(self._runs.find)
            self._turn += 1
            for run in sorted(self._runs, key=lambda run: run.turn):  # first those that had to wait the last time
                if self._is_full(batch):
                    self._behind = True
                    break
                run.turn = self._turn
                self._read_run(run, batch)
        except OSError as error:
            self._put_off(error)

    def _is_full(self, batch: Batch) -> bool:
        return batch.count >= self._most or batch.records >= _RECORDS_OF_AN_ENTRY * self._most

    def _read_run(self, run: Run, batch: Batch) -> None:
        run.at_end = False  # until it is known that nothing is left
        run.over = run.reader.is_over()
        before, more = batch.records, True
        while more and not self._is_full(batch):
            records = self._up_to_marker(run, self._sound_records(run))
            run.pairing.take(records, batch)
            batch.records += len(records)
            more = bool(records) and run.reader.more and run.marker is None
        self._behind |= more
        run.at_end = batch.records == before and run.marker is None
        if run.done:
            if self._gate is not None:
                self._gate.over(run.reader.run, list(run.pairing.lately), list(run.pairing.leased))
                self._gone.append(run.reader.run)
            run.pairing.crashed(batch, now_us())

    def _put_off(self, error: OSError) -> None:
        """No descriptor or no memory for a file now: a reason to come back, not to end."""
        if error.errno not in _SHORTAGES:
            raise error
        self._short_of_files = True
        _shortages.note(f"files cannot be opened ({errno.errorcode[error.errno]}); what is in the spool waits")

    def _sound_records(self, run: Run) -> Records:
        damaged = run.reader.damaged_bytes
        records = run.reader.read(over=run.over)
        if run.reader.damaged_bytes > damaged:
            self.unreadable_records += 1
            log.error(
                "the spool %s is damaged: %d bytes cannot be read and are kept beside it; calls whose end was there "
                "are charged at their ceilings", run.reader.run, run.reader.damaged_bytes - damaged,
            )  # fmt: skip
        return records

    def _up_to_marker(self, run: Run, records: Records) -> Records:
        """The records that may be shipped now; the run goes on from there."""
        run.marker = None
        if self._gate is None:
            return records
        for number, payload in enumerate(records.payloads):
            if payload.startswith(MARKER_BEGINS):
                epoch = epoch_of(payload)
                if epoch is not None and not self._gate.may_pass(epoch):
                    run.marker = epoch
                    run.reader.position = records[number].start_position
                    return records.first(number)
        return records

    def _note_markers(self) -> None:
        """What was read is committed: now, and not before, a rebuild may add up the ledger."""
        for run in self._runs:
            run.held_at = run.marker

    def held_at(self, epoch: str) -> list[str] | None:
        """The runs, when each of them is shipped up to this epoch's marker; None while one is not."""
        return self._runs.held_at(epoch)

    # Writing

    def _ship(self, batch: Batch, positions: Positions) -> Shipped:
        inserted = self._shipper.ship(batch, positions)
        self.unreadable_records += keep_rejected(self._folder, self._shipper.rejected)
        return inserted
