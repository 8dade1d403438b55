"""Metrics as text: Prometheus' format 0.0.4, or OpenMetrics 1.0 with exemplars. Integers become exact decimals.

Our own writer, because the client library passes every value through a float: a sum of nano-dollars must come out as it is.
The tests read the text back with `prometheus_client`'s parsers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from proxy.control.metrics import METRICS, Metric
from proxy.control.series import Exemplar, MetricState

PREFIX = "taximeter_"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# (name without prefix, labels, value as text): what is asked for at the scrape instead of being counted
Gauge = tuple[str, Mapping[str, str], str]


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
        counters = dict(state.counters)
        histograms = {key: list(counts) for key, counts in state.histograms.items()}
        exemplars = dict(state.exemplars)
    now: dict[str, list[tuple[Mapping[str, str], str]]] = {}
    for name, labels, value in gauges:
        now.setdefault(name, []).append((labels, value))
    lines: list[str] = []
    for metric in METRICS:
        lines += _head(metric, openmetrics=openmetrics)
        if metric.kind == "histogram":
            for (name, values), counts in histograms.items():
                if name == metric.name:
                    lines += _histogram(metric, values, counts, exemplars.get((name, values)) if openmetrics else None)
            continue
        for (name, values), total in counters.items():
            if name == metric.name:
                lines.append(f"{PREFIX}{name}{_labels(metric.labels, values)} {decimal(total, metric.scale)}")
        for labels, value in now.get(metric.name, ()):
            lines.append(f"{PREFIX}{metric.name}{_labels(labels, labels.values())} {value}")
    if openmetrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


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
            ids = _labels(("request_id", "session_id"), (pending.request_id, pending.session_id[:60]))
            shown = f" # {ids} {decimal(pending.value, metric.scale)}"
            pending = None
        le = f'le="{edge}"'
        lines.append(f"{name}_bucket{_labels(metric.labels, values, le)} {running}{shown}")
    labels = _labels(metric.labels, values)
    return [*lines, f"{name}_sum{labels} {decimal(counts[-1], metric.scale)}", f"{name}_count{labels} {running}"]
