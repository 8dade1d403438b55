"""`entries` by months, in PostgreSQL: a table for each month (UTC), so that old ones go with their tables.

An id begins with the time of its attempt, a correction's with that of the attempt it corrects. So ids are the ranges: the
primary key stays what it was, every look-up by id and every list (which are in the order of ids) touches one table, and an
earlier version beside this one notices nothing. `entries_before` has what is older than the first month, `entries_other` what
fits nowhere: ids of a clock far ahead. A ledger that an earlier version made is one table until `divide`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ids import first_id
from proxy.ledger.schema import entries

_BEFORE, _OTHER = "entries_before", "entries_other"
_MONTHS_AHEAD = 2
_MOST_MONTHS = 12  # made at one time: a clock that is wrong makes no thousands
_MAKING = 7265649  # an advisory lock of PostgreSQL's, until the end of a transaction
_BOUNDS = re.compile(r"FOR VALUES FROM \((MINVALUE|'([0-9a-f-]+)')\) TO \('([0-9a-f-]+)'\)\Z")


class Partition(NamedTuple):
    """A table of the entries whose ids are from `since` (None: however low) to before `until`."""

    name: str
    since: str | None
    until: str


class NotDivided(Exception):  # noqa: N818 - told to whoever asked
    """Why `divide` changed nothing."""


def is_divided(connection: Connection) -> bool:
    """Whether the ledger's entries are by months."""
    if connection.dialect.name != "postgresql":
        return False
    kind = connection.execute(sa.text("SELECT relkind FROM pg_class WHERE oid = to_regclass('entries')")).scalar()
    return kind in ("p", b"p")


def partitions(connection: Connection) -> list[Partition]:
    """Those with a range, the oldest first; none where the ledger is one table."""
    query = (
        "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid "
        "WHERE inhparent = to_regclass('entries')"
    )
    months = []
    for name, bounds in connection.execute(sa.text(query)):
        if (match := _BOUNDS.match(bounds or "")) is not None:
            months.append(Partition(name, match[2], match[3]))
    return sorted(months, key=lambda partition: partition.until)


def by_months(table: sa.Table, connection: Connection, **_: object) -> None:
    """Before `entries` is made: divided by id on PostgreSQL. Other databases are not told: naming a dialect would import it."""
    if connection.dialect.name == "postgresql":
        table.dialect_options["postgresql"]["partition_by"] = "RANGE (id)"


def first_months(_: sa.Table, connection: Connection, **__: object) -> None:
    """After `entries` was made: on PostgreSQL, the tables of this month and of those ahead."""
    if connection.dialect.name == "postgresql":
        start = _month_of(datetime.now(UTC))
        _add(connection, Partition(_BEFORE, None, _id_of(start)))
        connection.execute(sa.text(f"CREATE TABLE {_OTHER} PARTITION OF entries DEFAULT"))
        for month in _months(start, _MONTHS_AHEAD + 1):
            _add(connection, month)


sa.event.listen(entries, "before_create", by_months)
sa.event.listen(entries, "after_create", first_months)


def make_months(engine: Engine, now_us: int) -> list[str]:
    """Make the tables of this month and the next ones, where they are not there; their names.

    Several instances may do so at once. Raises SQLAlchemyError, also where readers hold the tables for longer than a moment:
    ask again later.
    """
    if engine.dialect.name != "postgresql":
        return []
    with engine.connect() as connection:
        if not is_divided(connection) or not _missing(connection, now_us):
            return []
    with engine.begin() as connection:
        # Behind a lock that waits the recorder waits, too.
        connection.execute(sa.text("SET LOCAL lock_timeout = '250ms'"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MAKING)))
        missing = _missing(connection, now_us)
        for month in missing:
            _add(connection, month)
    return [month.name for month in missing]


def _missing(connection: Connection, now_us: int) -> list[Partition]:
    """This month and the next ones, as far as they have no table; and what nobody made for longer than that."""
    there = partitions(connection)
    this = _month_of(datetime.fromtimestamp(now_us / 1e6, UTC))
    last = this
    for _ in range(_MONTHS_AHEAD):
        last = _next(last)
    first = _start_of(there[-1].until) if there else this
    return [month for month in _months(first, _MOST_MONTHS) if (month.since or "") <= _id_of(last)]


def _add(connection: Connection, month: Partition) -> None:
    """Its table is made aside (in its place it would lock all readers out), and gets what lies in `entries_other` of it."""
    name = month.name
    connection.execute(sa.text(f"CREATE TABLE {name} (LIKE entries INCLUDING ALL)"))
    there = connection.execute(sa.text(f"SELECT to_regclass('{_OTHER}')")).scalar()
    if there is not None:
        of_month = "id >= :since AND id < :until"
        span = {"since": month.since, "until": month.until}
        has_rows = sa.text(f"SELECT EXISTS (SELECT FROM {_OTHER} WHERE {of_month})")  # noqa: S608 - our own names
        if connection.execute(has_rows, span).scalar():
            connection.execute(sa.text(f"LOCK TABLE {_OTHER} IN ACCESS EXCLUSIVE MODE"))
            moved = f"WITH moved AS (DELETE FROM {_OTHER} WHERE {of_month} RETURNING *) INSERT INTO {name} SELECT * FROM moved"  # noqa: S608 - as above
            connection.execute(sa.text(moved), span)
    _attach(connection, month)


