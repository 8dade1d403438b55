"""Refused calls are told once: what a batch counted, since it was last asked."""

from __future__ import annotations

from proxy.control.metrics.series import MetricState


def test_refusals_are_taken_once_by_reason_and_budget() -> None:
    state = MetricState()
    for count in (1, 2):
        observed = state.observe()
        observed.observe_refusal("budget_exceeded", "day")
        observed.observe_tally(
            {"t": "tally", "at": 0, "refusals": [["invalid_api_key", None, count]], "would_refuse": [["soft", 9]]}
        )
        state.add(observed)

    assert state.take_refused() == {("budget_exceeded", "day"): 2, ("invalid_api_key", ""): 3}
    assert state.take_refused() == {}
    assert state.counters["refusals_total", ("invalid_api_key", "")] == 3
