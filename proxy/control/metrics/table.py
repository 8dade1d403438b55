"""The metrics: one row for each in `METRICS`, all of them fed from the records that feed the ledger.

State is integers (counts, nano-USD, microseconds), kept in the ledger database in the same transaction as the entries that
it was made from: counters survive a restart, are never counted twice, and their sums equal the ledger's to the last digit.
What an entry adds: `observed.py`; the state: `series.py`. How it is written down for Prometheus: `exposition.py`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pricing.values import frozen
from proxy.money import NANO

Kind = Literal["counter", "gauge", "histogram"]

MICRO = 1_000_000
MAX_MODELS = 500
MAX_TEAMS = 100
OVERFLOW = "__overflow__"

_DURATIONS = ("0.1", "0.25", "0.5", "1", "2.5", "5", "10", "20", "40", "80", "160", "320", "640", "1200")
_FIRST_TOKEN = ("0.02", "0.05", "0.1", "0.2", "0.4", "0.8", "1.6", "3.2", "6.4", "12.8", "30", "60")
_BETWEEN_TOKENS = ("0.002", "0.005", "0.01", "0.02", "0.03", "0.05", "0.075", "0.1", "0.2", "0.5", "1", "5")
_OVERHEAD = ("0.0005", "0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.25")
_DOLLARS = ("0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1", "3", "10")
_SESSION_DOLLARS = ("0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1", "3", "10", "30", "100")
_SESSION_REQUESTS = ("1", "2", "5", "10", "20", "50", "100", "200", "500", "1000", "5000")
_RESERVATION = ("0.000001", "0.00001", "0.0001", "0.001", "0.01", "0.1", "1", "10")


@frozen
class Metric:
    """One metric. `scale`: how many of its state's integers make one of its unit. Names are without the prefix."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    scale: int = 1
    buckets: tuple[str, ...] = ()


