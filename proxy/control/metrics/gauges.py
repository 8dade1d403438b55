"""What is asked for at a scrape instead of being counted: budgets, calls in flight, the pipeline's health."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from pricing.load import checked_at
from proxy.control.metrics.capacity import capacity_gauges
from proxy.control.metrics.exports import export_gauges
from proxy.control.metrics.exposition import Gauge, decimal
from proxy.control.metrics.table import MAX_MODELS
from proxy.control.state import ControlState, Unavailable, unrecorded_because
from proxy.ledger.beside.jobs import states
from proxy.money import NANO
from proxy.times import now_s, now_us


def gauges(state: ControlState) -> list[Gauge]:
    """Every gauge, as it is now."""
    answers: dict[str, Any] = state.wait(state.link.ask("gauges"))
    return [
        *_pipeline(state),
        *_alerts(state),
        *capacity_gauges(state),
        *_plans(state),
        *_planes(answers),
        *_jobs(state),
        *export_gauges(state),
        *(_budgets(state) if answers else ()),
    ]


def _pipeline(state: ControlState) -> Iterator[Gauge]:
    yield "ledger_lag_seconds", {}, f"{state.recorder.lag_s:.3f}"
    yield "ledger_dropped_total", {}, str(state.recorder.unreadable_records)
    yield "intents_overdue", {}, str(state.recorder.intents_overdue)
    yield "spool_bytes", {}, str(state.recorder.spool_bytes)
    yield "config_last_reload_successful", {}, "0" if state.in_file().refused else "1"
    yield "build_info", {"version": _own_version()}, "1"
    yield "price_book_info", {"version": state.book.version, "operator": _version(state.config().prices)}, "1"
    yield "price_book_timestamp_seconds", {}, str(checked_at(state.book))
    yield "sessions_active", {}, str(len(state.metrics.sessions))


@cache
def _own_version() -> str:
    """Read once: that takes half a millisecond."""
    return version("taximeter")


def _version(prices: Sequence[Any]) -> str:
    """Names the operator's own prices, so that a change of them is seen; "" where there are none."""
    return hashlib.sha256(repr(prices).encode()).hexdigest()[:8] if prices else ""


def _alerts(state: ControlState) -> Iterator[Gauge]:
    for (kind, budget), count in state.alerts.counts().items():
        yield "alert_events_total", {"kind": kind, "budget": budget}, str(count)


def _plans(state: ControlState) -> Iterator[Gauge]:
    for plan, count in (state.plans.at_loss if state.plans else {}).items():
        yield "plan_customers_at_loss", {"plan": plan}, str(count)


def _jobs(state: ControlState) -> Iterator[Gauge]:
    try:
        with state.engine.connect() as connection:
            counted = states(connection, now_us())
    except SQLAlchemyError:
        return  # what is not known is not 0
    for name, count in counted.items():
        yield "jobs", {"state": name}, str(count)


def _planes(answers: dict[str, Any]) -> Iterator[Gauge]:
    yield "inflight_requests", {}, str(sum((answer or {}).get("inflight_requests", 0) for answer in answers.values()))
    yield "realtime_sessions", {}, str(sum((answer or {}).get("realtime_sessions", 0) for answer in answers.values()))
    up = [bool((answer or {}).get("store_up", False)) for answer in answers.values()]
    yield "budget_store_up", {}, "1" if up and all(up) else "0"
    if answers:  # what is not known is not 0
        yield "spool_writable", {}, "0" if unrecorded_because(answers) else "1"
    answered = Counter({"redis": 0, "lease": 0})
    for answer in answers.values():
        answered.update((answer or {}).get("store_calls", {}))
    for by, count in sorted(answered.items()):
        yield "budget_store_calls_total", {"by": by}, str(count)
    raised: dict[tuple[str, str], float] = {}
    for answer in answers.values():
        for provider, model, factor in (answer or {}).get("raised", ()):
            raised[provider, model] = max(factor, raised.get((provider, model), 1.0))
    for (provider, model), factor in sorted(raised.items(), key=lambda item: -item[1])[:MAX_MODELS]:
        yield "ceiling_factor", {"provider": provider, "model": model}, f"{factor:g}"


def _budgets(state: ControlState) -> Iterator[Gauge]:
    """Budgets without groups in full; of those with groups only how many stand above each threshold."""
    try:
        totals = state.totals()
    except Unavailable:
        return  # the scrape goes on: `budget_store_up` says so, and an alert waits for it
    now = now_s()
    for budget in state.budgets():
        if budget.measure != "usd":
            continue
        total = totals.get(budget.name)
        if total is None:
            continue  # it came with a reload that the data plane has not taken yet
        end = budget.window_now(now)[1]
        name = {"budget": budget.name}
        yield "budget_limit_usd", name, decimal(budget.limit_for("", now), NANO)
        yield "budget_blocks", name, str(int(budget.hard))
        yield "budget_spent_usd", name, decimal(total["spent"], NANO)
        yield "budget_reserved_usd", name, decimal(total["reserved"], NANO)
        if end is not None:
            yield "budget_window_end_timestamp_seconds", name, str(end)
        if budget.per:
            for threshold, over in zip(budget.alert_at, total["over"], strict=True):
                labels = name | {"threshold": f"{threshold:g}"}
                yield "budget_groups_over_threshold", labels, str(over)
