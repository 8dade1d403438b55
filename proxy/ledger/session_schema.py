"""The roll-up by session tree: what each came to, when, and whose key its calls have."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from proxy.ledger.schema import metadata, of_some_rows, sums

_KEYLESS = Index("spend_sessions_keyless", "group")
of_some_rows(_KEYLESS, "key IS NULL")

# first_at, last_at: when the session's first and latest calls began; ended_at: when one of them ended last. key: of its first
# call that was counted, "" for none, and `keyed`: how many of its requests have it. NULL: not known, as of sessions that an
# earlier version has begun; where fewer are `keyed` than there are requests, the others may have any.
spend_sessions = Table(
    "spend_sessions",
    metadata,
    Column("group", Text, primary_key=True),
    Column("session", Text),
    Column("team", Text),
    *sums(),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("key", Text),
    Column("keyed", BigInteger, nullable=False, server_default="0"),
    Index("spend_sessions_last_at", "last_at"),
    Index("spend_sessions_ended_at", "ended_at"),
    _KEYLESS,
)
