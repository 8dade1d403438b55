"""The rules of grafana's dashboard-linter, for classic dashboards on Prometheus, said again: the linter itself is a Go program.

Names are the linter's own. Each rule gives what is wrong as (panel, target number, message); None where it is of the whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import promql_parser

from tests.observability.boards import ROOT, Json, matchers, selectors, substituted, variables

Finding = tuple[str | None, int | None, str]
Rule = Callable[[Json], Iterator[Finding]]

_DURATION = "4m44s"  # stands for $__rate_interval, and for nothing else

# Of the linter's list, those that could make sense here.
UNITS = {
    "none", "string", "short", "percent", "percentunit", "currencyUSD", "bytes", "decbytes", "Bps", "dateTimeAsIso",
    "dateTimeFromNow", "dateTimeAsSystem", "ns", "µs", "ms", "s", "m", "h", "d", "dtdurations", "cps", "ops", "reqps", "rps",
    "joule", "bool", "bool_yes_no", "bool_on_off",
}  # fmt: skip


def template_datasource_rule(board: Json) -> Iterator[Finding]:
    found = [item for item in board["templating"]["list"] if item["type"] == "datasource"]
    if len(found) != 1:
        yield None, None, "does not have one templated data source"
    for item in found:
        if (item["name"], item["label"]) != ("datasource", "Data source"):
            yield None, None, "the data source's variable is called something else"


def _template(board: Json, name: str) -> Iterator[Finding]:
    item = variables(board).get(name)
    if item is None:
        yield None, None, f"is missing the {name} template"
        return
    wanted = {"type": "query", "label": name.capitalize(), "multi": True, "allValue": ".+"}
    for key, value in wanted.items():
        if item.get(key) != value:
            yield None, None, f"the {name} template's {key} should be {value}"
    if item["datasource"]["uid"] not in ("$datasource", "${datasource}"):
        yield None, None, f"the {name} template should use datasource '$datasource'"


def template_job_rule(board: Json) -> Iterator[Finding]:
    yield from _template(board, "job")


def template_instance_rule(board: Json) -> Iterator[Finding]:
    yield from _template(board, "instance")


def _queried(board: Json) -> list[Json]:
    return [item for item in board["templating"]["list"] if item["type"] == "query"]


def template_label_promql_rule(board: Json) -> Iterator[Finding]:
    for item in _queried(board):
        asked = re.fullmatch(r"label_values\((.+), ?(\w+)\)", item["query"]["query"])
        if asked is None:
            yield None, None, f"template {item['name']}: no label_values()"
        else:
            try:
                promql_parser.parse(substituted(asked[1]))
            except ValueError as error:
                yield None, None, f"template {item['name']}: {error}"


def template_on_time_change_reload_rule(board: Json) -> Iterator[Finding]:
    for item in _queried(board):
        if item["refresh"] != 2:
            yield None, None, f"templated variable {item['name']} should be refreshed on time range change"


def uneditable_dashboard_rule(board: Json) -> Iterator[Finding]:
    if board["editable"]:
        yield None, None, "is editable"


def panel_datasource_rule(board: Json) -> Iterator[Finding]:
    for panel in board["panels"]:
        used = [panel["datasource"]["uid"], *(target["datasource"]["uid"] for target in panel["targets"])]
        if set(used) - {"$datasource", "${datasource}"}:
            yield panel["title"], None, "does not use the templated data source"


def panel_title_description_rule(board: Json) -> Iterator[Finding]:
    for panel in board["panels"]:
        if not (panel["title"] and panel["description"]):
            yield panel["title"], None, "has missing title or description"


def panel_units_rule(board: Json) -> Iterator[Finding]:
    for panel in board["panels"]:
        units = [panel["fieldConfig"]["defaults"].get("unit", "")]
        for override in panel["fieldConfig"]["overrides"]:
            units += [item["value"] for item in override["properties"] if item["id"] == "unit"]
        for unit in units:
            if unit not in UNITS:
                yield panel["title"], None, f"has no or invalid units defined: '{unit}'"


def panel_no_targets_rule(board: Json) -> Iterator[Finding]:
    for panel in board["panels"]:
        if not panel["targets"]:
            yield panel["title"], None, "has no targets"


def _targets(board: Json) -> Iterator[tuple[str, int, str]]:
    for panel in board["panels"]:
        for number, target in enumerate(panel["targets"]):
            yield panel["title"], number, substituted(target["expr"], interval=_DURATION, span="3h3m3s")


def target_promql_rule(board: Json) -> Iterator[Finding]:
    for panel, number, expr in _targets(board):
        try:
            promql_parser.parse(expr)
        except ValueError as error:
            yield panel, number, f"invalid PromQL query: {error}"


def target_rate_interval_rule(board: Json) -> Iterator[Finding]:
    expected = promql_parser.parse_duration(_DURATION)
    for panel, number, expr in _targets(board):
        for _, within in selectors(expr):
            if (
                len(within) > 1
                and isinstance(within[-1], promql_parser.MatrixSelector)
                and isinstance(within[-2], promql_parser.Call)
                and within[-2].func.name in ("rate", "irate")
                and within[-1].range != expected
            ):
                yield panel, number, "should use $__rate_interval"


def _matched(board: Json, label: str) -> Iterator[Finding]:
    for panel, number, expr in _targets(board):
        for selector, _ in selectors(expr):
            if matchers(selector).get(label) != ".+":
                yield panel, number, f"invalid PromQL query: {label} selector not found in {selector.name}"


def target_job_rule(board: Json) -> Iterator[Finding]:
    yield from _matched(board, "job")


def target_instance_rule(board: Json) -> Iterator[Finding]:
    yield from _matched(board, "instance")


def target_counter_agg_rule(board: Json) -> Iterator[Finding]:
    for panel, number, expr in _targets(board):
        for selector, within in selectors(expr):
            counted = len(within) > 1 and isinstance(within[-1], promql_parser.MatrixSelector)
            name = within[-2].func.name if counted and isinstance(within[-2], promql_parser.Call) else ""
            if selector.name.endswith("_total") and name not in ("rate", "irate", "increase"):
                yield panel, number, f"counter metric '{selector.name}' is not aggregated with rate, irate, or increase"


RULES: tuple[Rule, ...] = (
    template_datasource_rule, template_job_rule, template_instance_rule, template_label_promql_rule,
    template_on_time_change_reload_rule, uneditable_dashboard_rule, panel_datasource_rule, panel_title_description_rule,
    panel_units_rule, panel_no_targets_rule, target_promql_rule, target_rate_interval_rule, target_job_rule,
    target_instance_rule, target_counter_agg_rule,
)  # fmt: skip


def excluded() -> dict[str, list[dict[str, Any]]]:
    """rule -> the (dashboard, panel, target) that it is not to look at: `.lint` beside the dashboards."""
    rules = json.loads((ROOT / "grafana" / ".lint").read_text(encoding="utf-8"))["exclusions"]
    assert all(len(rule["reason"]) > 20 for rule in rules.values())
    return {name: rule["entries"] for name, rule in rules.items()}


def name_of(rule: Rule) -> str:
    return rule.__name__.replace("_", "-")
