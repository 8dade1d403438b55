"""What Prometheus reads: exact amounts, the format that was asked for, and texts that its own client's parsers take."""

from __future__ import annotations

from decimal import Decimal

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.utils import floatToGoString

from proxy.control.metrics.exposition import render, takes_openmetrics
from proxy.control.metrics.series import Exemplar, MetricState
from proxy.control.metrics.table import LIMITS, MICRO
from proxy.money import NANO
from tests.support.rows import each_row

LABELS = ("openai", 'odd "model"\\\n', "input", "team", "codex")
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def state_with(nanousd: int) -> MetricState:
    state = MetricState()
    state.counters["cost_usd_total", LABELS] = nanousd
    key = ("request_duration_seconds", ("openai", "m", "u"))
    state.histograms[key] = [0] * len(LIMITS["request_duration_seconds"]) + [1, 5000 * MICRO]
    state.exemplars[key] = Exemplar("r-1", "s-1", 5000 * MICRO)
    return state


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_sum_is_exact_where_a_double_is_not(openmetrics: bool) -> None:
    """Why we write it ourselves: from $8,388,608 in one series on, the client library is a nano-dollar off."""
    nanousd = 9_000_000 * NANO + 1
    text = render(state_with(nanousd), (), openmetrics=openmetrics)

    (line,) = [line for line in text.splitlines() if line.startswith("taximeter_cost_usd_total{")]

    assert line.endswith(" 9000000.000000001")
    assert Decimal(floatToGoString(Decimal("9000000.000000001"))) == Decimal("9000000.000000002")


@pytest.mark.parametrize("openmetrics", [False, True])
def test_the_clients_own_parsers_take_it(openmetrics: bool) -> None:
    text = render(state_with(1), [("build_info", {"version": "1"}, "1")], openmetrics=openmetrics)

    families = list((parse_openmetrics if openmetrics else parse_text)(text))

    samples = {(sample.name, *sample.labels.values()): sample for family in families for sample in family.samples}
    assert samples["taximeter_cost_usd_total", *LABELS].value == 1e-9
    last = samples["taximeter_request_duration_seconds_bucket", "openai", "m", "u", "+Inf"]
    assert last.value == 1
    if openmetrics:
        assert last.exemplar is not None
        assert (last.exemplar.labels, last.exemplar.value) == ({"request_id": "r-1", "session_id": "s-1"}, 5000)


@each_row(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; version=1.0.0", True),
        (PROMETHEUS, True),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.1,text/plain;q=0.9", False),
        ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.5", True),
        ("application/openmetrics-text;q=lots", True),
        ("application/openmetrics-textual", False),
        (";,;q=,=", False),
    ],
)
def test_who_prefers_openmetrics_gets_it(accept: str, openmetrics: bool) -> None:
    assert takes_openmetrics(accept) is openmetrics
