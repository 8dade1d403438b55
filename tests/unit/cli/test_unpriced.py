"""Calls without a price cost nobody knows what: tables and CSV say so, JSON keeps its number beside the count."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from proxy.cli.main import app
from proxy.ledger.database import open_ledger
from tests.support.bought import bought
from tests.support.made_up import HOUR_US, START, fill

AROUND = ["--since", "2026-11-01", "--until", "2026-12-01"]


@pytest.fixture
def run(tmp_path: Path) -> Any:
    url = f"sqlite:///{tmp_path}/ledger.db"
    engine = open_ledger(url)
    session = {"session_id": "s-free", "root_session_id": "s-free", "session_source": "header"}
    fill(
        engine,
        [
            bought(START, "1.5", team="paid", customer="acme", session_id="s-paid", root_session_id="s-paid"),
            bought(START + HOUR_US, "0", team="gift", customer="gift"),
            bought(START, None, team="free", customer="nobody", key="dark", **session),
            bought(START, None, team="free", customer="nobody", **session),
        ],
    )
    engine.dispose()
    config = tmp_path / "taximeter.yaml"
    plan = {"name": "pro", "match": {"team": "free"}, "usd_per_month": 20}
    keys = [{"name": name, "key": f"sk-{name}-{'0' * 20}"} for name in ("dark", "app", "idle")]
    config.write_text(json.dumps({"ledger": url, "plans": [plan], "keys": keys}))

    def ran(*command: str) -> str:
        done = CliRunner().invoke(app, [*command, "--config", str(config)])
        assert done.exit_code == 0, done.output
        return done.stdout

    return ran


def cells(text: str, of: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if of in line)


def test_spend(run: Any) -> None:
    shown = run("spend", "--by", "team", *AROUND)
    assert cells(shown, "free") == ["free", "2", "input=2000", "output=200", "–", "–", "2"]
    assert cells(shown, "gift")[-3:] == ["0", "0.0", "0"]
    assert cells(shown, "total")[-3:] == ["1.5", "100.0", "2"]
    rows = {
        row["team"]: row
        for row in csv.DictReader(io.StringIO(run("spend", "--by", "team", *AROUND, "--format", "csv")))
    }
    assert (rows["free"]["cost_usd"], rows["gift"]["cost_usd"], rows["free"]["unpriced_requests"]) == ("", "0", "2")
    items = {item["team"]: item for item in json.loads(run("spend", "--by", "team", *AROUND, "--format", "json"))}
    assert (items["free"]["cost_usd"], items["free"]["unpriced_requests"]) == ("0", 2)


def test_sessions(run: Any) -> None:
    shown = run("sessions", "top", *AROUND)
    assert cells(shown, "s-free")[4] == "–"
    assert cells(shown, "s-free")[-1] == "2"
    tree = run("sessions", "show", "s-free")
    assert "session s-free  unpriced  2 calls" in tree
    assert "$" not in tree
    rows = list(csv.DictReader(io.StringIO(run("sessions", "show", "s-free", "--format", "csv"))))
    assert [(row["cost_usd"], row["unpriced_requests"]) for row in rows] == [("", "2"), ("", "1"), ("", "1")]
    assert "$1.5  1 call" in run("sessions", "show", "s-paid")


def test_keys(run: Any) -> None:
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(run("keys", "list", "--format", "csv")))}
    assert [(rows[name]["cost_usd"], rows[name]["unpriced_requests"]) for name in ("dark", "app", "idle")] == [
        ("", "1"), ("1.5", "1"), ("0", "0"),
    ]  # fmt: skip
    items = {item["name"]: item for item in json.loads(run("keys", "list", "--format", "json"))}
    assert (items["dark"]["cost_usd"], items["dark"]["unpriced_requests"]) == ("0", 1)


def test_margin(run: Any) -> None:
    """A customer of whose cost nothing is known earns nothing that is known, and stands at no loss and no gain."""
    shown = run("report", "margin", *AROUND)
    head = cells(shown, "revenue_usd")
    row = dict(zip(head, cells(shown, "nobody"), strict=True))
    unknown = ("cost_usd", "margin_usd", "margin_rate", "cost_per_call_usd", "break_even_calls", "projected_cost_usd")
    assert {name: row[name] for name in unknown} == dict.fromkeys(unknown, "–")
    assert (row["revenue_usd"], row["calls"], row["unpriced_requests"]) == ("20", "2", "2")
    item = next(
        one
        for one in json.loads(run("report", "margin", *AROUND, "--format", "json"))["items"]
        if one["customer"] == "nobody"
    )
    assert (item["cost_usd"], item["margin_usd"], item["unpriced_requests"]) == ("0", None, 2)


def test_month(run: Any, tmp_path: Path) -> None:
    shown = run("report", "month", "2026-11", "--by", "team")
    assert cells(shown, "free") == ["2026-11", "free", "–", "0.00", "–", "–"]
    assert cells(shown, "gift") == ["2026-11", "gift", "0", "0.00", "0", "0"]
    (tmp_path / "map.csv").write_text("team,cost_centre\nfree,C1\ngift,C2\npaid,C2\n")
    mapped = run("report", "month", "2026-11", "--map", str(tmp_path / "map.csv"))
    assert cells(mapped, "C1") == ["2026-11", "C1", "–", "0.00", "–", "–"]
    assert cells(mapped, "C2")[2] == "1.5"
