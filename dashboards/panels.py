"""Panels: what Grafana's JSON wants of each kind, said once. A panel's width is in 24ths of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, AMBER, RED, BLUE = "green", "orange", "red", "blue"


@dataclass(frozen=True, slots=True)
class Target:
    """One query. legend: Grafana's `{{label}}` template. exemplar: show the calls behind it."""

    expr: str
    legend: str = ""
    exemplar: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel without its place."""

    kind: str
    title: str
    description: str
    width: int
    height: int
    targets: tuple[Target, ...]
    defaults: Json
    options: Json
    overrides: tuple[Json, ...] = ()
    transformations: tuple[Json, ...] = ()
    instant: bool = True
    step: str = ""

    def placed(self, number: int, x: int, y: int) -> Json:
        """The panel's JSON at a place of the grid."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "targets": [self._target(target, "ABCDEFGH"[n]) for n, target in enumerate(self.targets)],
            "fieldConfig": {"defaults": self.defaults, "overrides": list(self.overrides)},
            "options": self.options,
            **({"transformations": list(self.transformations)} if self.transformations else {}),
            **({"interval": self.step} if self.step else {}),
        }

    def _target(self, target: Target, ref: str) -> Json:
        return {
            "refId": ref,
            "datasource": DATASOURCE,
            "expr": target.expr,
            "legendFormat": target.legend or "__auto",
            "editorMode": "code",
            "instant": self.instant,
            "range": not self.instant,
            "exemplar": target.exemplar,
            **({"format": "table"} if self.kind == "table" else {}),
        }


def _steps(levels: Sequence[tuple[float, str]], base: str) -> Json:
    """Colours: `base`, and from each level on another."""
    steps: list[Json] = [{"color": base, "value": None}]
    steps += [{"color": color, "value": level} for level, color in levels]
    return {"mode": "absolute", "steps": steps}


def _defaults(unit: str, decimals: int | None, levels: Sequence[tuple[float, str]], base: str) -> Json:
    return {
        "unit": unit,
        **({} if decimals is None else {"decimals": decimals}),
        "color": {"mode": "thresholds" if levels else "palette-classic"},
        "thresholds": _steps(levels, base),
        "mappings": [],
    }


def _reduced() -> Json:
    return {"calcs": ["lastNotNull"], "fields": "", "values": False}


def stat(
    title: str,
    description: str,
    unit: str,
    expr: str,
    *,
    levels: Sequence[tuple[float, str]] = (),
    base: str = GREEN,
    decimals: int | None = None,
    width: int = 4,
    legend: str = "",
) -> Panel:
    """One number. levels: from which value on it has another colour."""
    defaults = _defaults(unit, decimals, levels, base if levels else BLUE) | {"color": {"mode": "thresholds"}}
    options: Json = {
        "reduceOptions": _reduced(), "orientation": "auto", "textMode": "auto", "wideLayout": True, "colorMode": "value",
        "graphMode": "none", "justifyMode": "auto", "showPercentChange": False, "percentChangeColorMode": "standard",
    }  # fmt: skip
    return Panel("stat", title, description, width, 4, (Target(expr, legend),), defaults, options)


def over_time(
    title: str,
    description: str,
    unit: str,
    *targets: Target,
    stacked: bool = False,
    levels: Sequence[tuple[float, str]] = (),
    width: int = 12,
    least: float | None = 0,
    decimals: int | None = None,
    step: str = "",
) -> Panel:
    """Lines, or areas on top of each other. levels: drawn as lines across. step: points are at least so far apart (`3m`), and
    rates over no less, for what is counted seldom."""
    custom: Json = {
        "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 40 if stacked else 0,
        "gradientMode": "none", "showPoints": "never", "pointSize": 5, "spanNulls": False, "axisPlacement": "auto",
        "axisLabel": "", "axisColorMode": "text", "axisBorderShow": False, "scaleDistribution": {"type": "linear"},
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"}, "insertNulls": False, "barAlignment": 0,
        "axisCenteredZero": False, "hideFrom": {"legend": False, "tooltip": False, "viz": False},
        "thresholdsStyle": {"mode": "line" if levels else "off"},
    }  # fmt: skip
    defaults = _defaults(unit, decimals, levels, GREEN) | {"color": {"mode": "palette-classic"}, "custom": custom}
    if least is not None:
        defaults["min"] = least
    options: Json = {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc", "hideZeros": False},
    }
    return Panel("timeseries", title, description, width, 8, targets, defaults, options, instant=False, step=step)


def bars(
    title: str,
    description: str,
    unit: str,
    *targets: Target,
    levels: Sequence[tuple[float, str]] = (),
    most: float | None = None,
    width: int = 8,
    decimals: int | None = None,
) -> Panel:
    """A bar for each series. most: the length of a whole bar."""
    defaults = _defaults(unit, decimals, levels, GREEN if levels else BLUE) | {
        "min": 0,
        "color": {"mode": "thresholds"},
    }
    if most is not None:
        defaults["max"] = most
    options: Json = {
        "reduceOptions": _reduced(), "orientation": "horizontal", "displayMode": "basic", "valueMode": "color",
        "namePlacement": "auto", "showUnfilled": True, "sizing": "auto", "minVizWidth": 8, "minVizHeight": 16,
        "maxVizHeight": 300, "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
    }  # fmt: skip
    return Panel("bargauge", title, description, width, 7, targets, defaults, options)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the name of its query, or of a label (without a query)."""

    name: str
    unit: str = ""
    expr: str = ""


def table(title: str, description: str, unit: str, *columns: Column, joined_by: str, width: int = 24) -> Panel:
    """A row for each value of the label `joined_by`, a column for each query; `unit` is what a column has without its own."""
    targets = tuple(Target(column.expr, column.name) for column in columns if column.expr)
    refs = [f"Value #{'ABCDEFGH'[number]}" for number in range(len(targets))]
    named = [column for column in columns if column.expr]
    defaults = _defaults(unit, None, (), GREEN) | {
        "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
    }
    overrides = tuple(
        {
            "matcher": {"id": "byName", "options": column.name},
            "properties": [{"id": "unit", "value": column.unit}],
        }
        for column in named
        if column.unit
    )
    transformations: tuple[Json, ...] = (
        {"id": "joinByField", "options": {"byField": joined_by, "mode": "outer"}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True, **{f"Time {number}": True for number in range(1, len(targets) + 1)}},
                "indexByName": {joined_by: 0, **{ref: number for number, ref in enumerate(refs, 1)}},
                "renameByName": dict(zip(refs, (column.name for column in named), strict=True)),
            },
        },
    )
    options: Json = {
        "showHeader": True,
        "cellHeight": "sm",
    }
    return Panel("table", title, description, width, 8, targets, defaults, options, overrides, transformations)
