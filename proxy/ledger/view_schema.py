"""Tables of what people keep about the ledger, and no call: comparisons with providers, views of the page."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from proxy.ledger.schema import metadata

# Comparisons with what providers say (`taximeter report reconcile`): of which time, and what came of it.
reconciliations = Table(
    "reconciliations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("ran_at", BigInteger, nullable=False),
    Column("since_at", BigInteger, nullable=False),
    Column("until_at", BigInteger, nullable=False),
    Column("ours_nanousd", BigInteger, nullable=False),
    Column("theirs_nanousd", BigInteger, nullable=False),
    Column("unexplained_nanousd", BigInteger, nullable=False),
)

# Pages that somebody comes back to: an address of the page's under a name.
saved_views = Table(
    "saved_views",
    metadata,
    Column("name", Text, primary_key=True),
    Column("address", Text, nullable=False),
    Column("saved_at", BigInteger, nullable=False),
)
