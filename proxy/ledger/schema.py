"""The ledger's tables, for SQLite and PostgreSQL alike. What each column of
`entries` means: proxy/CONTRACT.md#ledger-entry.

Times are integer epoch microseconds, money integer nano-USD; columns of JSON are text. `told_usage` keeps a usage that
cannot be true, for a person to look at; sums leave it out. The view `ledger` gives the same
with decimals and timestamps, for people and Grafana.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, Table, Text
from sqlalchemy.engine import Connection

metadata = MetaData()

# Units with a column of their own; the others stand in `usage`.
TOKEN_COLUMNS = {
    unit: f"{unit}_tokens"
    for unit in ("input", "cache_read", "cache_write_5m", "cache_write_30m", "cache_write_1h", "output", "reasoning")
}

# Indexes of some rows alone.
_CHILD_SESSION = Index("entries_child_session", "session_id")
_CAPACITY = Index("entries_capacity", "capacity", "started_at")
_CAPACITY_OPEN = Index("entries_capacity_open", "capacity")


def of_some_rows(index: Index, which: str) -> None:
    """Said only to the database's own dialect: to name others is to import them, 10 MB each."""

    def say(_: Index, connection: Connection, **__: object) -> None:
        index.dialect_options[connection.dialect.name]["where"] = sa.text(which)

    sa.event.listen(index, "before_create", say)


of_some_rows(_CHILD_SESSION, "parent_session_id IS NOT NULL")  # few are: most sessions are roots
of_some_rows(_CAPACITY, "capacity IS NOT NULL")
of_some_rows(_CAPACITY_OPEN, "capacity IS NOT NULL AND capacity_nanousd IS NULL")  # those of the last minutes


