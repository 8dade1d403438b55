"""A day of the office's metrics in Prometheus' store, as if it had scraped them: ten minutes have no mornings.

The demo ledger's calls (`tests/support/day.py`) go through the recorder's own metrics in the order of their ends; what they
come to every two minutes is put into blocks by promtool, and so are the recording rules. What no ledger has (refusals, calls
in flight, the pipeline's gauges) is made up here.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from pricing.load import checked_at, load_book
from proxy.budgets.budget import Budget, compile_budgets
from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.control.metrics.exposition import Gauge, decimal, render
from proxy.control.metrics.series import MetricState
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.entry import Entry
from proxy.ledger.recording.pairing import Batch, RefusedCall
from proxy.ledger.recording.shipping import Positions, Shipper
from proxy.money import NANO
from tests.observability.boards import ROOT
from tests.observability.servers import Prometheus
from tests.support.day import BUDGETS, history
from tests.support.programs import find_program

STEP_S = 120
DAY_S = 86_400
_ENOUGH = {"research-today": {"limit_usd": 36}}  # what is made up asks no budget, and this one refuses
_INSTANCE = "taximeter:4101"
_SAMPLE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>.*?)\})? (?P<value>\S+)(?: # .*)?\Z")


def write_day(folder: Path, now_s: int) -> Path:
    """OpenMetrics of the last 24 hours, each sample with its time, one scrape after the other."""
    rows = [row | _ENOUGH.get(str(row["name"]), {}) for row in BUDGETS]
    budgets = list(compile_budgets(read_section(Config, {"budgets": rows}).budgets))
    entries = sorted(history(now_s * 1_000_000, budgets, "picture"), key=lambda entry: entry.row.ended_at)
    engine = open_ledger(f"sqlite:///{folder / 'ledger.db'}")
    state = MetricState.load(engine, "picture")
    shipper, chance = Shipper(engine, "picture", state), random.Random(3)  # noqa: S311 - no secret
    path, place = folder / "day.om", 0
    with path.open("w", encoding="utf-8") as file:
        for at in range(now_s - DAY_S, now_s + 1, STEP_S):
            begin = place
            while place < len(entries) and entries[place].row.ended_at <= at * 1_000_000:
                place += 1
            refused = [
                RefusedCall(*_refusal(chance), "", 0, "s") for _ in range(place - begin) if chance.random() < 0.01
            ]
            shipper.ship(Batch(entries=entries[begin:place], refusals=refused), Positions([], []))
            gauges = [*_pipeline(chance), *_standings(budgets, entries[:place], at)]
            file.writelines(_at(render(state, gauges, openmetrics=True), at, first=at == now_s - DAY_S))
        file.write("# EOF\n")
    engine.dispose()
    return path


def _refusal(chance: random.Random) -> tuple[str, str | None]:
    return chance.choice([("budget_exceeded", "research-today"), ("loop_detected", None), ("budget_busy", "payments")])


def _pipeline(chance: random.Random) -> Iterator[Gauge]:
    yield "ledger_lag_seconds", {}, f"{chance.uniform(0.02, 0.3):.3f}"
    yield "ledger_dropped_total", {}, "0"
    yield "intents_overdue", {}, "0"
    yield "spool_bytes", {}, str(chance.randrange(2000, 90_000))
    yield "inflight_requests", {}, str(chance.randrange(6))
    yield "realtime_sessions", {}, "0"
    yield "spool_writable", {}, "1"
    yield "budget_store_up", {}, "1"
    yield "config_last_reload_successful", {}, "1"
    yield "build_info", {"version": version("taximeter")}, "1"
    yield "price_book_info", {"version": load_book().version, "operator": ""}, "1"
    yield "price_book_timestamp_seconds", {}, str(checked_at(load_book()))
    yield "sessions_active", {}, str(chance.randrange(2, 9))


def _standings(budgets: Sequence[Budget], entries: Sequence[Entry], at: int) -> Iterator[Gauge]:
    """Of budgets without groups: what was settled in the window of that moment."""
    spent: dict[tuple[str, int], int] = defaultdict(int)
    for entry in entries:
        for name, _, start, _, amount in entry.budgets:
            spent[name, start] += amount
    for budget in budgets:
        name = {"budget": budget.name}
        if budget.per:
            for threshold, groups in ((0.5, 3), (0.8, 1), (1.0, 0)):
                yield "budget_groups_over_threshold", name | {"threshold": f"{threshold:g}"}, str(groups)
        if budget.per or budget.measure != "usd":
            continue
        start, end = budget.window_now(at)
        passed = sum(spent[budget.name, start] >= share * budget.limit for share in (0.5, 0.8))
        yield "alert_events_total", {"kind": "threshold", "budget": budget.name}, str(passed)
        yield "budget_limit_usd", name, decimal(budget.limit_for("", at), NANO)
        yield "budget_blocks", name, str(int(budget.hard))
        yield "budget_spent_usd", name, decimal(spent[budget.name, start], NANO)
        yield "budget_reserved_usd", name, "0"
        if end is not None:
            yield "budget_window_end_timestamp_seconds", name, str(end)


def _at(text: str, at: int, *, first: bool) -> Iterator[str]:
    """The samples with what a scrape adds: whose they are, and when."""
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        if line.startswith("#") or sample is None:
            if first and line.startswith("# TYPE"):
                yield line + "\n"
            continue
        scraped = f'job="taximeter",instance="{_INSTANCE}"'
        labels = f"{sample['labels']},{scraped}" if sample["labels"] else scraped
        yield f"{sample['name']}{{{labels}}} {sample['value']} {at}\n"


def fill(folder: Path, samples: Path) -> None:
    """Blocks of these samples, where Prometheus keeps its own."""
    _promtool("create-blocks-from", "openmetrics", str(samples), str(folder / "tsdb"))


def follow_rules(folder: Path, asked: Prometheus, now_s: int) -> None:
    """Blocks of what the recording rules would have made."""
    rules = str(ROOT / "prometheus" / "rules.yml")
    span = ["--start", str(now_s - DAY_S), "--end", str(now_s), "--eval-interval", f"{STEP_S}s"]
    _promtool("create-blocks-from", "rules", "--url", asked.url, *span, "--output-dir", str(folder / "tsdb"), rules)


def _promtool(*arguments: str) -> None:
    command = [str(find_program("promtool")), "tsdb", *arguments]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own arguments
