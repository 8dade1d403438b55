"""What is to be exported, written in the transaction of the entries that it is about; and how far each sink is.

A sink's cursor moves only when what lies before it was taken, so nothing is lost however a process ends, and what is repeated
has the same ids. The log is kept as long as any sink has a place in it, and written only while there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.database import insert_into, reading, writing
from proxy.ledger.export_schema import export_log, export_set_aside, export_sinks
from proxy.ledger.schema import NOT_COUNTED, entries
from proxy.times import DAY_US

ENTRY, CAPACITY = "", "capacity"

FORGET_US = 7 * DAY_US  # a sink that is in no configuration for so long has no place any more
_TRIM = 20_000
_SEEN_EVERY_US = 60_000_000
_LOOK_UP = 500
_ANY_SINK = "SELECT name FROM export_sinks LIMIT 1"  # asked with every batch
_COMMITS_IN_ORDER = 7265648  # an advisory lock of PostgreSQL's, until the end of a transaction


class Place(NamedTuple):
    """How far a sink is: a row of `export_sinks`."""

    name: str
    created_at: int
    cursor: int
    history_at: int | None
    history_id: str | None
    history_until: int | None
    state: str | None


class Item(NamedTuple):
    """One thing to export: an entry's row as the ledger has it, or (`part`) its share of a machine."""

    row: Mapping[str, Any]
    part: str

    @property
    def id(self) -> str:
        """The same, however often it is exported."""
        return f"{self.row['id']}/{self.part}" if self.part else str(self.row["id"])


class Portion(NamedTuple):
    """Some of what a sink has not got, in order, and its place before and after it; `more`: whether there is more behind it.

    gone: entries that are in the log and not in the ledger any more.
    """

    items: Sequence[Item]
    gone: Sequence[str]
    before: Place
    after: Place
    more: bool


class Refused(NamedTuple):
    """An event that a sink will never take, and why."""

    event_id: str
    entry_id: str
    part: str
    reason: str


class Done(NamedTuple):
    """What became of a portion."""

    sent: int = 0
    skipped: int = 0
    refused: Sequence[Refused] = ()
    last_id: str | None = None
    state: str | None = None


class NotKept(Exception):  # noqa: N818 - another instance exports to this sink now
    """Nothing was written: the sink is another instance's."""


# Writing the log: in the recorder's transactions


def note(connection: Connection, rows: Iterable[tuple[str, str]], now: int) -> None:
    """These (entry's id, part) are to be exported, if anything is. To be the last statement of its transaction: instances that
    share a database commit one after the other from here on, so that a number never appears behind a sink's cursor."""
    if connection.exec_driver_sql(_ANY_SINK).first() is None:
        return
    if values := [{"entry_id": entry_id, "part": part, "recorded_at": now} for entry_id, part in rows]:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_COMMITS_IN_ORDER)))
        connection.execute(sa.insert(export_log), values)


# Whose a sink is


def take_place(engine: Engine, name: str, kind: str, since: int | None, now: int) -> None:
    """Give a new sink its place, at the log's end, with what began at `since` or later before it.

    Raises SQLAlchemyError, on PostgreSQL also where others are busy with the table for longer than a moment.
    """
    with writing(engine).begin() as connection:
        if connection.dialect.name == "postgresql":  # what is committed from now on knows of it
            # Behind a lock that waits the recorder waits, too, for as long as a backup may take.
            connection.execute(sa.text("SET LOCAL lock_timeout = '250ms'"))
            connection.execute(sa.text("LOCK TABLE export_sinks IN ACCESS EXCLUSIVE MODE"))
        last = connection.execute(sa.select(sa.func.max(export_log.c.seq))).scalar() or 0
        latest = connection.execute(
            sa.select(sa.func.max(entries.c.started_at))
        ).scalar()  # a clock may be ahead of ours
        until = max(now, latest or 0)
        row = {
            "name": name, "type": kind, "created_at": now, "seen_at": now, "cursor": last, "keeper_until": 0,
            "sent": 0, "set_aside": 0, "skipped": 0, "failed": 0,
            "history_at": since, "history_id": None if since is None else "", "history_until": None if since is None else until,
        }  # fmt: skip
        connection.execute(insert_into(connection, export_sinks).on_conflict_do_nothing(), [row])


def wanted(engine: Engine, names: Sequence[str], now: int) -> set[str]:
    """Note that these are in a configuration; those of them that have a place."""
    c = export_sinks.c
    with engine.connect() as connection:
        seen = {
            row.name: row.seen_at for row in connection.execute(sa.select(c.name, c.seen_at).where(c.name.in_(names)))
        }
    old = [name for name, seen_at in seen.items() if seen_at < now - _SEEN_EVERY_US]
    if old:
        with writing(engine).begin() as connection:
            connection.execute(sa.update(export_sinks).where(c.name.in_(old)).values(seen_at=now))
    return set(seen)


