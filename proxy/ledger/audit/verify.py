"""The ledger's own audit: every total is worked out again from the entries, in a scratch database, and compared.

It reads one state of the ledger, writes nothing into it, and needs the same memory for ten entries as for ten million. What is
wrong with an entry by itself: `entries.py`. The spool: `spool.py`. Metrics: `metrics.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from pricing.values import slotted
from proxy.ids import correction_id
from proxy.jobs.machine import RUNNING
from proxy.ledger.audit.capacities import check_capacities
from proxy.ledger.audit.days import days_problem
from proxy.ledger.audit.difference import Difference, Differs
from proxy.ledger.audit.entries import correction_problem, problem_of
from proxy.ledger.audit.metrics import check_metrics
from proxy.ledger.audit.sessions import SESSIONS, UNITS, by_session, units_by_session
from proxy.ledger.audit.side_by_side import compare
from proxy.ledger.audit.spool import check_spool
from proxy.ledger.database import connect, reading, upsert, writing
from proxy.ledger.entries.amounts import budget_amounts
from proxy.ledger.entries.corrections import CHANGED, REPRICED, entry_in_ledger
from proxy.ledger.parts_schema import label_parts
from proxy.ledger.rollup_schema import (
    label_days,
    session_names,
    spend_days,
    spend_hours,
    spend_people_days,
    spend_people_weeks,
    spend_sessions,
    spend_units,
)
from proxy.ledger.rollups.label_days import DAYS, PARTS
from proxy.ledger.rollups.label_weeks import MONTHS, WEEKS
from proxy.ledger.rollups.writing import ROLLED_COLUMNS, Rolling, columns_of, counted, pages
from proxy.ledger.schema import (
    budget_retired,
    budget_spend,
    entries,
    horizon,
    jobs,
    metadata,
)
from proxy.times import rfc3339

_READ = tuple(
    {
        column.name: column
        for column in (
            *ROLLED_COLUMNS,
            *(entries.c[name] for name in ("corrects_id", "request_id", "attempt", "reserved_nanousd")),
            *(entries.c[name] for name in ("cost_lines", "flags", "budgets")),
        )
    }.values()
)


@slotted
class Report:
    """What was looked at, in numbers, and the first difference."""

    counted: dict[str, int] = field(default_factory=dict)
    entries_since_at: int | None = None
    difference: Difference | None = None

    def result(self, compare_store: Callable[[], tuple[str, Difference | None]]) -> dict[str, Any]:
        """What `verify --json` and the API say. compare_store: asked where the ledger is sound in itself."""
        store, first = "not asked: the ledger differs in itself", self.difference
        if first is None:
            store, first = compare_store()
        return {
            "ok": first is None,
            "first_difference": None if first is None else first._asdict(),
            "counted": self.counted,
            "entries_since": rfc3339(self.entries_since_at),
            "store": store,
        }


def verify(
    url: str, scratch: Path, spool: Path | None = None, *, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Audit the ledger at `url`; stops at the first difference. scratch: an empty folder, to be removed by the caller.

    spool: its folder; what is in it and counts as shipped has to be in the ledger. progress is told how many entries of how
    many are read. Raises SQLAlchemyError where the database does not answer.
    """
    engine, again = connect(url), connect(f"sqlite:///{scratch}/again.db")
    for each in (engine, again):
        if each.dialect.name == "sqlite":
            sa.event.listen(each, "connect", _sort_on_disk)
    sa.event.listen(again, "connect", _in_no_hurry_to_disk)
    report = Report()
    try:
        metadata.create_all(
            again, [*_ROLLED, spend_sessions, session_names, spend_units, budget_spend, label_days, label_parts]
        )
        with reading(engine).connect() as connection:
            report.entries_since_at = horizon(connection)
            try:
                _verify(connection, again, report, progress)
                if spool is not None:
                    report.counted["spool records"] = check_spool(connection, spool, report.entries_since_at)
            except Differs as found:
                report.difference = found.difference
    finally:
        engine.dispose()
        again.dispose()
    return report


def _sort_on_disk(connection: Any, _: object) -> None:
    connection.execute("PRAGMA temp_store = FILE")


