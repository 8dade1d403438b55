"""`taximeter report reprice --apply` beside a server that runs: its budgets, its metrics and its ledger follow."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import yaml

from tests.support.day import Day, running
from tests.support.gateway import ADMIN_KEY
from tests.support.processes import taximeter
from tests.support.waiting import wait_until
from tests.torture.scenarios import plane_pid

# Of all time: on the first of a month some of the demo's calls are the last month's.
COMPANY = {"name": "company", "limit_usd": 400, "window": "total", "action": "warn"}
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


def spent(day: Day) -> Decimal | None:
    """Of the company's budget; None while nobody answers."""
    try:
        answer = httpx.get(f"{day.gateway.admin_url}/api/budgets/company", headers=ADMIN, timeout=30)
    except httpx.HTTPError:
        return None
    return Decimal(answer.json()["spent_usd"]) if answer.status_code == 200 else None


def printed(*words: str) -> str:
    done = taximeter(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def has_charged_the_overdue_job(day: Day) -> bool:
    """One of the demo's jobs is beyond its deadline, so it is charged at its ceiling a moment after the start."""
    metrics = httpx.get(f"{day.gateway.admin_url}/metrics", headers=ADMIN, timeout=30).text
    return 'taximeter_jobs{state="running"} 2\n' in metrics


@contextlib.contextmanager
def mispriced(folder: Path) -> Iterator[tuple[Day, list[str], Decimal]]:
    """A server whose ledger has calls without a price, what corrects them, and what its budget has spent before."""
    with running(folder, budgets=[COMPANY]) as day:
        settings = yaml.safe_load(Path(day.gateway.config_file).read_text())
        settings["prices"].append({"provider": "mistral", "model": "*", "input": "1000", "output": "1000"})
        priced = folder / "priced.yaml"
        priced.write_text(json.dumps(settings))
        wait_until("the overdue job is charged", lambda: has_charged_the_overdue_job(day))
        before = spent(day)
        assert before is not None
        yield (
            day,
            ["report", "reprice", "--since", "2d", "--apply", "--format", "json", "--config", str(priced)],
            before,
        )


def test_a_running_server_takes_the_corrections(tmp_path: Path) -> None:
    with mispriced(tmp_path) as (day, asking, before):
        shown = json.loads(printed(*asking))
        more = Decimal(shown["difference_usd"])
        wait_until("the budget has the corrections", lambda: spent(day) == before + more)

        metrics = httpx.get(f"{day.gateway.admin_url}/metrics", headers=ADMIN, timeout=30).text
        assert more > 0
        assert f"taximeter_cost_corrections_usd {shown['difference_usd']}\n" in metrics
        assert "The ledger adds up" in printed("verify", "--config", str(day.gateway.config_file))
        assert json.loads(printed(*asking))["items"] == []


def test_corrections_count_where_the_control_process_dies_before_it_has_them(tmp_path: Path) -> None:
    """The data plane counts on; its successor ships them before the two know of each other."""
    with mispriced(tmp_path) as (day, asking, before), ThreadPoolExecutor(1) as pool:
        rig: Any = SimpleNamespace(gateway=day.gateway)
        control = plane_pid(rig, "control")
        os.kill(control, signal.SIGSTOP)
        asked = pool.submit(printed, *asking)
        parts = lambda: day.gateway.spool.glob("reprice-*.spool")  # noqa: E731 - there is none yet
        wait_until("the corrections wait", lambda: any(b'"correction"' in part.read_bytes() for part in parts()), 30)
        os.kill(control, signal.SIGKILL)

        more = Decimal(json.loads(asked.result())["difference_usd"])

        assert more > 0
        wait_until("the budget has the corrections", lambda: spent(day) == before + more, 20)