def _attach(connection: Connection, month: Partition) -> None:
    since = "MINVALUE" if month.since is None else f"'{month.since}'"
    bounds = f"FROM ({since}) TO ('{month.until}')"
    connection.execute(sa.text(f"ALTER TABLE entries ATTACH PARTITION {month.name} FOR VALUES {bounds}"))


# Dividing what an earlier version made


def divide(engine: Engine, now_us: int) -> list[str]:
    """Make one table the first of many: it keeps every row where it is, up to this month's end, and months follow. Their names.

    One transaction: it changes the ledger as a whole or not at all, and reads the table once (to see that it has no later
    entries) while others wait: the recorder, whose spool keeps everything, and reports. Raises NotDivided, SQLAlchemyError.
    """
    if engine.dialect.name != "postgresql":
        raise NotDivided("only a PostgreSQL ledger can be divided; SQLite has no partitions")
    with engine.begin() as connection:
        if is_divided(connection):
            raise NotDivided("its entries are divided by months already")
        if views := _views_of_others(connection):
            raise NotDivided(f"{', '.join(views)} read the table: drop them, and make them again afterwards")
        connection.execute(sa.text("SET LOCAL lock_timeout = '10s'"))
        connection.execute(sa.text("LOCK TABLE entries IN ACCESS EXCLUSIVE MODE"))
        until = _next(_month_of(datetime.fromtimestamp(now_us / 1e6, UTC)))
        _check_ids(connection, _id_of(until))
        grants = _grants(connection)
        _set_aside(connection)
        connection.execute(sa.text(f"CREATE TABLE entries (LIKE {_BEFORE} INCLUDING DEFAULTS) PARTITION BY RANGE (id)"))
        connection.execute(sa.text("ALTER TABLE entries ADD CONSTRAINT entries_pkey PRIMARY KEY (id)"))
        for index in entries.indexes:
            index.create(connection)
        _attach(connection, Partition(_BEFORE, None, _id_of(until)))
        connection.execute(sa.text(f"CREATE TABLE {_OTHER} PARTITION OF entries DEFAULT"))
        made = list(_months(until, _MONTHS_AHEAD))
        for month in made:
            _add(connection, month)
        for grant in grants:
            connection.execute(sa.text(grant))
        _point_the_view(connection)
    return [_BEFORE, *(month.name for month in made)]


def _views_of_others(connection: Connection) -> list[str]:
    """A view follows a table that is renamed: somebody's own would show what is old, and say nothing."""
    query = (
        "SELECT DISTINCT c.relname FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class c ON c.oid = r.ev_class "
        "WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = to_regclass('entries') AND c.relname <> 'ledger' ORDER BY 1"
    )
    return list(connection.execute(sa.text(query)).scalars())


def _check_ids(connection: Connection, until: str) -> None:
    later = connection.execute(sa.text("SELECT max(id) FROM entries")).scalar()
    if later is not None and later >= until:
        raise NotDivided(f"entry {later} is of a month that has not begun, or its id says no time")


def _grants(connection: Connection) -> list[str]:
    """Statements that give others what they may do with `entries`."""
    query = (
        "SELECT format('GRANT %s ON entries TO %s%s', privilege_type, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE "
        "quote_ident(pg_get_userbyid(grantee)) END, CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) "
        "FROM pg_class, aclexplode(relacl) WHERE oid = to_regclass('entries') AND grantee <> relowner"
    )
    return list(connection.execute(sa.text(query)).scalars())


def _set_aside(connection: Connection) -> None:
    """The table and its indexes under other names."""
    connection.execute(sa.text(f"ALTER TABLE entries RENAME TO {_BEFORE}"))
    query = sa.text(
        "SELECT c.relname FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = to_regclass(:old)"
    )
    for name in connection.execute(query, {"old": _BEFORE}).scalars().all():
        aside = name.replace("entries", _BEFORE, 1)
        connection.execute(sa.text(f'ALTER INDEX "{name}" RENAME TO "{aside}"'))


def _point_the_view(connection: Connection) -> None:
    """The view `ledger` reads what is called `entries` now; who may read it may still."""
    defined = connection.execute(sa.text("SELECT pg_get_viewdef(to_regclass('ledger'))")).scalar()
    if defined is not None:
        body = re.sub(rf"\b{_BEFORE}\b", "entries", defined)
        connection.exec_driver_sql(f"CREATE OR REPLACE VIEW ledger AS {body}")


# Months


def _months(start: datetime, count: int) -> Iterator[Partition]:
    for _ in range(count):
        yield Partition(f"entries_{start:%Y_%m}", _id_of(start), _id_of(_next(start)))
        start = _next(start)


def _month_of(moment: datetime) -> datetime:
    return datetime(moment.year, moment.month, 1, tzinfo=UTC)


def _next(month: datetime) -> datetime:
    return datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)


def _id_of(month: datetime) -> str:
    return first_id(int(month.timestamp()) * 1_000_000)


def _start_of(bound: str) -> datetime:
    return _month_of(datetime.fromtimestamp(int(bound.replace("-", ""), 16) / 1000, UTC))
