"""Deletes old entries (`ledger_retention_days`), some at a time; in PostgreSQL, whole months with their tables. What they came
to stays: roll-ups, budgets' counters, metrics.

Whole days go (UTC). Where the entries that are kept begin is noted before the first one goes, so that reports and the audit
know it; what deleted entries had added to the budgets' counters is added up, so that the audit can still tell a right one.
What waits to be exported stays until every sink has got it.
"""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ids import first_id
from proxy.ledger.capacity.books import shares_of_deleted
from proxy.ledger.database import insert_into, upsert, writing
from proxy.ledger.entries.amounts import budget_amounts
from proxy.ledger.entries.corrections import entry_in_ledger
from proxy.ledger.export_schema import export_log, export_sinks
from proxy.ledger.partitions import partitions
from proxy.ledger.schema import budget_retired, entries, horizon, retention
from proxy.times import DAY_US

AT_ONCE = 500
_DROP_TRIES = 20  # for a moment in which nobody reads
_BETWEEN_TRIES_S = 0.25
_RETIRED = ("budget", "group", "window_start", "measure")


def drop_months(engine: Engine, keep_days: int, now_us: int) -> list[str]:
    """Drop the tables of months that are wholly older than so many days; their names. None in a ledger that has no months.

    One that a sink waits for stays. Raises SQLAlchemyError, also where readers hold the table for longer than some seconds.
    """
    if engine.dialect.name != "postgresql":
        return []
    before = _horizon_of(keep_days, now_us)
    with engine.connect() as connection:
        old = [month.name for month in partitions(connection) if month.until <= first_id(before)]
    return [name for name in old if _drop_month(engine, name, before)]


def _drop_month(engine: Engine, name: str, before: int) -> bool:
    month = sa.table(name, *(sa.column(column.name, column.type) for column in entries.columns))
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL lock_timeout = '250ms'"))
        if name not in {there.name for there in partitions(connection)}:
            return False  # another instance was quicker
        connection.execute(sa.text(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE"))  # what comes late waits
        _note(connection, before)
        since_at = horizon(connection) or 0
        waits, history = _waits(month)
        kept = sa.select(month.c.id).where(sa.or_(month.c.started_at >= since_at, waits, history)).limit(1)
        if connection.execute(kept).first() is not None:
            return False
        connection.execute(sa.text(_RETIRE_MONTH.format(month=name)))
        _drop(connection, name)
        shares_of_deleted(connection, before - DAY_US)
    return True


_RETIRE_MONTH = """
INSERT INTO budget_retired (budget, "group", window_start, measure, amount)
SELECT item->>0, item->>1, (item->>2)::bigint, item->>3, sum((item->>4)::bigint)
FROM {month}, json_array_elements(budgets::json) AS item GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
ON CONFLICT (budget, "group", window_start, measure) DO UPDATE SET amount = budget_retired.amount + excluded.amount
"""


def _drop(connection: Connection, name: str) -> None:
    """Behind a lock that waits the recorder waits, too: so it is tried, for a moment at a time."""
    for number in range(_DROP_TRIES):
        try:
            with connection.begin_nested():
                connection.execute(sa.text(f"DROP TABLE {name}"))
        except sa.exc.OperationalError:
            if number == _DROP_TRIES - 1:
                raise
            time.sleep(_BETWEEN_TRIES_S)
        else:
            return


def _waits(table: Any) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Whether an entry waits for a sink that has not got it; for one that is to get what was there before it."""
    started_at = table.c.started_at
    return sa.exists().where(export_log.c.entry_id == table.c.id), sa.exists().where(
        export_sinks.c.history_at <= started_at, started_at <= export_sinks.c.history_until
    )


def delete_some(engine: Engine, keep_days: int, now_us: int, at_once: int = AT_ONCE) -> int:
    """Delete up to `at_once` entries of calls that began more than so many whole days ago; how many there were.

    Several instances may do so at once. What was deleted once stays so: a longer retention begins with what is there.
    """
    before = _horizon_of(keep_days, now_us)
    with writing(engine).begin() as connection:
        _note(connection, before)
        since_at = horizon(connection)
        waits, history = _waits(entries)
        old = sa.select(entries.c.id).where(entries.c.started_at < since_at, ~waits, ~history)
        oldest = old.order_by(entries.c.started_at)
        gone = sa.delete(entries).where(entries.c.id.in_(oldest.limit(at_once)))
        rows = connection.execute(gone.returning(entries.c.id, entries.c.budgets)).mappings().all()
        retired = [
            dict(zip(_RETIRED, key, strict=True)) | {"amount": amount}
            for key, amount in sorted(budget_amounts(entry_in_ledger(dict(row)).budgets for row in rows).items())
        ]
        if retired:
            connection.execute(upsert(engine, budget_retired, adding="amount"), retired)
        if rows and len(rows) < at_once:
            shares_of_deleted(connection, before - DAY_US)
    return len(rows)


def _horizon_of(keep_days: int, now_us: int) -> int:
    return (now_us - keep_days * DAY_US) // DAY_US * DAY_US


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
