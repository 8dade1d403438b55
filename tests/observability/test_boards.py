"""The dashboards as they are committed: what the generator writes, and complete."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import pytest

from dashboards.generate import FOLDER, files
from proxy.control.metrics.exposition import PREFIX
from proxy.control.metrics.table import METRICS
from tests.observability import boards
from tests.observability.boards import Json, Query, matchers, selectors, substituted

UIDS = [f"taximeter-{name}" for name in ("budgets", "capacity", "health", "latency", "money", "overview", "sessions")]
BOARDS = boards.boards()
PANELS = [(uid, panel) for uid, board in BOARDS.items() for panel in board["panels"]]
each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
each_panel = pytest.mark.parametrize(
    ("uid", "panel"), PANELS, ids=[f"{uid}-{panel['id']}" for uid, panel in PANELS]
)  # fmt: skip


def test_what_is_committed_is_what_the_generator_writes() -> None:
    """After a change: `python -m dashboards.generate`."""
    committed = {file: file.read_text(encoding="utf-8") for file in FOLDER.iterdir() if file.is_file()}
    assert committed == files()


def test_there_is_a_dashboard_for_each_subject_with_a_stable_name() -> None:
    assert list(BOARDS) == UIDS
    assert all(board["schemaVersion"] == 42 and "id" not in board for board in BOARDS.values())


@each_board
def test_panels_lie_beside_each_other_on_the_page(board: Json) -> None:
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        assert (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )  # fmt: skip
    assert [panel["id"] for panel in board["panels"]] == list(range(1, len(places) + 1))
    assert len({panel["title"] for panel in board["panels"]}) == len(places)


@each_panel
def test_a_panel_asks_a_question_and_explains_itself(uid: str, panel: Json) -> None:
    assert re.fullmatch(r"(What|When|Which|Where|Who|Whose|Why|How|Is|Does|Did|Was|Do)\b.{5,70}\?", panel["title"])
    assert re.fullmatch(r"(?s)[A-Z0-9`].{30,400}[.]", panel["description"]), panel["description"]
    assert panel["gridPos"]["w"] > 4 or len(panel["title"]) <= 29  # more is cut off
    assert panel["fieldConfig"]["defaults"]["unit"] not in ("", "none")


@each_board
def test_variables_are_those_that_queries_use(board: Json) -> None:
    """None is there for nothing, and none is missing."""
    named = set(boards.variables(board)) - {"datasource", "taximeter"}
    used = set(
        re.findall(r'"\$(\w+)"', " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"]))
    )
    assert used == named


def _labels_of(name: str) -> set[str]:
    for metric in METRICS:
        suffixes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        if name in [PREFIX + metric.name + suffix for suffix in suffixes]:
            return {*metric.labels, "job", "instance", *(["le"] if name.endswith("_bucket") else [])}
    raise AssertionError(f"no metric is called {name}")


@pytest.mark.parametrize("query", [*boards.queries(), *boards.annotations()], ids=lambda query: query.name)
def test_a_query_names_only_metrics_and_labels_that_there_are(query: Query) -> None:
    recorded = {rule.name for rule in boards.rules("rules.yml")}
    found = selectors(substituted(query.expr))
    assert found
    for selector, _ in found:
        if ":" in selector.name:
            assert selector.name in recorded
            assert set(matchers(selector)) <= {"job", *selector.name.partition(":")[0].split("_")}
        elif selector.name not in ("ALERTS", "up", "scrape_duration_seconds"):
            assert set(matchers(selector)) <= _labels_of(selector.name)


def test_every_variable_filters_every_metric_that_has_its_label() -> None:
    """A dashboard narrowed to a team shows nothing of the others where the metric could tell them apart."""
    unfiltered = []
    for query in boards.queries():
        filters = set(boards.variables(BOARDS[query.board])) - {"datasource", "taximeter"}
        for selector, _ in selectors(substituted(query.expr)):
            if selector.name.startswith(PREFIX):
                unfiltered += [
                    (query.name, label)
                    for label in filters & _labels_of(selector.name)
                    if label not in matchers(selector)
                ]
    assert unfiltered == []


def test_every_metric_is_on_a_dashboard_or_in_a_rule() -> None:
    rules = [rule.expr for file in ("rules.yml", "alerts.yml") for rule in boards.rules(file)]
    text = " ".join([*(query.expr for query in boards.queries()), *rules])
    unseen = [
        metric.name for metric in METRICS if not re.search(rf"\b{PREFIX}{metric.name}(_bucket|_sum|_count)?\b", text)
    ]
    assert unseen == []


def test_rates_of_what_is_counted_by_minutes_are_over_some_of_them() -> None:
    """Over a minute (four scrapes) such a rate is nothing at one moment and twice as much at the next."""
    rates = [
        panel
        for board in boards.boards().values()
        for panel in board["panels"]
        if any("rate(taximeter_capacity_" in target["expr"] for target in panel.get("targets", ()))
    ]
    assert rates
    assert all(panel["interval"] == "3m" for panel in rates)


def test_links_lead_to_the_other_dashboards_and_to_the_page() -> None:
    for board in BOARDS.values():
        links: list[Any] = board["links"]
        assert [link["type"] for link in links] == ["dashboards", "link"]
        assert links[0]["tags"] == board["tags"] == ["taximeter"]
        assert links[1]["url"] == "${taximeter}/"
