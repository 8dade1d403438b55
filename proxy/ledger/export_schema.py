"""The ledger's tables of exports. Times are integer epoch microseconds."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text

from proxy.ledger.schema import metadata

# What is to be exported, in the order in which it was committed; what every sink has is deleted. part: "" is the entry itself,
# `capacity` its share of a machine, which is known later. recorded_at: when it came into the ledger.
export_log = Table(
    "export_log",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("entry_id", Text, nullable=False),
    Column("part", Text, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Index("export_log_entry", "entry_id"),
    sqlite_autoincrement=True,  # a number is never given twice, whatever is deleted
)

# How far each sink is. cursor: the last `seq` that it has. history_*: of a sink that wants what was there before it, how far
# that is exported and up to when (NULL: all of it is). state (JSON): sums of what was exported, where the sink tells sums.
export_sinks = Table(
    "export_sinks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("history_at", BigInteger),
    Column("history_id", Text),
    Column("history_until", BigInteger),
    Column("keeper", Text),
    Column("keeper_until", BigInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("set_aside", BigInteger, nullable=False),
    Column("skipped", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("last_id", Text),
    Column("last_at", BigInteger),
    Column("error", Text),
    Column("error_at", BigInteger),
    Column("state", Text),
)

# What a sink refused for good. again: somebody wants it tried once more.
export_set_aside = Table(
    "export_set_aside",
    metadata,
    Column("sink", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("entry_id", Text, nullable=False),
    Column("part", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("refused_at", BigInteger, nullable=False),
    Column("again", Boolean, nullable=False),
)
