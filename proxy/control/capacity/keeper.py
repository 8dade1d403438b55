"""Keeps the books of every capacity of the configuration, in a thread of its own; no call ever waits for it.

Every two seconds: this instance lives, and so far its calls are in the ledger. Every five: the servers' counters, by the one
instance that keeps the capacity. Then the minutes are closed of which everything is known.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from pricing.book import Book
from pricing.load import packaged_book
from pricing.values import slotted
from proxy.capacity.server_metrics import Increase, Reading, increase
from proxy.config.capacity import Capacity
from proxy.config.model import Config
from proxy.ledger.capacity.books import close_minutes, end_books, keep, open_books
from proxy.ledger.capacity.prices import records_of, share_prices
from proxy.ledger.capacity.watch import EVER, Life, final_until, forget, lives, say
from proxy.ledger.capacity_schema import capacities, capacity_samples
from proxy.ledger.database import upsert, writing
from proxy.rate_limited_log import RateLimitedLog
from proxy.reports.capacity.compared_prices import compared_prices
from proxy.spool.writer import SpoolWriter
from proxy.times import DAY_US, MINUTE_US, now_us

if TYPE_CHECKING:
    from proxy.control.capacity.asking import Answer

log = logging.getLogger("taximeter.capacity")

_TICK_S = 2.0
_ASK_EVERY_US = 5_000_000
_KEEP_US = 15_000_000
_ENDED_AFTER_US = 300_000_000  # what nobody has configured for so long has ended; a restart takes less
_GAP_US = 30_000_000  # a process that says nothing for so long (or whose clock jumped) has not looked
_LOOK_BACK_US = 7 * DAY_US  # after a start: shares of so long may not have become prices
_REMEMBERED_US = 30 * DAY_US
_warnings = RateLimitedLog(log, logging.WARNING)


class Recorded(Protocol):
    """What is asked of the recorder."""

    complete_until: int

    def has_runs(self) -> bool: ...


@slotted
class _Watched:
    """One address: what it said last."""

    last: Reading | None = None
    problem: str = ""


@slotted
class _Kept:
    """What this instance knows of a capacity that it keeps."""

    asked_at: int = 0
    server: _Watched = field(default_factory=_Watched)
    meter: _Watched = field(default_factory=_Watched)
    samples: dict[int, list[Increase]] = field(default_factory=lambda: defaultdict(list))


class Keeper:
    """For one instance. `kept` names the capacities whose minutes it closes."""

    def __init__(
        self, engine: Engine, instance: str, config: Callable[[], Config], recorder: Recorded, data_dir: Path
    ) -> None:
        self._engine = engine
        self.instance = instance
        self._config = config
        self._recorder = recorder
        self._data_dir = data_dir
        self._life: Life | None = None
        self._capacities: dict[str, _Kept] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="capacity", daemon=True)
        self._priced_since: dict[str, int] = {}  # `price: capacity`: from where on shares may not be prices yet

    @cached_property
    def book(self) -> Book:
        """The price book, without anything of the operator's."""
        return packaged_book()

    @property
    def kept(self) -> tuple[str, ...]:
        return tuple(self._capacities)

    def problems(self) -> dict[str, str]:
        """What cannot be asked, by capacity: its server, else its meter."""
        kept = list(self._capacities.items())
        problems = {
            name: one.server.problem or (one.meter.problem and f"the meter: {one.meter.problem}") for name, one in kept
        }
        return {name: problem for name, problem in problems.items() if problem}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """After the recorder: everything of this instance is in the ledger then, and it leaves."""
        self._stopping.set()
        self._thread.join()
        if self._life is not None and not self._recorder.has_runs():
            self._try(lambda: self._say(now_us(), EVER))

    def _run(self) -> None:
        self._try(self.step)  # the books begin before the first call
        while not self._stopping.wait(_TICK_S):
            self._try(self.step)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except SQLAlchemyError as error:
            _warnings.note(f"the books of capacities wait for the ledger database: {type(error).__name__}")
        except Exception:  # the calls and the ledger go on
            log.exception("the books of capacities could not be kept; they are tried again")

    def step(self) -> None:
        """One round."""
        configured = self._config().capacity
        if not configured and self._life is None:
            return
        now = now_us()
        self._say(now, self._recorder.complete_until, configured)
        self._ask(now, [row for row in configured if row.name in self._capacities])
        for row in configured:
            if row.name in self._capacities:
                self._close(row, now)

    def _say(self, now: int, complete_until: int, configured: Sequence[Capacity] = ()) -> None:
        """This instance lives, and keeps what it keeps."""
        life = self._life
        if life is None or not 0 <= now - life.until_at <= _GAP_US:
            life = Life(self.instance, now, now, 0)
        life = life._replace(until_at=now, complete_until=complete_until)
        kept = []
        with writing(self._engine).begin() as connection:
            say(connection, life)
            for row in configured:
                open_books(connection, row.name, now)
                if keep(connection, row.name, self.instance, now, now + _KEEP_US):
                    kept.append(row.name)
            if complete_until != EVER:
                end_books(connection, [row.name for row in configured], now, now - _ENDED_AFTER_US)
            forget(connection, now - _REMEMBERED_US)
        self._life = life
        self._capacities = {name: self._capacities.get(name) or _Kept() for name in kept}

    # The counters

    def _ask(self, now: int, configured: Sequence[Capacity]) -> None:
        due = []
        for row in configured:
            kept = self._capacities[row.name]
            if now - kept.asked_at < _ASK_EVERY_US - 500_000:
                continue
            kept.asked_at = now
            if row.metrics_url:
                due.append((row, kept, kept.server, row.metrics_url, row.metrics_key))
            if row.power is not None and row.power.metrics_url:
                due.append((row, kept, kept.meter, row.power.metrics_url, None))
        if not due:
            return
        from proxy.control.capacity.asking import ask  # noqa: PLC0415 - only where there is somebody to ask

        with ThreadPoolExecutor(min(8, len(due))) as pool:
            answers = list(pool.map(lambda item: ask(item[3], item[4]), due))
        touched = {}
        for (row, kept, watched, _, _), answer in zip(due, answers, strict=True):
            if self._take(row.name, kept, watched, answer):
                touched[row.name] = kept
        if touched:
            with writing(self._engine).begin() as connection:
                for name, kept in touched.items():
                    self._write_samples(connection, name, kept)

    @staticmethod
    def _take(name: str, kept: _Kept, watched: _Watched, answer: Answer) -> bool:
        if answer.problem != watched.problem:
            if answer.problem:
                log.warning("capacity %s: %s; its calls are counted without it", name, answer.problem)
            else:
                log.info("capacity %s: its counters can be read again", name)
        watched.problem = answer.problem
        if answer.reading is None:
            return False
        before, watched.last = watched.last, answer.reading
        if before is None or before.at >= answer.reading.at:
            return False
        sample = increase(before, answer.reading)
        kept.samples[sample.start - sample.start % MINUTE_US].append(sample)
        return True

    def _write_samples(self, connection: Connection, capacity: str, kept: _Kept) -> None:
        """The last minutes' samples; those before are written, or closed."""
        newest = sorted(kept.samples)[-2:]
        for minute_at in list(kept.samples):
            if minute_at not in newest:
                del kept.samples[minute_at]
        rows = [
            {
                "capacity": capacity,
                "minute_at": minute_at,
                "instance": self.instance,
                "samples": orjson.dumps([tuple(one) for one in kept.samples[minute_at]]).decode(),
            }
            for minute_at in newest
        ]
        connection.execute(upsert(self._engine, capacity_samples), rows)

    # The minutes

    def _close(self, row: Capacity, now: int) -> None:
        with self._engine.connect() as connection:
            known = lives(connection, now)
            if not self._is_behind(connection, row.name, now):
                return
        until = final_until(known, now, self._config().server.max_call_s * 1_000_000)
        kept = self._capacities[row.name]
        for watched in (kept.server, kept.meter):  # what answers is read once more before a minute is closed
            if watched.last is not None and not watched.problem and now - watched.last.at < _GAP_US:
                until = min(until, watched.last.at)
        book = self.book.with_operator(self._config().operator_prices())
        elsewhere = compared_prices(book, row.compare, now // 1_000_000)
        while not self._stopping.is_set():
            outcome = close_minutes(
                self._engine, row.name, row.terms(), until, elsewhere=elsewhere, instance=self.instance
            )
            if outcome is None:
                break
            if row.price == "capacity":
                began = [call.row["started_at"] for call, _ in outcome.finished()]
                self._priced_since[row.name] = min([self._priced_since.get(row.name, now - _LOOK_BACK_US), *began])
        if row.price == "capacity":
            self._price(row.name, self._priced_since.setdefault(row.name, now - _LOOK_BACK_US))

    def _price(self, name: str, since: int) -> None:
        """Through the spool, as every change of what budgets count; what is on its way is found there again by its id."""
        with self._engine.connect() as connection:
            corrections = share_prices(connection, name, since)
        if corrections:
            writer = SpoolWriter(self._data_dir / "spool", "capacity")
            try:
                for record in records_of(corrections):
                    writer.append(orjson.dumps(record))
            finally:
                writer.close()
        else:
            self._priced_since[name] = now_us() - MINUTE_US * 5

    def _is_behind(self, connection: Connection, name: str, now: int) -> bool:
        """Whether there is a minute to close at all."""
        query = sa.select(capacities.c.closed_until).where(capacities.c.name == name)
        until = connection.execute(query).scalar()
        return until is not None and int(until) + MINUTE_US <= now