def _in_no_hurry_to_disk(connection: Any, _: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")  # the scratch database is gone with us in any case


def _verify(connection: Connection, again: Engine, report: Report, progress: Callable[[int, int], None] | None) -> None:
    since = report.entries_since_at
    _read_entries(connection, again, report, progress)
    _check_numbering(connection)
    report.counted["jobs"] = _check_jobs(connection)
    report.counted["budget counters"] = _compare_budgets(connection, again)
    rows = compare(connection, again, by_session(), by_session(), SESSIONS, since)
    for table in _ROLLED:
        kept_rows = sa.select(table) if since is None else sa.select(table).where(table.c.start_at >= since)
        rows += compare(connection, again, kept_rows, kept_rows, table)
    if since is None:
        rows += compare(connection, again, units_by_session(), units_by_session(), UNITS)
    kept = [] if since is None else [spend_units.c.start_at >= since]
    units = sa.select(spend_units).where(spend_units.c.rollup.not_in([spend_sessions.name, *_ADDED_UP]), *kept)
    rows += compare(connection, again, units, units, spend_units)
    report.counted["roll-up rows"] = rows
    if problem := days_problem(connection):
        raise Differs(*problem)
    corrected = None if since is not None else report.counted["corrected nano-USD"]
    report.counted["metric series"] = check_metrics(connection, corrected)
    report.counted["capacity minutes"] = check_capacities(connection, since)


# Entries


def _read_entries(
    connection: Connection, again: Engine, report: Report, progress: Callable[[int, int], None] | None
) -> None:
    """Check each entry, and add them up once more."""
    rolling, add_spend = Rolling(again.dialect), upsert(again, budget_spend, adding="amount")
    whole = connection.execute(sa.select(sa.func.count()).select_from(entries)).scalar_one()
    report.counted |= {"entries": 0, "corrections": 0, "corrected nano-USD": 0}
    for rows in pages(connection, _READ):
        for row in rows:
            problem = problem_of(row)
            if problem is not None:
                raise Differs(f"entry {row['id']}", problem)
        _check_corrections(connection, rows, report)
        amounts = budget_amounts(entry_in_ledger(dict(row)).budgets for row in rows)
        with writing(again).begin() as scratch:
            rolling.add(scratch, columns_of(map(counted, rows)))
            if amounts:
                names = ("budget", "group", "window_start", "measure")
                added = [dict(zip(names, key, strict=True)) | {"amount": amount} for key, amount in amounts.items()]
                scratch.execute(add_spend, added)
        report.counted["entries"] += len(rows)
        if progress is not None:
            progress(report.counted["entries"], whole)


def _check_corrections(connection: Connection, rows: Sequence[Mapping[str, Any]], report: Report) -> None:
    corrections = [row for row in rows if row["kind"] == "correction"]
    if not corrections:
        return
    report.counted["corrections"] += len(corrections)
    report.counted["corrected nano-USD"] += sum(row["cost_nanousd"] or 0 for row in corrections)
    wanted = sa.select(*_READ).where(entries.c.id.in_([row["corrects_id"] for row in corrections]))
    attempts = {row["id"]: dict(row) for row in connection.execute(wanted).mappings()}
    for row in corrections:
        if report.entries_since_at is not None and row["started_at"] < report.entries_since_at:
            continue  # being deleted, its attempt perhaps first
        problem = correction_problem(row, attempts.get(row["corrects_id"]))
        several = any(flag in (row["flags"] or "") for flag in (CHANGED, REPRICED))
        if problem is None and row["id"] != correction_id(row["corrects_id"]) and not several:
            problem = f"it is not the one correction that {row['corrects_id']} can have"
        if problem is not None:
            raise Differs(f"entry {row['id']}", problem)


def _check_numbering(connection: Connection) -> None:
    number = sa.func.count().label("number")
    by = (entries.c.request_id, entries.c.attempt)
    query = sa.select(*by, number).where(entries.c.kind == "attempt").group_by(*by).having(number > 1).limit(1)
    for request_id, attempt, count in connection.execute(query):
        raise Differs(f"request {request_id}", f"it has {count} attempts with number {attempt}")


def _check_jobs(connection: Connection) -> int:
    """A job's row says what its entry and that one's corrections come to; how many there are."""
    number = int(connection.execute(sa.select(sa.func.count()).select_from(jobs)).scalar_one())
    if not number:
        return 0
    entry = jobs.join(entries, entries.c.id == jobs.c.id)
    runs, has_run = entries.c.status == RUNNING, jobs.c.state == RUNNING
    query = sa.select(jobs.c.id, jobs.c.state, entries.c.status).select_from(entry).where(runs != has_run).limit(1)
    for job_id, state, status in connection.execute(query):
        raise Differs(f"job {job_id}", f"it is {state}, and its entry is {status}")
    corrected = sa.select(entries.c.corrects_id, sa.func.sum(sa.func.coalesce(entries.c.cost_nanousd, 0)).label("more"))
    more = corrected.where(entries.c.kind == "correction").group_by(entries.c.corrects_id).subquery()
    both = entry.outerjoin(more, more.c.corrects_id == jobs.c.id)
    total = sa.func.coalesce(entries.c.cost_nanousd, 0) + sa.func.coalesce(more.c.more, 0)
    differs = sa.and_(jobs.c.state != RUNNING, sa.func.coalesce(jobs.c.cost_nanousd, 0) != total)
    for job_id, cost, entered in connection.execute(
        sa.select(jobs.c.id, jobs.c.cost_nanousd, total).select_from(both).where(differs).limit(1)
    ):
        raise Differs(f"job {job_id}", f"it costs {cost} nano-USD, and its entries come to {entered}")
    return number


# Totals

_ROLLED = (spend_hours, spend_days, spend_people_days, spend_people_weeks)
_ADDED_UP = [table.name for stretch in (DAYS, PARTS, WEEKS, MONTHS) for table in (stretch.sums, stretch.impersonal)]


def _compare_budgets(connection: Connection, again: Engine) -> int:
    """A counter is what its entries say, those that are deleted too. One of 0 is as good as none."""
    names = [column.name for column in budget_spend.primary_key]
    same = sa.and_(*[budget_retired.c[name] == budget_spend.c[name] for name in names])
    left = budget_spend.c.amount - sa.func.coalesce(budget_retired.c.amount, 0)
    key = [budget_spend.c[name] for name in names]
    there = (
        sa.select(*key, left.label("amount")).select_from(budget_spend.outerjoin(budget_retired, same)).where(left != 0)
    )
    return compare(connection, again, there, sa.select(budget_spend).where(budget_spend.c.amount != 0), budget_spend)
