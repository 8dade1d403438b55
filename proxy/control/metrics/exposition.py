"""Metrics as text: Prometheus' format 0.0.4, or OpenMetrics 1.0 with exemplars. Integers become exact decimals.

Our own writer, because the client library passes every value through a float: a sum of nano-dollars must come out as it is.
The tests read the text back with `prometheus_client`'s parsers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

from proxy.control.metrics.series import Exemplar, MetricState
from proxy.control.metrics.table import METRICS, Key, Metric

T = TypeVar("T")
_Q = re.compile(r"[01](\.[0-9]{0,3})?")
PREFIX = "taximeter_"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# Without labels, and so there from the start: 0, for the first rise to be seen as one.
COUNTED_ALONE = ("cost_corrections_usd", "overrun_usd_total")
_ZERO: Sequence[tuple[tuple[str, ...], int]] = (((), 0),)

# (name without prefix, labels, value as text): what is asked for at the scrape instead of being counted
Gauge = tuple[str, Mapping[str, str], str]


def takes_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics is wanted: named in `Accept`, and not with a lower weight than plain text."""
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name in weights:
            weights[name] = max(weights[name], _weight(parameters))
    return 0 < weights["application/openmetrics-text"] >= weights["text/plain"]


def _weight(parameters: Iterable[str]) -> float:
    """The `q` among a media type's parameters, 1 where there is none that can be read."""
    text = next((item[2:] for item in parameters if item.startswith("q=")), "1")
    return float(text) if _Q.fullmatch(text) else 1.0


def decimal(value: int, scale: int) -> str:
    """`value / scale` as an exact decimal; `scale` is a power of ten."""
    if scale == 1:
        return str(value)
    whole, rest = divmod(abs(value), scale)
    digits = len(str(scale)) - 1
    text = f"{whole}.{rest:0{digits}d}".rstrip("0") if rest else str(whole)
    return f"-{text}" if value < 0 else text


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _labels(names: Iterable[str], values: Iterable[str], extra: str = "") -> str:
    parts = [f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True)]
    if extra:
        parts.append(extra)
    return "{" + ",".join(parts) + "}" if parts else ""


def render(state: MetricState, gauges: Iterable[Gauge], *, openmetrics: bool) -> str:
    """The whole exposition."""
    with state.lock:
        counters = _by_name(state.counters)
        histograms = _by_name(state.histograms)
        exemplars = dict(state.exemplars)
    now: dict[str, list[tuple[Mapping[str, str], str]]] = {}
    for name, labels, value in gauges:
        now.setdefault(name, []).append((labels, value))
    lines: list[str] = []
    for metric in METRICS:
        lines += _head(metric, openmetrics=openmetrics)
        if metric.kind == "histogram":
            for values, counts in histograms.get(metric.name, _at_first(metric)):
                exemplar = exemplars.get((metric.name, values)) if openmetrics else None
                lines += _histogram(metric, values, counts, exemplar)
            continue
        for values, total in counters.get(metric.name, _ZERO if metric.name in COUNTED_ALONE else ()):
            lines.append(f"{PREFIX}{metric.name}{_labels(metric.labels, values)} {decimal(total, metric.scale)}")
        for labels, value in now.get(metric.name, ()):
            lines.append(f"{PREFIX}{metric.name}{_labels(labels, labels.values())} {value}")
    if openmetrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _at_first(metric: Metric) -> Sequence[tuple[tuple[str, ...], list[int]]]:
    return () if metric.labels else (((), [0] * (len(metric.buckets) + 2)),)


def _by_name(series: Mapping[Key, T]) -> dict[str, list[tuple[tuple[str, ...], T]]]:
    """Series by their metric's name. A histogram's list of counts is never changed, only replaced."""
    grouped: dict[str, list[tuple[tuple[str, ...], T]]] = {}
    for (name, values), value in series.items():
        grouped.setdefault(name, []).append((values, value))
    return grouped


def _head(metric: Metric, *, openmetrics: bool) -> list[str]:
    name = PREFIX + metric.name
    if openmetrics and metric.kind == "counter":
        name = name.removesuffix("_total")
    return [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"]


def _histogram(metric: Metric, values: tuple[str, ...], counts: list[int], exemplar: Exemplar | None) -> list[str]:
    name = PREFIX + metric.name
    lines, running = [], 0
    pending = exemplar
    for edge, count in zip([*metric.buckets, "+Inf"], counts[:-1], strict=True):
        running += count
        shown = ""
        if pending and (edge == "+Inf" or pending.value <= Decimal(edge) * metric.scale):
            said = {"request_id": pending.request_id, "session_id": pending.session_id[:60]}
            said = {name: value for name, value in said.items() if value}
            ids = _labels(said, said.values())
            shown = f" # {ids} {decimal(pending.value, metric.scale)}"
            pending = None
        le = f'le="{edge}"'
        lines.append(f"{name}_bucket{_labels(metric.labels, values, le)} {running}{shown}")
    labels = _labels(metric.labels, values)
    return [*lines, f"{name}_sum{labels} {decimal(counts[-1], metric.scale)}", f"{name}_count{labels} {running}"]
