"""A dashboard: panels in rows, variables, annotations, links. What Grafana's JSON wants of each, said once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.panels import DATASOURCE, Json, Panel
from dashboards.queries import SCRAPED
from proxy.control.metrics.exposition import PREFIX

SCHEMA_VERSION = 42
TAG = "taximeter"
_WIDTH = 24


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard. variables: labels that it can be narrowed by, besides job and instance."""

    uid: str
    title: str
    description: str
    variables: tuple[str, ...]
    panels: Sequence[Panel]
    listed_by: str = "requests_total"  # the metric whose labels' values can be chosen

    def json(self) -> Json:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": f"{self.description} Dashed marks: red, an alert began; blue, prices changed.",
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "timezone": "browser",
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "timepicker": {},
            "fiscalYearStartMonth": 0,
            "weekStart": "",
            "links": [_others(), _page()],
            "annotations": {"list": [_alerts(), _prices()]},
            "templating": {"list": [_datasource(), *self._variables(), _address()]},
            "panels": _placed(self.panels),
        }

    def _variables(self) -> list[Json]:
        scraped = [_variable("job", "build_info", ""), _variable("instance", "build_info", '{job=~"$job"}')]
        return scraped + [_variable(name, self.listed_by, f"{{{SCRAPED}}}") for name in self.variables]


def _placed(panels: Sequence[Panel]) -> list[Json]:
    """From left to right; a panel that does not fit begins a new line below the highest of the last."""
    x = y = line = 0
    placed = []
    for number, panel in enumerate(panels, 1):
        if x + panel.width > _WIDTH:
            x, y, line = 0, y + line, 0
        placed.append(panel.placed(number, x, y))
        x, line = x + panel.width, max(line, panel.height)
    return placed


def _datasource() -> Json:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
        "multi": False,
        "includeAll": False,
        "refresh": 1,
        "regex": "",
        "options": [],
        "skipUrlSync": False,
    }


def _variable(label: str, metric: str, within: str) -> Json:
    """Values of a label. A call without a team has an empty label: `.*` keeps it, `.+` would lose its money."""
    scraped = label in ("job", "instance")
    query = f"label_values({PREFIX}{metric}{within}, {label})"
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"qryType": 1, "query": query, "refId": f"Variable-{label}"},
        "hide": 0,
        "multi": True,
        "includeAll": True,
        "allValue": ".+" if scraped else ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "options": [],
        "skipUrlSync": False,
    }


def _address() -> Json:
    """Where Taximeter's own page is, for the links to it."""
    value = "http://127.0.0.1:4101"
    return {
        "name": "taximeter",
        "label": "Taximeter's page",
        "type": "textbox",
        "query": value,
        "current": {"text": value, "value": value},
        "options": [{"selected": True, "text": value, "value": value}],
        "hide": 0,
        "skipUrlSync": False,
    }


def _others() -> Json:
    return {
        "title": "Taximeter",
        "type": "dashboards",
        "tags": [TAG],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }


def _page() -> Json:
    return {
        "title": "Calls and sessions, live",
        "type": "link",
        "url": "${taximeter}/",
        "tags": [],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": False,
        "targetBlank": True,
        "icon": "dashboard",
        "tooltip": "Taximeter's own page: every call with its cost lines",
    }


def _alerts() -> Json:
    return _annotation(
        "Alerts", "red", 'ALERTS{alertname=~"Taximeter.+", alertstate="firing"}', "{{alertname}}", "{{budget}}"
    )


def _prices() -> Json:
    was_there = f"{PREFIX}build_info{{{SCRAPED}}} offset 1m"
    now = f"sum by (version, operator) ({PREFIX}price_book_info{{{SCRAPED}}} and on (job, instance) {was_there})"
    before = f"sum by (version, operator) ({PREFIX}price_book_info{{{SCRAPED}}} offset 1m)"
    return _annotation(
        "Price changes",
        "blue",
        f"{now} unless on (version, operator) {before}",
        "Prices changed",
        "{{version}} {{operator}}",
    )


def _annotation(name: str, color: str, expr: str, title: str, text: str) -> Json:
    return {
        "name": name,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "datasource": DATASOURCE,
        "target": {"refId": "Anno", "expr": expr, "interval": "10s"},
        "titleFormat": title,
        "textFormat": text,
        "tagKeys": "severity",
    }