def keep(engine: Engine, name: str, instance: str, now: int, until: int) -> bool:
    """Whether this instance exports to it, until then: one does at a time."""
    c = export_sinks.c
    free = sa.or_(c.keeper == instance, c.keeper_until < now, c.keeper.is_(None))
    with writing(engine).begin() as connection:
        taken = sa.update(export_sinks).where(c.name == name, free).values(keeper=instance, keeper_until=until)
        return connection.execute(taken).rowcount == 1


def release(engine: Engine, instance: str) -> None:
    """This instance stops; another need not wait."""
    c = export_sinks.c
    with writing(engine).begin() as connection:
        connection.execute(sa.update(export_sinks).where(c.keeper == instance).values(keeper=None, keeper_until=0))


def forget(engine: Engine, now: int) -> list[str]:
    """Sinks that nobody wants any more; their names. What they had not got is not kept for them."""
    c = export_sinks.c
    with writing(engine).begin() as connection:
        gone = sa.delete(export_sinks).where(c.seen_at < now - FORGET_US).returning(c.name)
        names = list(connection.execute(gone).scalars())
        if names:
            connection.execute(sa.delete(export_set_aside).where(export_set_aside.c.sink.in_(names)))
    return names


def trim(engine: Engine) -> bool:
    """Delete some of what every sink has got; whether there was any."""
    with writing(engine).begin() as connection:
        return _trim(connection)


# Reading, and what was taken


def read_place(connection: Connection, name: str) -> Place | None:
    row = connection.execute(sa.select(export_sinks).where(export_sinks.c.name == name)).mappings().first()
    return None if row is None else Place(*(row[field] for field in Place._fields))


def read_portion(
    engine: Engine, name: str, most: int, columns: Sequence[sa.Column[Any]] | None = None
) -> Portion | None:
    """What comes next for a sink: first its history, then the log. None where the sink has no place.

    columns: of `entries`, with `id`, `started_at` and `capacity_nanousd`; all of them where none are named.
    """
    selected = list(entries.columns) if columns is None else list(columns)
    with reading(engine).connect() as connection:
        place = read_place(connection, name)
        if place is None:
            return None
        if place.history_at is not None:
            return _history(connection, place, most, selected)
        return _log(connection, place, most, selected)


def _history(connection: Connection, place: Place, most: int, columns: Sequence[sa.Column[Any]]) -> Portion:
    c = entries.c
    behind = sa.or_(
        c.started_at > place.history_at, sa.and_(c.started_at == place.history_at, c.id > (place.history_id or ""))
    )
    query = sa.select(*columns).where(
        c.started_at >= place.history_at, behind, c.started_at <= place.history_until, c.status.not_in(NOT_COUNTED)
    )
    rows = connection.execute(query.order_by(c.started_at, c.id).limit(most)).mappings().all()
    noted = _noted(connection, place.cursor, [row["id"] for row in rows])
    items = []
    for row in rows:
        parts = [ENTRY] if row["capacity_nanousd"] is None else [ENTRY, CAPACITY]
        items += [Item(dict(row), part) for part in parts if (row["id"], part) not in noted]
    if len(rows) < most:  # that was all
        after = place._replace(history_at=None, history_id=None, history_until=None)
    else:
        after = place._replace(history_at=rows[-1]["started_at"], history_id=rows[-1]["id"])
    return Portion(items, (), place, after, more=True)


def _noted(connection: Connection, cursor: int, ids: Sequence[str]) -> set[tuple[str, str]]:
    """What of these comes with the log, as it was recorded since the sink has its place: it is not told twice."""
    c = export_log.c
    noted: set[tuple[str, str]] = set()
    for first in range(0, len(ids), _LOOK_UP):
        query = sa.select(c.entry_id, c.part).where(c.entry_id.in_(ids[first : first + _LOOK_UP]), c.seq > cursor)
        noted.update((row[0], row[1]) for row in connection.execute(query))
    return noted


def _log(connection: Connection, place: Place, most: int, columns: Sequence[sa.Column[Any]]) -> Portion:
    joined = export_log.outerjoin(entries, entries.c.id == export_log.c.entry_id)
    numbers = (export_log.c.seq, export_log.c.entry_id.label("_entry_id"), export_log.c.part.label("_part"))
    query = sa.select(*numbers, *columns).select_from(joined).where(export_log.c.seq > place.cursor)
    rows = connection.execute(query.order_by(export_log.c.seq).limit(most)).mappings().all()
    items, gone = [], []
    for row in rows:
        if row["id"] is None:
            gone.append(row["_entry_id"])
        else:
            items.append(Item(dict(row), row["_part"]))
    after = place._replace(cursor=rows[-1]["seq"]) if rows else place
    return Portion(items, gone, place, after, more=len(rows) == most)


