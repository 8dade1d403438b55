"""The metrics: one row for each in `METRICS`, all of them fed from the records that feed the ledger.

State is integers (counts, nano-USD, microseconds), kept in the ledger database in the same transaction as the entries that
it was made from: counters survive a restart, are never counted twice, and their sums equal the ledger's to the last digit.
How it is written down for Prometheus: `exposition.py`.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ledger.entries import Row
from proxy.ledger.schema import TOKEN_COLUMNS, metric_state
from proxy.money import NANO

Kind = Literal["counter", "gauge", "histogram"]

MICRO = 1_000_000
_MAX_MODELS = 500
_MAX_TEAMS = 100
OVERFLOW = "__overflow__"

_DURATIONS = ("0.1", "0.25", "0.5", "1", "2.5", "5", "10", "20", "40", "80", "160", "320", "640", "1200")
_FIRST_TOKEN = ("0.02", "0.05", "0.1", "0.2", "0.4", "0.8", "1.6", "3.2", "6.4", "12.8", "30", "60")
_BETWEEN_TOKENS = ("0.002", "0.005", "0.01", "0.02", "0.03", "0.05", "0.075", "0.1", "0.2", "0.5", "1", "5")
_OVERHEAD = ("0.0005", "0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.25")
_DOLLARS = ("0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1", "3", "10")
_RESERVATION = ("0.000001", "0.00001", "0.0001", "0.001", "0.01", "0.1", "1", "10")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `scale`: how many of its state's integers make one of its unit. Names are without the prefix."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    scale: int = 1
    buckets: tuple[str, ...] = ()


METRICS: tuple[Metric, ...] = (
    Metric("requests_total", "counter", ("provider", "model", "operation", "outcome", "team", "client"), "Attempts that reached, or may have reached, an upstream."),
    Metric("tokens_total", "counter", ("provider", "model", "unit", "team"), "Tokens by disjoint unit; their sum is the providers' own total.", MICRO),
    Metric("cost_usd_total", "counter", ("provider", "model", "unit", "team", "client"), "Cost in USD, dealt out to units; the sum equals the ledger.", NANO),
    Metric("request_cost_usd", "histogram", ("model", "operation"), "Cost of one attempt in USD.", NANO, _DOLLARS),
    Metric("cost_corrections_usd", "gauge", (), "What corrections added to or took from the cost, in USD.", NANO),
    Metric("unpriced_requests_total", "counter", ("provider", "model"), "Attempts whose cost is not known for want of a price."),
    Metric("usage_source_total", "counter", ("source",), "Attempts by where their usage comes from."),
    Metric("refusals_total", "counter", ("reason", "budget"), "Calls that were refused."),
    Metric("would_refuse_total", "counter", ("budget",), "Calls that a soft budget would have refused."),
    Metric("stream_cuts_total", "counter", ("by",), "Streams that ended before their end, by who ended them."),
    Metric("request_duration_seconds", "histogram", ("provider", "model"), "From the call's arrival to its end.", MICRO, _DURATIONS),
    Metric("time_to_first_token_seconds", "histogram", ("provider", "model"), "From a streamed call's arrival to its first event.", MICRO, _FIRST_TOKEN),
    Metric("inter_token_latency_seconds", "histogram", ("provider", "model"), "Mean time between the events of a stream.", MICRO, _BETWEEN_TOKENS),
    Metric("overhead_seconds", "histogram", ("provider", "model"), "The proxy's own part of a call's time.", MICRO, _OVERHEAD),
    Metric("reservation_error_usd", "histogram", (), "Reserved minus settled, where more was reserved.", NANO, _RESERVATION),
    Metric("overrun_usd_total", "counter", (), "What calls cost beyond their reservations.", NANO),
    Metric("label_overflow_total", "counter", ("label",), "Values that did not become labels because there are too many."),
    Metric("inflight_requests", "gauge", (), "Calls being served now."),
    Metric("budget_limit_usd", "gauge", ("budget",), "A budget's limit."),
    Metric("budget_spent_usd", "gauge", ("budget",), "What is settled in a budget's current window."),
    Metric("budget_reserved_usd", "gauge", ("budget",), "What calls in flight have reserved in a budget."),
    Metric("budget_window_end_timestamp_seconds", "gauge", ("budget",), "When a budget's current window ends."),
    Metric("budget_groups_over_threshold", "gauge", ("budget", "threshold"), "Groups of a `per` budget at or above a share of their limit."),
    Metric("ledger_lag_seconds", "gauge", (), "Age of the oldest record that is not in the ledger yet."),
    Metric("ledger_dropped_total", "counter", (), "Records that could not be recorded; must stay 0."),
    Metric("spool_bytes", "gauge", (), "Bytes in the spool that are not in the ledger yet."),
    Metric("budget_store_up", "gauge", (), "1 while the budget store answers."),
    Metric("price_book_timestamp_seconds", "gauge", (), "When the price book was built."),
    Metric("price_book_info", "gauge", ("version",), "The price book in use."),
    Metric("build_info", "gauge", ("version",), "The running version."),
)  # fmt: skip
BY_NAME = {metric.name: metric for metric in METRICS}
_LIMITS = {m.name: [int(Decimal(edge) * m.scale) for edge in m.buckets] for m in METRICS if m.buckets}


class Exemplar(NamedTuple):
    """The call behind a histogram's latest value: what leads from a graph to the ledger without a label."""

    request_id: str
    session_id: str
    value: int


