"""Rules, alerts and the configurations of Prometheus and Alertmanager, held against their own tools."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.observability import boards
from tests.observability.boards import ROOT
from tests.support.programs import find_program

FOLDER = ROOT / "prometheus"
CASES = sorted(FOLDER.glob("*.test.yml"))


def _run(program: str, *arguments: str, cwd: Path = FOLDER) -> str:
    done = subprocess.run(
        [str(find_program(program)), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.needs("prometheus")
def test_rules_and_configuration_are_valid(tmp_path: Path) -> None:
    for file in ("prometheus.yml", "rules.yml", "alerts.yml"):
        (tmp_path / file).write_bytes((FOLDER / file).read_bytes())
    (tmp_path / "metrics_token").write_text("a-token")
    told = _run("promtool", "check", "config", "prometheus.yml", cwd=tmp_path)
    counts = [int(number) for number in re.findall(r"SUCCESS: (\d+) rules found", told)]
    assert counts == [len(boards.rules("rules.yml")), len(boards.rules("alerts.yml"))]


@pytest.mark.needs("prometheus")
@pytest.mark.parametrize("file", CASES, ids=lambda file: file.name)
def test_alerts_fire_when_they_should_and_not_before(file: Path) -> None:
    assert "SUCCESS" in _run("promtool", "test", "rules", file.name)


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    """And every case says before that of something that does not."""
    expected = re.findall(r'labels: .\{alertname="(\w+)"', "".join(file.read_text(encoding="utf-8") for file in CASES))
    assert set(expected) == {rule.name for rule in boards.rules("alerts.yml")}


def test_every_group_of_rules_is_evaluated_in_a_known_order() -> None:
    """promtool takes groups in any order else, and an alert would see what was recorded one evaluation ago."""
    groups = [
        group["name"]
        for file in ("rules.yml", "alerts.yml")
        for group in yaml.safe_load((FOLDER / file).read_text(encoding="utf-8"))["groups"]
    ]
    for file in CASES:
        assert sorted(yaml.safe_load(file.read_text(encoding="utf-8"))["group_eval_order"]) == sorted(groups)


@pytest.mark.needs("prometheus-alertmanager")
@pytest.mark.parametrize("name", ["alertmanager.yml", "slack.example.yml"])
def test_alertmanagers_configuration_is_valid(name: str) -> None:
    assert "SUCCESS" in _run("amtool", "check-config", name, cwd=ROOT / "alertmanager")


@pytest.mark.needs("prometheus-alertmanager")
@pytest.mark.parametrize(("severity", "receiver"), [("page", "slack-now"), ("ticket", "slack-tickets")])
def test_slack_gets_pages_and_tickets_in_different_channels(severity: str, receiver: str) -> None:
    told = _run(
        "amtool", "config", "routes", "test", "--config.file=slack.example.yml", f"severity={severity}", cwd=ROOT / "alertmanager",
    )  # fmt: skip
    assert told.strip() == receiver
