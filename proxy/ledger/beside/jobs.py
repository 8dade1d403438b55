"""Jobs that may still change: which process asks for one next; each job's end counts once.

A row is written with the entries that it belongs to, in their transaction. Its `revision` makes that each settlement and each
correction is taken once, whoever writes it: one that was made from an older revision changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.jobs.machine import ASKED_FOR_S, RUNNING, SETTLED, UNCONFIRMED, ask_again_s
from proxy.ledger.database import insert_into, reading, writing
from proxy.ledger.entries.entry import Entry
from proxy.ledger.schema import jobs

_MOST = 256
_SECOND = 1_000_000
_LATEST = 2**63 - 1


def is_of_a_job(entry: Entry) -> bool:
    """Whether an entry begins or ends a job, or may: who expires may be one."""
    return entry.end.get("job") is not None or entry.row.outcome == "expired"


def begin(connection: Connection, entry: Entry) -> None:
    """Note a job that runs. What is known of it already is newer."""
    row = _row(entry) | {"state": RUNNING, "ended": False, "ended_at": None, "revision": 0}
    row |= {"cost_nanousd": None, "settled": None, "ask_at": entry.row.ended_at}
    connection.execute(insert_into(connection, jobs).on_conflict_do_nothing(), [row])


def end(connection: Connection, entry: Entry, recheck_s: float | None) -> None:
    """Note how a job ended first. recheck_s: when it is asked for once more; None: never."""
    row, unconfirmed = entry.row, entry.row.status == UNCONFIRMED
    overdue = unconfirmed and entry.end.get("job") is None
    values: dict[str, Any] = {
        "state": UNCONFIRMED if unconfirmed else SETTLED,
        "ended": not overdue,
        "ended_at": None if overdue else row.ended_at,
        "revision": 0 if overdue else 1,
        "cost_nanousd": row.cost_nanousd,
        "settled": row.budgets,
    }
    if not overdue:
        again = None if recheck_s is None or unconfirmed else row.ended_at + int(recheck_s * _SECOND)
        values["ask_at"] = None if again is None else min(again, _LATEST)
    done = connection.execute(sa.update(jobs).where(jobs.c.id == row.id).values(values))
    if not done.rowcount and not overdue:
        connection.execute(insert_into(connection, jobs).on_conflict_do_nothing(), [_row(entry) | values])


def change(connection: Connection, entry: Entry, before: Mapping[str, Any]) -> bool:
    """Note what is known newly of a job's cost; whether nobody else did first."""
    this_row = (jobs.c.id == entry.row.id, jobs.c.revision == before["revision"])
    values = {
        "state": entry.row.status, "ended": True, "ended_at": entry.row.ended_at, "revision": before["revision"] + 1,
        "cost_nanousd": entry.row.cost_nanousd, "settled": entry.row.budgets, "ask_at": None,
    }  # fmt: skip
    return connection.execute(sa.update(jobs).where(*this_row).values(values)).rowcount == 1


def known(connection: Connection, job_id: str) -> Mapping[str, Any] | None:
    """The row of a job."""
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).mappings().first()
    return None if row is None else dict(row)


def _row(entry: Entry) -> dict[str, Any]:
    row, job = entry.row, entry.end.get("job") or {}
    return {
        "id": row.id, "digest": str(job["digest"]), "api": str(job["api"]), "operation": row.operation,
        "created_at": row.started_at, "deadline_at": int(job["deadline_at"]), "ask_at": None,
        "reserved_nanousd": row.reserved_nanousd,
        "record": orjson.dumps({**job, "settled": (), "state": RUNNING, "ended": False, "revision": 0}, default=str).decode(),
    }  # fmt: skip


# What data planes ask


def find_jobs(engine: Engine, digests: Sequence[str]) -> list[dict[str, Any]]:
    """Those that are known, as `job_fields`."""
    query = sa.select(jobs).where(jobs.c.digest.in_(digests[:_MOST]))
    with reading(engine).connect() as connection:
        return [job_fields(dict(row)) for row in connection.execute(query).mappings()]


def running_jobs(engine: Engine) -> list[dict[str, Any]]:
    """All whose reservations stand."""
    with engine.connect() as connection:
        return running_in(connection)


def running_in(connection: Connection) -> list[dict[str, Any]]:
    """As `running_jobs`, by what a transaction sees."""
    query = sa.select(jobs).where(jobs.c.state == RUNNING)
    return [job_fields(dict(row)) for row in connection.execute(query).mappings()]


def take_due(
    engine: Engine,
    now_us: int,
    most: int,
    poll_s: float,
    answered: Sequence[str] = (),
    withdrawn: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Jobs whose providers are to be asked now. Whoever gets one has it to itself until it is due again.

    answered: those that had ended, and whose providers have said since whether anything changed: they are done. One that nobody
    says that of is due again, for whoever had it may be dead. withdrawn: those that their owners deleted or
    cancelled, which whoever asks for them has to know.
    """
    due = sa.select(jobs).where(jobs.c.ask_at <= now_us).order_by(jobs.c.ask_at).limit(most)
    with writing(engine).begin() as connection:
        if answered:
            done = sa.update(jobs).where(
                jobs.c.id.in_(answered), jobs.c.ended, jobs.c.ask_at <= now_us + int(poll_s * _SECOND)
            )
            connection.execute(done.values(ask_at=None))
        if withdrawn:
            _note_withdrawn(connection, withdrawn)
        if connection.dialect.name == "postgresql":
            due = due.with_for_update(skip_locked=True)
        rows = [dict(row) for row in connection.execute(due).mappings()]
        for row in rows:
            age_s = (now_us - row["created_at"]) / _SECOND
            again_s = ask_again_s(row["state"], ended=row["ended"], age_s=age_s, poll_s=poll_s, recheck_s=None)
            if again_s is None and row["ended"] and age_s < ASKED_FOR_S:
                again_s = poll_s
            ask_at = None if again_s is None else now_us + int(again_s * _SECOND)
            connection.execute(sa.update(jobs).where(jobs.c.id == row["id"]).values(ask_at=ask_at))
    return [job_fields(row) for row in rows]


def _note_withdrawn(connection: Connection, ids: Sequence[str]) -> None:
    query = sa.select(jobs.c.id, jobs.c.record).where(jobs.c.id.in_(ids), sa.not_(jobs.c.ended))
    for job_id, text in connection.execute(query).all():
        record = orjson.loads(text)
        if not record.get("withdrawn"):
            marked = orjson.dumps({**record, "withdrawn": True}).decode()
            connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(record=marked))


def job_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `proxy.jobs.job.Job` as they are by now."""
    settled = [item[4] for item in orjson.loads(row["settled"] or "[]")]
    newer = {name: row[name] for name in ("state", "ended", "revision", "cost_nanousd")}
    return {**orjson.loads(row["record"]), **newer, "settled": settled}


def states(connection: Connection, now_us: int) -> dict[str, int]:
    """How many jobs are in each state, and (`overdue`) how many have passed their deadline without an end."""
    query = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
    counted = {state: int(count) for state, count in connection.execute(query)}
    late = sa.select(sa.func.count()).where(
        jobs.c.deadline_at < now_us, sa.not_(jobs.c.ended), jobs.c.ask_at.is_not(None)
    )
    return {state: counted.get(state, 0) for state in (RUNNING, SETTLED, UNCONFIRMED)} | {
        "overdue": int(connection.execute(late).scalar_one())
    }
