"""Grafana's dashboard-linter has nothing to say of the dashboards, but for what `.lint` excludes with a reason."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.observability import linter
from tests.observability.boards import Json, boards

BOARDS = boards()


@pytest.mark.parametrize("rule", linter.RULES, ids=linter.name_of)
def test_no_dashboard_breaks_the_rule(rule: linter.Rule) -> None:
    """And every exclusion is needed."""
    entries = linter.excluded().get(linter.name_of(rule), [])
    allowed = {(entry["dashboard"], entry["panel"], int(entry["targetIdx"])) for entry in entries}
    found = {(board["title"], panel, number) for board in BOARDS.values() for panel, number, _ in rule(board)}
    assert found == allowed


def _first(change: Callable[[Any], object]) -> Callable[[Json], object]:
    return lambda board: change(board["panels"][0]["targets"][0])


def _variable(name: str, **fields: Any) -> Callable[[Json], object]:
    return lambda board: next(item for item in board["templating"]["list"] if item["name"] == name).update(fields)


def _panel(**fields: Any) -> Callable[[Json], object]:
    return lambda board: board["panels"][0].update(fields)


BREAKING: list[tuple[linter.Rule, Callable[[Json], object]]] = [
    (linter.template_datasource_rule, _variable("datasource", label="Prometheus")),
    (linter.template_job_rule, _variable("job", allValue=".*")),
    (linter.template_instance_rule, _variable("instance", multi=False)),
    (linter.template_label_promql_rule, _variable("team", query={"query": "label_values(x{, team)"})),
    (linter.template_on_time_change_reload_rule, _variable("team", refresh=1)),
    (linter.uneditable_dashboard_rule, lambda board: board.update(editable=True)),
    (linter.panel_datasource_rule, _panel(datasource={"uid": "prometheus"})),
    (linter.panel_title_description_rule, _panel(description="")),
    (linter.panel_units_rule, lambda board: board["panels"][0]["fieldConfig"]["defaults"].update(unit="dollars")),
    (linter.panel_no_targets_rule, _panel(targets=[])),
    (linter.target_promql_rule, _first(lambda target: target.update(expr="sum(("))),
    (linter.target_rate_interval_rule, _first(lambda target: target.update(expr="rate(x_total[5m])"))),
    (linter.target_job_rule, _first(lambda target: target.update(expr='up{instance=~"$instance"}'))),
    (linter.target_instance_rule, _first(lambda target: target.update(expr='up{job=~"$job"}'))),
    (linter.target_counter_agg_rule, _first(lambda target: target.update(expr="sum(x_total)"))),
]


@pytest.mark.parametrize(("rule", "breaks"), BREAKING, ids=[linter.name_of(rule) for rule, _ in BREAKING])
def test_a_broken_rule_is_seen(rule: linter.Rule, breaks: Callable[[Json], object]) -> None:
    """The port itself: each of these is a finding that was not there before."""
    board = BOARDS["taximeter-money"]
    broken = copy.deepcopy(board)
    breaks(broken)
    assert len(list(rule(broken))) > len(list(rule(board))) or set(rule(broken)) - set(rule(board))


def test_every_rule_is_tested() -> None:
    assert [rule for rule, _ in BREAKING] == list(linter.RULES)