def settle(engine: Engine, instance: str, portion: Portion, done: Done, now: int) -> None:
    """The sink has got the portion. Raises NotKept, SQLAlchemyError: then nothing is written."""
    c, before, after = export_sinks.c, portion.before, portion.after
    # Another may have kept it meanwhile, and got further: it would lose its sums, and get much twice.
    as_it_was = (
        c.cursor == before.cursor,
        c.history_at.is_not_distinct_from(before.history_at),
        c.history_id.is_not_distinct_from(before.history_id),
    )
    values: dict[str, Any] = {
        "cursor": after.cursor, "history_at": after.history_at, "history_id": after.history_id,
        "history_until": after.history_until, "sent": c.sent + done.sent, "skipped": c.skipped + done.skipped,
        "set_aside": c.set_aside + len(done.refused), "error": None, "error_at": None, "last_at": now,
    }  # fmt: skip
    if done.last_id is not None:
        values["last_id"] = done.last_id
    if done.state is not None:
        values["state"] = done.state
    with writing(engine).begin() as connection:
        _write_mine(connection, instance, after.name, values, *as_it_was)
        _set_aside(connection, after.name, done.refused, now)
        _trim(connection)


def _write_mine(
    connection: Connection, instance: str, name: str, values: Mapping[str, Any], *where: sa.ColumnElement[bool]
) -> None:
    kept_here = (export_sinks.c.name == name, export_sinks.c.keeper == instance, *where)
    if connection.execute(sa.update(export_sinks).where(*kept_here).values(**values)).rowcount != 1:
        raise NotKept


def _set_aside(connection: Connection, name: str, refused: Sequence[Refused], now: int) -> None:
    if not refused:
        return
    statement = insert_into(connection, export_set_aside)
    changed = {column: statement.excluded[column] for column in ("reason", "refused_at", "again")}
    rows = [{"sink": name, **each._asdict(), "refused_at": now, "again": False} for each in refused]
    connection.execute(statement.on_conflict_do_update(index_elements=["sink", "event_id"], set_=changed), rows)


def _trim(connection: Connection) -> bool:
    least = connection.execute(sa.select(sa.func.min(export_sinks.c.cursor))).scalar()
    first = connection.execute(sa.select(sa.func.min(export_log.c.seq))).scalar()
    if first is None or (least is not None and first > least):
        return False
    last = first + _TRIM if least is None else min(least, first + _TRIM)
    connection.execute(sa.delete(export_log).where(export_log.c.seq <= last))
    return True


def note_failure(engine: Engine, instance: str, name: str, reason: str, now: int) -> None:
    """It did not work now, and is tried again. Raises NotKept."""
    values = {"failed": export_sinks.c.failed + 1, "error": reason, "error_at": now}
    with writing(engine).begin() as connection:
        _write_mine(connection, instance, name, values)


# What was set aside


def ask_again(engine: Engine, name: str) -> int | None:
    """Try everything that was set aside once more; how many events these are. None where there is no such sink."""
    c = export_set_aside.c
    with writing(engine).begin() as connection:
        if read_place(connection, name) is None:
            return None
        return connection.execute(sa.update(export_set_aside).where(c.sink == name).values(again=True)).rowcount


def read_again(engine: Engine, name: str, most: int) -> list[tuple[Refused, Item | None]]:
    """What somebody wants tried once more; None in place of an item that is not in the ledger any more."""
    c = export_set_aside.c
    joined = export_set_aside.outerjoin(entries, entries.c.id == c.entry_id)
    columns = [c[field].label(f"_{field}") for field in Refused._fields]
    query = sa.select(*columns, *entries.columns).select_from(joined).where(c.sink == name, c.again)
    with reading(engine).connect() as connection:
        rows = connection.execute(query.order_by(c.event_id).limit(most)).mappings().all()
    return [
        (
            Refused(*(row[f"_{field}"] for field in Refused._fields)),
            None if row["id"] is None else Item(dict(row), row["_part"]),
        )
        for row in rows
    ]


def settle_again(
    engine: Engine,
    instance: str,
    name: str,
    taken: Sequence[str],
    refused: Sequence[Refused],
    added: Callable[[str | None], str | None],
    now: int,
) -> None:
    """Of what was tried once more: these events were taken (or are no longer any), those refused again. added: the sink's
    state with it. Raises NotKept."""
    c = export_set_aside.c
    with writing(engine).begin() as connection:
        place = read_place(connection, name)
        state = added(place.state if place else None)
        values = {"sent": export_sinks.c.sent + len(taken), "last_at": now, "state": state}
        _write_mine(connection, instance, name, values)
        for event_id in taken:
            connection.execute(sa.delete(export_set_aside).where(c.sink == name, c.event_id == event_id))
        _set_aside(connection, name, refused, now)
