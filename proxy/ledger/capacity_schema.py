"""The ledger's tables of machines of one's own. Times are integer epoch microseconds, money integer nano-USD."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Table, Text

from proxy.ledger.schema import metadata

# Machines of one's own: when their books begin, up to which minute they are closed, who closes them, and (JSON) the sums of
# what is closed and what the next minute has to know of the ones before.
capacities = Table(
    "capacities",
    metadata,
    Column("name", Text, primary_key=True),
    Column("since_at", BigInteger, nullable=False),
    Column("closed_until", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("keeper", Text),
    Column("keeper_until", BigInteger, nullable=False),
    Column("totals", Text, nullable=False),
    Column("carried", Text, nullable=False),
)

# Each closed minute of a capacity, once. cost = busy + idle + outside. time_us: what of it belongs to the books. late: of
# `busy`, what was idle until a call that came late had it. Energy is NULL where it is unknown. server, levels: JSON.
capacity_minutes = Table(
    "capacity_minutes",
    metadata,
    Column("capacity", Text, primary_key=True),
    Column("minute_at", BigInteger, primary_key=True),
    *[
        Column(name, BigInteger, nullable=False)
        for name in (
            "time_us", "cost_nanousd", "busy_nanousd", "idle_nanousd", "outside_nanousd", "late_nanousd", "busy_us",
            "calls_us", "unobserved_us", "requests", "input_tokens", "cache_read_tokens", "output_tokens",
            "input_nanousd", "saved_nanousd",
        )
    ],
    Column("busy_millijoules", BigInteger),
    Column("idle_millijoules", BigInteger),
    Column("energy_source", Text),
    Column("weights", Text),
    Column("server", Text),
    Column("levels", Text),
    sqlite_with_rowid=False,
)  # fmt: skip

# The shares of calls that ran in several minutes, a row for each of these.
capacity_shares = Table(
    "capacity_shares",
    metadata,
    Column("entry_id", Text, primary_key=True),
    Column("minute_at", BigInteger, primary_key=True),
    Column("capacity", Text, nullable=False),
    Column("nanousd", BigInteger, nullable=False),
    Column("millijoules", BigInteger),
    Column("metered", Boolean),
    Index("capacity_shares_minute", "capacity", "minute_at"),
    sqlite_with_rowid=False,
)

# What the servers' and meters' counters said in minutes that are not closed yet (JSON), by whoever looked.
capacity_samples = Table(
    "capacity_samples",
    metadata,
    Column("capacity", Text, primary_key=True),
    Column("minute_at", BigInteger, primary_key=True),
    Column("instance", Text, primary_key=True),
    Column("samples", Text, nullable=False),
)

# When each instance lived, a row a life. complete_until: its calls that began before are in the ledger, all of them ended.
capacity_watch = Table(
    "capacity_watch",
    metadata,
    Column("instance", Text, primary_key=True),
    Column("since_at", BigInteger, primary_key=True),
    Column("until_at", BigInteger, nullable=False),
    Column("complete_until", BigInteger, nullable=False),
)