class MetricState:
    """All series of one instance. Fed by the recorder's thread, read by the API's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counters: dict[tuple[str, tuple[str, ...]], int] = {}
        self.histograms: dict[
            tuple[str, tuple[str, ...]], list[int]
        ] = {}  # a count for each bucket, then +Inf, then the sum
        self.exemplars: dict[tuple[str, tuple[str, ...]], Exemplar] = {}
        self._changed: set[tuple[str, tuple[str, ...]]] = set()
        self._models: set[str] = set()
        self._teams: set[str] = set()

    @classmethod
    def load(cls, engine: Engine, instance: str) -> MetricState:
        """The state as the ledger database has it."""
        state = cls()
        query = sa.select(metric_state).where(metric_state.c.instance == instance)
        with engine.connect() as connection:
            for row in connection.execute(query).mappings():
                key = (row["name"], tuple(orjson.loads(row["labels"])))
                value = json.loads(row["value"])
                (state.histograms if isinstance(value, list) else state.counters)[key] = value
                state._remember(key)
        return state

    def _remember(self, key: tuple[str, tuple[str, ...]]) -> None:
        labels = dict(zip(BY_NAME[key[0]].labels, key[1], strict=False)) if key[0] in BY_NAME else {}
        if key[0] == "requests_total":
            self._models.add(labels["model"])
            self._teams.add(labels["team"])

    def changed(self) -> list[tuple[str, str, str]]:
        """(name, labels as JSON, value as JSON) of what changed since the last call."""
        with self.lock:
            keys, self._changed = self._changed, set()
            return [
                (name, orjson.dumps(labels).decode(), json.dumps(self._value((name, labels)))) for name, labels in keys
            ]

    def _value(self, key: tuple[str, tuple[str, ...]]) -> int | list[int]:
        return self.histograms[key] if key in self.histograms else self.counters[key]

    # What the recorder tells.

    def observe_entry(self, row: Row, end: Mapping[str, Any]) -> None:
        if row["status"] == "void":
            return
        with self.lock:
            self._observe_entry(row, end)

    def observe_refusal(self, reason: str, budget: str | None) -> None:
        with self.lock:
            self._count("refusals_total", (reason, budget or ""))

    def observe_tally(self, tally: Mapping[str, Any]) -> None:
        with self.lock:
            for reason, budget, count in tally.get("refusals", ()):
                self._count("refusals_total", (reason, budget or ""), count)
            for budget, count in tally.get("would_refuse", ()):
                self._count("would_refuse_total", (budget,), count)

    def _observe_entry(self, row: Row, end: Mapping[str, Any]) -> None:
        provider = row["provider"] or ""
        model = self._model(row)
        team = self._team(row["team"] or "")
        client = row["client"] or "other"
        operation = row["operation"] or ""
        cost = row["cost_nanousd"]
        self._count("requests_total", (provider, model, operation, row["outcome"], team, client))
        self._count("usage_source_total", (row["usage_source"],))
        for unit, column in TOKEN_COLUMNS.items():
            if row[column]:
                self._count("tokens_total", (provider, model, unit, team), row[column] * MICRO)
        if row["usage"]:
            for unit, quantity in orjson.loads(row["usage"]).items():
                if unit in _MORE_TOKENS or unit in TOKEN_COLUMNS:  # whole ones of rare units, fractions of any
                    self._count("tokens_total", (provider, model, unit, team), int(Decimal(str(quantity)) * MICRO))
        if cost is None:
            self._count("unpriced_requests_total", (provider, model))
        else:
            for unit, nanousd in deal(cost, end.get("cost_lines") or (), row["status"]):
                self._count("cost_usd_total", (provider, model, unit, team, client), nanousd)
            self._observe("request_cost_usd", (model, operation), cost, row)
            self._observe_reservation(row["reserved_nanousd"], cost)
        if row["outcome"] in _CUTS:
            self._count("stream_cuts_total", (_CUTS[row["outcome"]],))
        self._observe_times(row, end, (provider, model))

    def _observe_reservation(self, reserved: int | None, cost: int) -> None:
        if reserved is None:
            return
        if cost > reserved:
            self._count("overrun_usd_total", (), cost - reserved)
        else:
            self._observe("reservation_error_usd", (), reserved - cost)

    def _observe_times(self, row: Row, end: Mapping[str, Any], labels: tuple[str, ...]) -> None:
        for name, milliseconds in (
            ("request_duration_seconds", row["duration_ms"]),
            ("overhead_seconds", row["overhead_ms"]),
            ("time_to_first_token_seconds", row["ttft_ms"]),
        ):
            if milliseconds is not None:
                self._observe(name, labels, int(milliseconds * 1000), row)
        count = end.get("itl_count")
        if count:
            self._observe("inter_token_latency_seconds", labels, int(end["itl_ms_sum"] * 1000 / count))

    def _model(self, row: Row) -> str:
        """A model that has answered is a label; names that clients make up never answer."""
        model: str = row["model"] or ""
        if model in self._models:
            return model
        if row["http_status"] == 200 and len(self._models) < _MAX_MODELS:
            self._models.add(model)
            return model
        self._count("label_overflow_total", ("model",))
        return "other"

    def _team(self, team: str) -> str:
        if team in self._teams:
            return team
        if len(self._teams) < _MAX_TEAMS:
            self._teams.add(team)
            return team
        self._count("label_overflow_total", ("team",))
        return OVERFLOW

    def _count(self, name: str, labels: tuple[str, ...], amount: int = 1) -> None:
        key = (name, labels)
        self.counters[key] = self.counters.get(key, 0) + amount
        self._changed.add(key)

    def _observe(self, name: str, labels: tuple[str, ...], value: int, row: Row | None = None) -> None:
        key = (name, labels)
        limits = _LIMITS[name]
        counts = self.histograms.get(key)
        if counts is None:
            counts = self.histograms[key] = [0] * (len(limits) + 2)
        counts[bisect_left(limits, value)] += 1
        counts[-1] += value
        self._changed.add(key)
        if row is not None:
            self.exemplars[key] = Exemplar(row["request_id"], row["root_session_id"] or "", value)


_CUTS = {
    "client_disconnected": "client",
    "upstream_timeout": "upstream",
    "upstream_error": "upstream",
    "cut": "proxy",
    "crashed": "proxy",
}
_MORE_TOKENS = frozenset(
    {"audio_in", "audio_out", "image_in", "image_out", "video_in", "video_out", "cache_read_audio", "cache_read_image", "cache_read_video", "citation"}
)  # fmt: skip


def deal(total_nanousd: int, lines: Sequence[Mapping[str, Any]], status: str = "settled") -> Iterable[tuple[str, int]]:
    """A total dealt out to its cost lines' units, by largest remainder: the parts are integers and add up to the total.

    A total without lines (the ceiling of an unconfirmed attempt, a cost that only the provider states) is one part.
    """
    if not lines:
        return ((("ceiling" if status == "unconfirmed" else "other"), total_nanousd),) if total_nanousd else ()
    exact = [(line["unit"], Decimal(line["cost_usd"]) * NANO) for line in lines]
    whole = sum(cost for _, cost in exact)
    if whole and abs(whole - total_nanousd) > 1:  # the provider's own cost won: its parts in proportion
        exact = [(unit, cost * total_nanousd / whole) for unit, cost in exact]
    parts = [[unit, int(cost), cost - int(cost)] for unit, cost in exact]
    left = total_nanousd - sum(part[1] for part in parts)
    for part in sorted(parts, key=lambda part: -part[2])[: max(0, left)]:
        part[1] += 1
        left -= 1
    if left:
        parts[0][1] += left
    return [(unit, nanousd) for unit, nanousd, _ in parts if nanousd]
