"""Deletes old entries (`ledger_retention_days`), some at a time. What they came to stays: roll-ups, budgets' counters, metrics.

Whole days go (UTC). Where the entries that are kept begin is noted before the first one goes, so that reports and the audit
know it; what deleted entries had added to the budgets' counters is added up, so that the audit can still tell a right one.
What waits to be exported stays until every sink has got it.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.capacity_books import shares_of_deleted
from proxy.ledger.corrections import entry_in_ledger
from proxy.ledger.database import insert_into, writing
from proxy.ledger.entries import budget_amounts
from proxy.ledger.export_schema import export_log, export_sinks
from proxy.ledger.rollups import DAY_US
from proxy.ledger.schema import budget_retired, entries, horizon, retention
from proxy.ledger.shipping import upsert

AT_ONCE = 500


def delete_some(engine: Engine, keep_days: int, now_us: int, at_once: int = AT_ONCE) -> int:
    """Delete up to `at_once` entries of calls that began more than so many whole days ago; how many there were.

    Several instances may do so at once. What was deleted once stays so: a longer retention begins with what is there.
    """
    before = (now_us - keep_days * DAY_US) // DAY_US * DAY_US
    with writing(engine).begin() as connection:
        _note(connection, before)
        since_at = horizon(connection)
        waits = sa.exists().where(export_log.c.entry_id == entries.c.id)  # for a sink that has not got it
        history = sa.exists().where(  # for a sink that is to get what was there before it
            export_sinks.c.history_at <= entries.c.started_at, entries.c.started_at <= export_sinks.c.history_until
        )
        old = sa.select(entries.c.id).where(entries.c.started_at < since_at, ~waits, ~history)
        oldest = old.order_by(entries.c.started_at)
        gone = sa.delete(entries).where(entries.c.id.in_(oldest.limit(at_once)))
        rows = connection.execute(gone.returning(entries.c.id, entries.c.budgets)).mappings().all()
        names = ("budget", "group", "window_start", "measure")
        retired = [
            dict(zip(names, key, strict=True)) | {"amount": amount}
            for key, amount in sorted(budget_amounts(entry_in_ledger(dict(row)) for row in rows).items())
        ]
        if retired:
            connection.execute(upsert(engine, budget_retired, adding="amount"), retired)
        if rows and len(rows) < at_once:
            shares_of_deleted(connection, before - DAY_US)
    return len(rows)


def _note(connection: Connection, before: int) -> None:
    """The horizon moves forward, never back."""
    statement = insert_into(connection, retention).values(id=1, entries_since_at=before)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["id"],
            set_={"entries_since_at": statement.excluded.entries_since_at},
            where=retention.c.entries_since_at < statement.excluded.entries_since_at,
        )
    )
