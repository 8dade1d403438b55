"""What an entry costs the recorder by itself: from the spool's bytes to committed rows, log lines and alerts.

    python -m bench.recorder [--calls 12000] [--batch 400] [--ledger postgresql://…]
    python -m bench.recorder --instructions [--calls 4000] …    counted with valgrind: the same on a busy machine

The calls are made by the data plane, as in `bench.steps`, so that the records are real ones. CPU in microseconds an entry, the best and
the median of the batches of a size; and where it goes, by the step (each step is timed apart, in runs of their own).
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvloop

import bench.as_served  # noqa: F401 - it works when it is imported
from bench.peers import ROOT
from bench.steps import config_of, spooled
from proxy.budgets.budget import compile_budgets
from proxy.config.model import Config
from proxy.control.alerts import Alerts
from proxy.control.metrics.observed import Observed
from proxy.control.metrics.series import MetricState
from proxy.ledger.database import open_ledger
from proxy.ledger.recording import recorder as recording
from proxy.ledger.recording import shipping
from proxy.ledger.recording.pairing import Pairing
from proxy.ledger.recording.shipping import Shipper
from proxy.ledger.rollups.writing import Rolling
from proxy.processes.log import call_logger
from proxy.spool import reader

_STEPS: tuple[tuple[str, Any, str], ...] = (
    ("spool read", reader.SpoolReader, "read"),
    ("paired: JSON, rows", Pairing, "take"),
    ("entries inserted", Shipper, "_write_entries"),
    ("metrics observed", Observed, "observe_entries"),
    ("metrics spread", Observed, "spread"),
    ("metrics written", Shipper, "_write_metrics"),
    ("budgets", Shipper, "_write_budgets"),
    ("stored ids", shipping, "write_stored"),
    ("roll-ups", Rolling, "add"),
    ("log lines, alerts", recording.Recorder, "_tell"),
)


def ship(
    spool: Path, url: str, config: Config, batch_bytes: int, counting: Callable[[bool], None] | None = None
) -> list[tuple[int, float]]:
    """Ship a copy of the spool: of each batch, how many entries it had, and seconds of CPU. counting: told when it begins and
    ends."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "spool"
        shutil.copytree(spool, copy)
        engine = open_ledger(url or f"sqlite:///{folder}/ledger.db")
        budgets = compile_budgets(config.budgets)
        alerts, log_calls = Alerts(engine, "bench", lambda: config, lambda: budgets), call_logger(1.0)
        shipped = 0

        def on_shipped(entries: Any, refused: Any) -> None:
            nonlocal shipped
            shipped += len(entries)
            log_calls(entries.named)
            alerts.shipped(entries, refused)

        metrics = MetricState.load(engine, "bench")
        recorder = recording.Recorder(engine, copy, instance="bench", metrics=metrics, on_shipped=on_shipped)
        recorder._most = 1  # noqa: SLF001 - one read is a batch
        reader._READ_BYTES = batch_bytes  # type: ignore[misc]  # noqa: SLF001 - of that size
        batches = []
        if counting is not None:
            recorder.step()  # what is done once
            shipped = 0
            counting(True)
        while True:
            before, began = shipped, time.process_time()
            if not recorder.step():
                break
            batches.append((shipped - before, time.process_time() - began))
        if counting is not None:
            counting(False)
        engine.dispose()
        return [batch for batch in batches if batch[0]]


@contextlib.contextmanager
def timed(spent: dict[str, float]) -> Iterator[None]:
    """Each step's seconds of CPU."""
    originals = [(owner, name, getattr(owner, name)) for _, owner, name in _STEPS if hasattr(owner, name)]

    def watched(step: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def doing(*arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            try:
                return do(*arguments, **named)
            finally:
                spent[step] += time.process_time() - began

        return doing

    for step, owner, name in _STEPS:
        if hasattr(owner, name):
            setattr(owner, name, watched(step, getattr(owner, name)))
    try:
        yield
    finally:
        for owner, name, do in originals:
            setattr(owner, name, do)


def instructions(given: argparse.Namespace) -> int:
    """An entry's, counted in a process of its own; without those of the first batch."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise SystemExit("bench.recorder: there is no valgrind here")
    with tempfile.TemporaryDirectory() as folder:
        spool, out = uvloop.run(spooled(config_of(Path(folder)), given.calls)), Path(folder) / "counts"
        options = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
        asked = [
            "--spool",
            str(spool),
            "--batch",
            str(given.batch),
            "--calls",
            str(given.calls),
            "--ledger",
            given.ledger,
        ]
        done = subprocess.run(
            [valgrind, *options, sys.executable, "-m", "bench.recorder", *asked],
            check=False, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True,
        )  # fmt: skip
        total = re.search(r"^totals: (\d+)", out.read_text(), re.MULTILINE) if out.exists() else None
        if total is None:
            raise SystemExit(f"bench.recorder: {done.stderr[-500:]}")
        if given.profile:
            shutil.copy(out, given.profile)
        return int(total[1]) // int(done.stdout.split()[-1])


def _counted(given: argparse.Namespace, batch_bytes: int) -> None:
    """Ship what another process spooled, and say how many entries were counted."""

    def counting(on: bool) -> None:
        command = ["callgrind_control", "-i", "on" if on else "off", str(os.getpid())]
        subprocess.run(command, check=True, capture_output=True)

    with tempfile.TemporaryDirectory() as folder:
        shipped = ship(Path(given.spool), given.ledger, config_of(Path(folder)), batch_bytes, counting)
    print(sum(count for count, _ in shipped))


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.recorder", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=12_000)
    parser.add_argument("--batch", type=int, default=400, help="entries that are shipped together")
    parser.add_argument("--ledger", default="", help="an empty one; by itself a new SQLite file")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--instructions", action="store_true", help="count them, with valgrind")
    parser.add_argument("--profile", help="where callgrind's counts are left")
    parser.add_argument("--spool", help=argparse.SUPPRESS)
    given = parser.parse_args()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as `serve` has it
    if given.instructions:
        print(f"instructions an entry: {instructions(given):,}")
    elif given.spool:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - where log lines go
        size = sum(path.stat().st_size for path in Path(given.spool).glob("*.spool"))
        _counted(given, size * given.batch // given.calls)
    else:
        _measure(given)


def _measure(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = config_of(Path(folder))
        spool = uvloop.run(spooled(config, given.calls))
        size = sum(path.stat().st_size for path in spool.glob("*.spool"))
        batch_bytes = size * given.batch // given.calls
        print(f"{given.calls} calls, {size // given.calls} bytes of spool each, {given.batch} entries a batch")
        log, sys.stderr = sys.stderr, Path(os.devnull).open("w")  # noqa: SIM115 - where log lines go
        shipped: list[tuple[int, float]] = []
        for _ in range(given.runs):
            shipped += ship(spool, given.ledger, config, batch_bytes)
        full = [seconds / count * 1e6 for count, seconds in shipped if count > given.batch // 2]
        print(f"CPU an entry: best {min(full):.1f} µs, median {statistics.median(full):.1f} µs, of {len(full)} batches")
        spent: dict[str, float] = defaultdict(float)
        with timed(spent):
            apart = ship(spool, given.ledger, config, batch_bytes)
        sys.stderr = log
        total, count = sum(seconds for _, seconds in apart), sum(count for count, _ in apart)
        rest = total - sum(spent.values())
        for step, seconds in [*spent.items(), ("everything else, commit", rest)]:
            print(f"{seconds / count * 1e6:8.1f} µs  {step}")


if __name__ == "__main__":
    main()
