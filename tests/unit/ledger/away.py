"""The ledger database goes away under load, and comes back: what that costs is lag, and nothing else.

python -m tests.unit.ledger.away --seconds 600 --rate 200
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from proxy.control.metrics.series import MetricState
from proxy.ledger.audit.difference import Difference
from proxy.ledger.audit.verify import verify
from proxy.ledger.database import open_ledger
from proxy.ledger.recording import outage
from proxy.ledger.recording.recorder import Recorder
from proxy.ledger.schema import entries
from proxy.spool.writer import SpoolWriter
from tests.support.postgres import PostgresServer
from tests.support.spooled import append, intent, settle
from tests.support.waiting import wait_until


@dataclass
class Figures:
    """What became of the calls. Seconds, bytes."""

    calls: int
    entries: int
    most_lag_s: float
    caught_up_in_s: float
    grown_bytes: int
    difference: Difference | None


class Load:
    """Calls that are begun and settled in the spool, by a thread: `rate` a second, or as fast as it goes."""

    def __init__(self, writer: SpoolWriter, rate: float | None = None) -> None:
        self.calls = 0
        self._writer = writer
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            one = intent(request_id=f"r-{self.calls}")
            append(self._writer, one, settle(one, 0, cost_lines=[], budgets=[["b", "", 0, "requests", 1]]))
            self.calls += 1
            self._stop.wait(1 / self._rate if self._rate else 0.0005)

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        return self.calls


def away(server: PostgresServer, url: str, folder: Path, *, seconds: float, rate: float | None, crash: bool) -> Figures:
    """The database at `url` is stopped (or killed) for so long, with load before, meanwhile and after."""
    engine = open_ledger(url)
    recorder = Recorder(engine, folder, instance="i", metrics=MetricState.load(engine, "i"))
    stop = threading.Event()
    thread = threading.Thread(target=recorder.run, args=(stop,))
    thread.start()
    writer = SpoolWriter(folder, "w")
    load = Load(writer, rate)
    wait_until("the recorder has caught up", lambda: recorder.caught_up_at, 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (server.crash if crash else server.stop)()
    wait_until("the database is away", lambda: recorder.database_down_since, 30)
    begun, calls_then = time.monotonic(), load.calls
    wait_until(
        "the calls go on", lambda: time.monotonic() - begun >= seconds and load.calls > calls_then + 100, seconds + 60
    )
    lag = recorder.lag_s
    server.start()
    back = time.time()
    wait_until("it has caught up again", lambda: recorder.caught_up_at > back, 300)
    caught_up_in_s = time.time() - back
    calls = load.stop()
    stop.set()
    thread.join()
    writer.close()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    with engine.connect() as connection:
        found = connection.execute(sa.select(sa.func.count()).select_from(entries)).scalar_one()
    engine.dispose()
    with tempfile.TemporaryDirectory() as scratch:
        difference = verify(url, Path(scratch), folder).difference
    return Figures(calls, int(found), lag, caught_up_in_s, grown, difference)


def main() -> None:
    parser = argparse.ArgumentParser(description="PostgreSQL goes away under load.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--crash", action="store_true", help="killed, not stopped")
    given = parser.parse_args()
    with (
        PostgresServer(synchronous_commit="on") as server,
        tempfile.TemporaryDirectory() as folder,
        server.new_database() as url,
    ):
        print(away(server, url, Path(folder), seconds=given.seconds, rate=given.rate, crash=given.crash))
        print(f"tried again every {outage._RETRY_S} s")


if __name__ == "__main__":
    main()
