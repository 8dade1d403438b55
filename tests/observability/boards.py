"""The committed dashboards, rules and alerts, read as Grafana and Prometheus read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser
import yaml

ROOT = Path(__file__).resolve().parents[2] / "dashboards"
Json = dict[str, Any]


class Query(NamedTuple):
    """One query of a panel. instant: for one moment, else over the range."""

    board: str
    panel: str
    ref: str
    expr: str
    instant: bool
    legend: str
    exemplar: bool

    @property
    def name(self) -> str:
        return f"{self.board} / {self.panel} / {self.ref}"


class Rule(NamedTuple):
    """A recording rule, or an alert."""

    name: str
    expr: str
    is_alert: bool
    for_: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def boards() -> dict[str, Json]:
    """uid -> JSON, of every file."""
    read = [json.loads(file.read_text(encoding="utf-8")) for file in sorted((ROOT / "grafana").glob("*.json"))]
    return {board["uid"]: board for board in read}


def queries() -> Iterator[Query]:
    for uid, board in boards().items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield Query(
                    uid, panel["title"], target["refId"], target["expr"], target["instant"], target["legendFormat"],
                    target["exemplar"],
                )  # fmt: skip


def annotations() -> Iterator[Query]:
    for uid, board in boards().items():
        for item in board["annotations"]["list"]:
            yield Query(
                uid, f"annotation {item['name']}", "A", item["target"]["expr"], False, item["titleFormat"], False
            )


def variables(board: Json) -> dict[str, Json]:
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def rules(file: str) -> list[Rule]:
    groups = yaml.safe_load((ROOT / "prometheus" / file).read_text(encoding="utf-8"))["groups"]
    return [
        Rule(
            rule.get("alert") or rule["record"],
            rule["expr"],
            "alert" in rule,
            rule.get("for", ""),
            rule.get("labels", {}),
            rule.get("annotations", {}),
        )
        for group in groups
        for rule in group["rules"]
    ]


def substituted(expr: str, *, interval: str = "1m", span: str = "1h", values: Mapping[str, str] | None = None) -> str:
    """The query as Grafana sends it. values: of variables; the others stand for all there is."""
    for macro, value in (("$__rate_interval", interval), ("$__interval", interval), ("$__range", span)):
        expr = expr.replace(macro, value)
    for name, value in (values or {}).items():
        expr = expr.replace(f'"${name}"', f'"{value}"')
    return re.sub(r'"\$(?:job|instance)"', '".+"', re.sub(r'"\$(?!job|instance)\w+"', '".*"', expr))


def selectors(expr: str) -> list[tuple[Any, tuple[Any, ...]]]:
    """Every selector of series in a query whose macros are substituted, each with what it stands in, outermost first."""
    return list(_selectors(promql_parser.parse(expr), ()))


def _selectors(node: Any, within: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node, within
    for part in _parts(node):
        yield from _selectors(part, (*within, node))


def _parts(node: Any) -> list[Any]:
    if isinstance(node, promql_parser.MatrixSelector):
        return [node.vector_selector]
    if isinstance(node, promql_parser.Call):
        return list(node.args)
    if isinstance(node, promql_parser.BinaryExpr):
        return [node.lhs, node.rhs]
    return [node.expr] if hasattr(node, "expr") else []


def matchers(selector: Any) -> dict[str, str]:
    return {matcher.name: matcher.value for matcher in selector.matchers.matchers}
