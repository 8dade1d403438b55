"""What callers have stored at providers, and through which model: remembered for as long as the providers keep it.

OpenAI: "Response objects are saved for 30 days by default" (https://platform.openai.com/docs/guides/conversation-state).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.database import insert_into, reading, writing
from proxy.ledger.entries.entry import Entry
from proxy.ledger.entries.row import json_text
from proxy.ledger.schema import stored
from proxy.times import DAY_US

KEEP_DAYS = 31
_MOST = 256  # things of one answer
_DIGEST_CHARS = 32


def write_stored(connection: Connection, entries: Iterable[Entry]) -> None:
    """Note what these attempts left at their providers. Repeated, it is noted once; but a file whose name its client chose may
    be replaced by another, of which other facts hold."""
    rows = [
        {
            "digest": digest, "upstream": entry.row.upstream, "model": entry.end.get("stored_model") or "",
            "session_id": entry.row.session_id or "", "stored_at": entry.row.started_at,
            "facts": json_text(entry.end.get("stored_facts")),
        }
        for entry in entries
        if entry.end.get("stored") and entry.row.upstream
        for digest in _digests(entry)
    ]  # fmt: skip
    if rows:
        insert = insert_into(connection, stored)
        new = insert.excluded
        has_facts = sa.or_(stored.c.facts.is_not(None), new.facts.is_not(None))
        replaced = {name: new[name] for name in ("upstream", "model", "session_id", "stored_at", "facts")}
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=[stored.c.digest],
                set_=replaced,
                where=sa.and_(has_facts, new.stored_at >= stored.c.stored_at),
            ),
            rows,
        )


def _digests(entry: Entry) -> Sequence[str]:
    digests = entry.end.get("stored")
    if not isinstance(digests, list):
        return ()
    return [one for one in digests[:_MOST] if isinstance(one, str) and len(one) == _DIGEST_CHARS and one.isalnum()]


def find_stored(engine: Engine, digests: Sequence[str]) -> list[dict[str, Any]]:
    """Those that are known: digest, upstream, model, session_id, facts (an object, or None)."""
    names = ("digest", "upstream", "model", "session_id", "facts")
    query = sa.select(*(stored.c[name] for name in names)).where(stored.c.digest.in_(digests[:_MOST]))
    with reading(engine).connect() as connection:
        rows = [dict(zip(names, row, strict=True)) for row in connection.execute(query)]
    return [row | {"facts": orjson.loads(row["facts"]) if row["facts"] else None} for row in rows]


def forget_stored(engine: Engine, now_us: int) -> int:
    """Delete what providers have deleted by now; how much that was."""
    with writing(engine).begin() as connection:
        return connection.execute(sa.delete(stored).where(stored.c.stored_at < now_us - KEEP_DAYS * DAY_US)).rowcount
