"""The exports of one instance: a thread for each sink that this instance serves, and one thread that starts them.

Of several instances on one ledger one exports to a sink at a time: who keeps it says so every few seconds, and another takes
over where nobody does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import field
from functools import partial

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from pricing.values import slotted
from proxy.config.exports import Export
from proxy.exports.exporter import Exporter
from proxy.exports.sinks import make_sink
from proxy.ledger.beside.export_log import forget, keep, release, take_place, trim, wanted
from proxy.ledger.planes.instances import shared_now_us
from proxy.rate_limited_log import RateLimitedLog
from proxy.times import HOUR_US

log = logging.getLogger("taximeter.exports")

_TICK_S = 1.0
_KEEP_US = 30_000_000
_RENEW_US = 20_000_000  # before the end of that
_FORGET_EVERY_US = HOUR_US
_STOP_S = 3.0
_warnings = RateLimitedLog(log, logging.WARNING)


@slotted
class _Worker:
    """One sink's thread."""

    row: Export
    thread: threading.Thread
    stopping: threading.Event = field(default_factory=threading.Event)


class Exports:
    """Start it once, stop it once."""

    def __init__(self, engine: Engine, instance: str, exports: Callable[[], Sequence[Export]]) -> None:
        """exports: the rows of the configuration in force."""
        self._engine = engine
        self._instance = instance
        self._exports = exports
        self._workers: dict[str, _Worker] = {}
        self._kept_until: dict[str, int] = {}
        self._forget_at = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="exports", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What is not exported by now is exported after the next start."""
        self._stopping.set()
        self._thread.join()
        for worker in self._workers.values():
            worker.stopping.set()
        until = time.monotonic() + _STOP_S
        for worker in self._workers.values():
            worker.thread.join(timeout=max(0.0, until - time.monotonic()))
        if self._kept_until:
            self._try(lambda: release(self._engine, self._instance))

    def _run(self) -> None:
        while True:
            self._try(self._step)
            _warnings.tell()
            if self._stopping.wait(_TICK_S):
                return

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except SQLAlchemyError as error:
            _warnings.note(f"exports wait for the ledger database: {type(error).__name__}")
        except Exception as error:  # the calls and the ledger go on
            if _warnings.note(f"exports: a fault: {type(error).__name__}"):
                log.exception("exports")

    def _step(self) -> None:
        rows, now = {row.key: row for row in self._exports()}, shared_now_us(self._engine)
        for name, worker in list(self._workers.items()):
            if worker.row != rows.get(name):
                worker.stopping.set()
                if not worker.thread.is_alive():
                    del self._workers[name]  # and begun anew with what the configuration says now
        placed = wanted(self._engine, list(rows), now) if rows else set()
        for row in rows.values():  # what is the matter with one holds up no other
            self._try(partial(self._keep, row, placed, now))
        for name, row in rows.items():
            if name not in self._workers:
                self._try(partial(self._begin, row))
        if now > self._forget_at:
            self._forget_at = now + _FORGET_EVERY_US
            for name in forget(self._engine, now):
                log.warning(
                    "export %s has been in no configuration for a week: what was not sent to it is no longer kept", name
                )
            while trim(self._engine) and not self._stopping.is_set():
                pass

    def _keep(self, row: Export, placed: set[str], now: int) -> None:
        if row.key not in placed:
            since = None if row.since is None else round(row.since.timestamp() * 1_000_000)
            take_place(self._engine, row.key, row.type, since, now)
        if self._kept_until.get(row.key, 0) < now + _RENEW_US:
            until = now + _KEEP_US
            if keep(self._engine, row.key, self._instance, now, until):
                self._kept_until[row.key] = until
            else:
                self._kept_until.pop(row.key, None)

    def _begin(self, row: Export) -> None:
        exporter = Exporter(self._engine, self._instance, row.key, make_sink(row, self._engine))
        stopping = threading.Event()

        def kept() -> bool:
            return self._kept_until.get(row.key, 0) > shared_now_us(self._engine)

        thread = threading.Thread(target=exporter.run, args=(stopping, kept), name=f"export-{row.key}", daemon=True)
        thread.start()
        self._workers[row.key] = _Worker(row, thread, stopping)