METRICS: tuple[Metric, ...] = (
    Metric("requests_total", "counter", ("provider", "model", "operation", "outcome", "team", "client", "upstream"), "Attempts that reached, or may have reached, an upstream."),
    Metric("tokens_total", "counter", ("provider", "model", "unit", "team"), "Tokens by disjoint unit; their sum is the providers' own total.", MICRO),
    Metric("cost_usd_total", "counter", ("provider", "model", "unit", "team", "client"), "Cost in USD, dealt out to units; the sum equals the ledger.", NANO),
    Metric("request_cost_usd", "histogram", ("model", "operation"), "Cost of one attempt in USD.", NANO, _DOLLARS),
    Metric("cost_corrections_usd", "gauge", (), "What corrections added to or took from the cost, in USD.", NANO),
    Metric("unpriced_requests_total", "counter", ("provider", "model"), "Attempts whose cost is not known for want of a price."),
    Metric("usage_source_total", "counter", ("source",), "Attempts by where their usage comes from."),
    Metric("refusals_total", "counter", ("reason", "budget"), "Calls that were refused."),
    Metric("would_refuse_total", "counter", ("budget",), "Calls that a soft budget would have refused."),
    Metric("alert_events_total", "counter", ("kind", "budget"), "Alerts to operators, by kind."),
    Metric("stream_cuts_total", "counter", ("by",), "Streams that ended before their end, by who ended them."),
    Metric("request_duration_seconds", "histogram", ("provider", "model", "upstream"), "From the call's arrival to its end.", MICRO, _DURATIONS),
    Metric("time_to_first_token_seconds", "histogram", ("provider", "model", "upstream"), "From a streamed call's arrival to its first event.", MICRO, _FIRST_TOKEN),
    Metric("inter_token_latency_seconds", "histogram", ("provider", "model", "upstream"), "Mean time between the events of a stream.", MICRO, _BETWEEN_TOKENS),
    Metric("overhead_seconds", "histogram", ("provider", "model", "upstream"), "The proxy's own part of a call's time, without waiting for room in a budget.", MICRO, _OVERHEAD),
    Metric("session_cost_usd", "histogram", ("team", "client"), "Cost of one session in USD, when it has gone quiet.", NANO, _SESSION_DOLLARS),
    Metric("session_requests", "histogram", ("team", "client"), "Attempts of one session, when it has gone quiet.", 1, _SESSION_REQUESTS),
    Metric("sessions_active", "gauge", (), "Sessions that have not gone quiet."),
    Metric("jobs", "gauge", ("state",), "Jobs by state; `overdue` are those past their deadline without an end."),
    Metric("reservation_error_usd", "histogram", (), "Reserved minus settled, where more was reserved.", NANO, _RESERVATION),
    Metric("overrun_usd_total", "counter", (), "What calls cost beyond their reservations.", NANO),
    Metric("unexpected_models_total", "counter", ("upstream", "model"), "Answers of models that `answers` does not name."),
    Metric("label_overflow_total", "counter", ("label",), "Values that did not become labels because there are too many."),
    Metric("inflight_requests", "gauge", (), "Calls being served now."),
    Metric("realtime_sessions", "gauge", (), "Spoken sessions that are open."),
    Metric("budget_limit_usd", "gauge", ("budget",), "A budget's limit."),
    Metric("budget_blocks", "gauge", ("budget",), "1 where a budget refuses what does not fit, 0 where it only warns."),
    Metric("budget_spent_usd", "gauge", ("budget",), "What is settled in a budget's current window."),
    Metric("budget_reserved_usd", "gauge", ("budget",), "What calls in flight have reserved in a budget."),
    Metric("budget_window_end_timestamp_seconds", "gauge", ("budget",), "When a budget's current window ends."),
    Metric("budget_groups_over_threshold", "gauge", ("budget", "threshold"), "Groups of a `per` budget at or above a share of their limit."),
    Metric("plan_customers_at_loss", "gauge", ("plan",), "Customers of a plan who cost more than they pay in the running month."),
    Metric("ledger_lag_seconds", "gauge", (), "Age of the oldest record that is not in the ledger yet."),
    Metric("ledger_dropped_total", "counter", (), "Records that could not be recorded; must stay 0."),
    Metric("intents_overdue", "gauge", (), "Attempts without an end whose deadline is over; must stay 0."),
    Metric("ceiling_factor", "gauge", ("provider", "model"), "What a model's ceilings are raised by, where bills exceeded them: the most of any team."),
    Metric("spool_bytes", "gauge", (), "Bytes in the spool that are not in the ledger yet."),
    Metric("export_lag_seconds", "gauge", ("sink",), "How long the oldest entry has waited that a sink has not got."),
    Metric("export_events_total", "counter", ("sink", "outcome"), "What became of events for a sink: sent, set_aside, skipped, failed."),
    Metric("capacity_cost_usd_total", "counter", ("capacity", "part"), "What machines of one's own cost, by whose that was: busy, idle, outside."),
    Metric("capacity_busy_ratio", "gauge", ("capacity",), "Share of the last hour's time in which a capacity was used."),
    Metric("capacity_usd_per_million_tokens", "gauge", ("capacity", "basis", "unit"), "What a million tokens cost on a capacity in the last hour, without (use) and with (whole) its idle time."),
    Metric("capacity_energy_joules_total", "counter", ("capacity",), "Energy of a capacity, as far as it is known."),
    Metric("capacity_saved_usd_total", "counter", ("capacity", "lever"), "What a technique saved on a capacity."),
    Metric("capacity_compared_usd_total", "counter", ("capacity", "model"), "What the tokens of a capacity would have cost at a provider."),
    Metric("spool_writable", "gauge", (), "1 while the spool takes records; calls are refused where it does not."),
    Metric("budget_store_up", "gauge", (), "1 while the budget store answers."),
    Metric("budget_store_calls_total", "counter", ("by",), "Reservations in a shared budget store, by who answered: redis, or a lease from it."),
    Metric("config_last_reload_successful", "gauge", (), "0 while the configuration's file, as it was last read, is refused, and an older one holds."),
    Metric("price_book_timestamp_seconds", "gauge", (), "When the price book's prices were last checked."),
    Metric("price_book_info", "gauge", ("version", "operator"), "The price book in use, and the operator's own prices."),
    Metric("build_info", "gauge", ("version",), "The running version."),
)  # fmt: skip
BY_NAME = {metric.name: metric for metric in METRICS}
LIMITS = {m.name: [int(Decimal(edge) * m.scale) for edge in m.buckets] for m in METRICS if m.buckets}

Key = tuple[str, tuple[str, ...]]  # a metric's name, and its labels' values
