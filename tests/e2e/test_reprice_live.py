"""`taximeter report reprice --apply` beside a server that runs: its budgets, its metrics and its ledger follow."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import httpx
import yaml

from tests.support.day import Day, running
from tests.support.gateway import ADMIN_KEY
from tests.support.processes import taximeter
from tests.support.waiting import wait_until

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


def spent(day: Day) -> Decimal:
    answer = httpx.get(f"{day.gateway.admin_url}/api/budgets/company", headers=ADMIN, timeout=30)
    return Decimal(answer.json()["spent_usd"])


def printed(*words: str) -> str:
    done = taximeter(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_running_server_takes_the_corrections(tmp_path: Path) -> None:
    with running(tmp_path, with_jobs=False) as day:
        settings = yaml.safe_load(Path(day.gateway.config_file).read_text())
        settings["prices"].append({"provider": "mistral", "model": "*", "input": "1000", "output": "1000"})
        priced = tmp_path / "priced.yaml"
        priced.write_text(json.dumps(settings))
        before = spent(day)

        asking = ["report", "reprice", "--since", "2d", "--apply", "--format", "json", "--config", str(priced)]
        shown = json.loads(printed(*asking))
        more = Decimal(shown["difference_usd"])
        wait_until("the budget has the corrections", lambda: spent(day) == before + more)

        metrics = httpx.get(f"{day.gateway.admin_url}/metrics", headers=ADMIN, timeout=30).text
        assert more > 0
        assert f"taximeter_cost_corrections_usd {shown['difference_usd']}\n" in metrics
        assert "The ledger adds up" in printed("verify", "--config", str(day.gateway.config_file))
        assert json.loads(printed(*asking))["items"] == []
