"""However many names clients make up, the number of series does not grow; and a scrape does not, with traffic."""

from __future__ import annotations

from itertools import count
from typing import Any

from proxy.control.metrics.exposition import render
from proxy.control.metrics.series import MetricState
from proxy.control.metrics.table import MAX_MODELS, MAX_TEAMS
from proxy.ledger.entries.entry import Entry, entry_of
from tests.observability.figures import series_of

_ids = count(1)


def entry(**fields: Any) -> Entry:
    number = next(_ids)
    intent = {
        "t": "intent", "id": str(number), "request_id": f"r{number}", "attempt": 1, "started_at": number, "operation": "chat",
        "upstream": "u", "provider": "p", "model": "m", "team": "t", "client": "codex", "session_id": f"s{number}",
        "session_source": "header", "root_session_id": f"s{number}", "user": f"user-{number}", "customer": f"c-{number}",
        "stream": True, "reserved_nanousd": 10,
    } | fields  # fmt: skip
    end = {
        "t": "settle", "ended_at": number, "status": "settled", "outcome": "ok", "http_status": 200, "usage": {"input": 3},
        "cost_nanousd": 9, "usage_source": "provider", "duration_ms": 5.0, "ttft_ms": 1.0, "overhead_ms": 0.1,
    } | {name: value for name, value in fields.items() if name == "http_status"}  # fmt: skip
    return entry_of(intent, end, "i")


def observe(state: MetricState, *entries: Entry) -> None:
    observed = state.observe()
    observed.observe_entries(entries)
    state.changed_by(observed)
    state.add(observed)


def series(state: MetricState) -> int:
    return series_of(render(state, (), openmetrics=False))


def overflow(state: MetricState, label: str) -> int:
    return state.counters.get(("label_overflow_total", (label,)), 0)


def test_sessions_users_and_requests_make_no_series() -> None:
    state = MetricState()
    observe(state, entry())
    observe(state)  # the first session is quiet, since 1970
    before = series(state)
    for _ in range(20):
        observe(state, *(entry() for _ in range(500)))
    assert len(state.sessions) <= 500
    assert series(state) == before


def test_names_of_models_that_never_answered_make_no_series() -> None:
    state = MetricState()
    observe(state, entry(), entry(model="made-up", http_status=404))
    observe(state)
    before = series(state)
    observe(state, *(entry(model=f"made-up-{number}", http_status=404) for number in range(10_000)))
    observe(state)
    assert series(state) == before
    assert overflow(state, "model") == 10_001
    assert state.counters[("requests_total", ("p", "other", "chat", "ok", "t", "codex", "u"))] == 10_001


def test_names_that_an_upstream_takes_are_counted_up_to_a_number() -> None:
    """An upstream that answers to any name."""
    state = MetricState()
    observe(state, *(entry(model=f"any-{number}") for number in range(MAX_MODELS + 100)))
    observe(state)
    before = series(state)
    observe(state, *(entry(model=f"any-more-{number}") for number in range(10_000)))
    observe(state)
    assert series(state) == before
    assert overflow(state, "model") == 10_100


def test_teams_are_counted_up_to_a_number() -> None:
    state = MetricState()
    observe(state, *(entry(team=f"team-{number}") for number in range(MAX_TEAMS + 50)))
    observe(state)
    before = series(state)
    observe(state, *(entry(team=f"more-{number}") for number in range(3000)))
    observe(state)
    assert series(state) == before
    assert overflow(state, "team") >= 3050
