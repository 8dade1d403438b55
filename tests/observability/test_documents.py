"""The README's table of metrics equals the code, and every alert has a playbook that names what there is."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from docs.generate import unit_of
from proxy.control.metrics.exposition import PREFIX
from proxy.control.metrics.table import METRICS, OVERFLOW
from tests.observability import boards
from tests.observability.boards import ROOT, Rule

README = (ROOT / "README.md").read_text(encoding="utf-8")
PLAYBOOKS = (ROOT / "playbooks.md").read_text(encoding="utf-8")
ALERTS = boards.rules("alerts.yml")
RULES = {rule.name: rule.expr for rule in boards.rules("rules.yml")}


class Row(NamedTuple):
    """A row of the table. panel: `board: title`, or `alert: name`."""

    name: str
    labels: tuple[str, ...]
    kind: str
    unit: str
    meaning: str
    panel: str


def _rows() -> list[Row]:
    found = []
    for line in README.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 5:
            shape = re.fullmatch(r"`(\w+)(?:\{([\w,]+)\})?`", cells[0])
            assert shape, line
            found.append(Row(shape[1], tuple(shape[2].split(",")) if shape[2] else (), *cells[1:]))
    return found


ROWS = _rows()


@pytest.mark.parametrize("document", ["README.md", "boards/health.py", "../docs/metrics.md"])
def test_what_teams_beyond_the_bound_count_as_is_told(document: str) -> None:
    assert f"`{OVERFLOW}`" in (ROOT / document).read_text(encoding="utf-8")


def test_the_table_has_every_metric_of_the_code_and_no_other() -> None:
    assert [row[:5] for row in ROWS] == [(m.name, m.labels, m.kind, unit_of(m), m.help) for m in METRICS]


def _used_by(place: str) -> str:
    """All queries behind a cell `board: title` or `alert: name`, the rules that they name included."""
    kind, _, title = place.partition(": ")
    if kind == "alert":
        text = next(rule.expr for rule in ALERTS if rule.name == title)
    else:
        mine = [query.expr for query in boards.queries() if (query.board, query.panel) == (f"taximeter-{kind}", title)]
        assert mine, f"there is no panel {place}"
        text = " ".join(mine)
    while more := {name for name in RULES if name in text and RULES[name] not in text}:
        text += " ".join(RULES[name] for name in more)
    return text


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_named_panel_shows_the_metric(row: Row) -> None:
    assert re.search(rf"\b{PREFIX}{row.name}(_bucket|_sum|_count)?\b", _used_by(row.panel))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_has_its_playbook(alert: Rule) -> None:
    entry = re.search(rf"^## {alert.name}\n(.+?)(?=^## |\Z)", PLAYBOOKS, re.MULTILINE | re.DOTALL)
    assert entry, "no entry"
    assert entry[1].strip().startswith(f"**{alert.labels['severity']}.** ")
    assert "\n- *Do:* " in entry[1]
    assert alert.annotations["playbook"] == f"playbooks.md#{alert.name.lower()}"
    assert alert.annotations["summary"]
    assert alert.annotations["description"].endswith(".")
    assert alert.annotations["dashboard"] in boards.boards()


def test_there_is_no_playbook_without_an_alert() -> None:
    assert re.findall(r"^## (\w+)$", PLAYBOOKS, re.MULTILINE) == [alert.name for alert in ALERTS]


def test_dashboards_that_the_documents_name_are_there() -> None:
    titles = {board["title"].removeprefix("Taximeter: ") for board in boards.boards().values()}
    named = set(re.findall(r'[Bb]oard "([^"]+)"', PLAYBOOKS))
    assert named
    assert named <= titles