entries = Table(
    "entries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("corrects_id", Text),
    Column("request_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("http_status", Integer),
    Column("dialect", Text),
    Column("operation", Text),
    Column("stream", Boolean),
    Column("upstream", Text),
    Column("provider", Text),
    Column("model_requested", Text),
    Column("model", Text),
    Column("service_tier", Text),
    Column("key", Text),
    Column("key_id", Text),
    Column("team", Text),
    Column("user", Text),
    Column("customer", Text),
    Column("labels", Text),
    Column("untrusted_labels", Text),
    Column("session_id", Text),
    Column("session_source", Text),
    Column("parent_session_id", Text),
    Column("root_session_id", Text),
    Column("agent", Text),
    Column("parent_agent", Text),
    *[Column(name, BigInteger, nullable=False, server_default="0") for name in TOKEN_COLUMNS.values()],
    Column("usage", Text),
    Column("told_usage", Text),
    Column("usage_source", Text),
    Column("cost_nanousd", BigInteger),
    Column("cost_source", Text),
    Column("cost_lines", Text),
    Column("flags", Text),
    Column("price_version", Text),
    Column("provider_cost_nanousd", BigInteger),
    Column("reserved_nanousd", BigInteger),
    Column("budgets", Text),
    Column("ttft_ms", Double),
    Column("duration_ms", Double),
    Column("overhead_ms", Double),
    Column("upstream_request_id", Text),
    Column("client", Text),
    Column("traceparent", Text),
    Column("instance", Text),
    # What it had of machines of one's own (proxy/capacity): NULL until that is known for good.
    Column("capacity", Text),
    Column("capacity_nanousd", BigInteger),
    Column("energy_millijoules", BigInteger),
    Column("energy_source", Text),
    Index("entries_started_at", "started_at"),
    _CAPACITY,
    _CAPACITY_OPEN,
    Index("entries_root_session", "root_session_id"),
    _CHILD_SESSION,
)

# What each budget's counter has settled: the sum of the entries' `budgets`, kept with them in one transaction.
budget_spend = Table(
    "budget_spend",
    metadata,
    Column("budget", Text, primary_key=True),
    Column("group", Text, primary_key=True),
    Column("window_start", BigInteger, primary_key=True),
    Column("measure", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key_id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("team", Text),
    Column("user", Text),
    Column("customer", Text),
    Column("labels", Text),
    Column("models", Text),
    Column("expires_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("limits", Text),  # JSON, as `KeyLimits` but for its key
)

# State of the metrics of one instance: name, labels as JSON, value as JSON (integers).
metric_state = Table(
    "metric_state",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("labels", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# How far each spool run is shipped: `done` is behind the last record that is in the ledger, `resume` where the earliest
# INTENT that has no end yet begins.
spool_positions = Table(
    "spool_positions",
    metadata,
    Column("run", Text, primary_key=True),
    Column("resume_segment", Integer, nullable=False),
    Column("resume_offset", BigInteger, nullable=False),
    Column("done_segment", Integer, nullable=False),
    Column("done_offset", BigInteger, nullable=False),
)

# Who shares the budget store, and when it was last heard of (epoch microseconds).
instances = Table(
    "instances",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("heartbeat_at", BigInteger, nullable=False),
)

# How each budget is defined, and since when: what changes makes its counters begin anew.
budget_definitions = Table(
    "budget_definitions",
    metadata,
    Column("budget", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("since_at", BigInteger, nullable=False),
)

# What a counter had when its budget's definition began, less what `budget_spend` had: their sum is the counter.
budget_bases = Table(
    "budget_bases",
    metadata,
    Column("budget", Text, primary_key=True),
    Column("group", Text, primary_key=True),
    Column("window_start", BigInteger, primary_key=True),
    Column("measure", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
)

# What operators were told of: once for each kind, budget, group, window and detail (a threshold).
# delivered_at: when a webhook took it; 0 where nobody is told, null while it waits.
alerts = Table(
    "alerts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("budget", Text, nullable=False),
    Column("group", Text, nullable=False),
    Column("window_start", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("instance", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("delivered_at", BigInteger),
    Index("alerts_once", "kind", "budget", "group", "window_start", "detail", unique=True),
)

raises = Table(
    "raises",
    metadata,
    Column("id", Text, primary_key=True),
    Column("budget", Text, nullable=False),
    Column("group", Text),
    Column("by_amount", BigInteger, nullable=False),
    Column("until_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("reason", Text),
)


# Jobs at providers, as long as something may still come of them. digest: of the provider's id and its owner. ask_at: when its
# provider is to be asked next; NULL: never again. settled: what each budget was charged with last, as in an entry's `budgets`.
# record: `proxy.jobs.job.Job`, as it began.
jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("api", Text, nullable=False),
    Column("operation", Text),
    Column("state", Text, nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("deadline_at", BigInteger, nullable=False),
    Column("ask_at", BigInteger),
    Column("revision", Integer, nullable=False),
    Column("reserved_nanousd", BigInteger),
    Column("cost_nanousd", BigInteger),
    Column("settled", Text),
    Column("record", Text, nullable=False),
    Index("jobs_digest", "digest"),
    Index("jobs_ask_at", "ask_at"),
    Index("jobs_state", "state", "created_at"),
)

# Entries of calls that began before `entries_since_at` are deleted, or are about to be. One row; none where nothing is.
retention = Table(
    "retention",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("entries_since_at", BigInteger, nullable=False),
)

# What deleted entries had added to `budget_spend`.
budget_retired = Table(
    "budget_retired",
    metadata,
    Column("budget", Text, primary_key=True),
    Column("group", Text, primary_key=True),
    Column("window_start", BigInteger, primary_key=True),
    Column("measure", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
)

# What customers paid (`taximeter revenue import`): in [from_at, to_at) this much in all. `plan` "" is none.
revenue = Table(
    "revenue",
    metadata,
    Column("customer", Text, primary_key=True),
    Column("from_at", BigInteger, primary_key=True),
    Column("to_at", BigInteger, primary_key=True),
    Column("plan", Text, primary_key=True),
    Column("amount_nanousd", BigInteger, nullable=False),
    Column("imported_at", BigInteger, nullable=False),
)

# Months that were charged (`taximeter report month --close`), as they were: `items` and `adjustments` are JSON.
closed_months = Table(
    "closed_months",
    metadata,
    Column("month", Text, primary_key=True),
    Column("by", Text, primary_key=True),
    Column("timezone", Text, primary_key=True),
    Column("mark_up", Text, nullable=False),
    Column("items", Text, nullable=False),
    Column("adjustments", Text, nullable=False),
    Column("closed_at", BigInteger, nullable=False),
)

# What calls left at their providers (responses, and the items in them), by a digest of its id and its owner.
stored = Table(
    "stored",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("upstream", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("stored_at", BigInteger, nullable=False),
    Column("facts", Text),
    Index("stored_stored_at", "stored_at"),
)


NOT_COUNTED = ("void", "running")


def counted() -> sa.ColumnElement[bool]:
    """Whether an entry counts in sums: not one that was surely never sent, nor a job that still runs."""
    return entries.c.status.not_in(NOT_COUNTED)


def horizon(connection: Connection) -> int | None:
    """Where the entries that are kept begin (epoch microseconds); None where all are."""
    since_at = connection.execute(sa.select(sa.func.max(retention.c.entries_since_at))).scalar()
    return None if since_at is None else int(since_at)
