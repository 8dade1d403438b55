"""The ledger's database: connected, and brought to the schema of this code."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib
import operator
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url

from proxy.config.ledger_url import parse_postgres, without_password
from proxy.ledger import capacity_schema, export_schema, partitions, parts_schema, rollup_schema, view_schema  # noqa: F401 - their tables
from proxy.ledger.schema import metadata, stored
from proxy.ledger.sql_view import view_sql
from proxy.ledger.sqlite_file import make_private
from proxy.ledger.version import HEAD

_VERSION = re.compile(r"\d{4}\Z")
# A server whose machine is gone says nothing, not even that: without these a commit waits for it for two hours. Seconds, but
# for the last; the ledger's address may say otherwise.
_ALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}

# Who stands still in a transaction (a virtual machine that was paused) would hold its locks until it goes on, and all others
# wait for it; between two of its statements nobody takes so long.
FROZEN_S = 30


def open_ledger(url: str) -> Engine:
    """An engine on the ledger at `url` (SQLite or PostgreSQL), its schema brought up to date under a lock.

    A ledger that a newer version has migrated is used as it is: migrations only add, so that both may run side by side.
    Raises OSError where the database is another program's, and SQLAlchemyError where it does not answer.
    """
    engine = connect(url)
    try:
        with engine.connect() as connection:
            is_ready = _is_ours(connection) and (_version(connection) or "") >= HEAD and not _lacks_stored(connection)
        if not is_ready:
            _migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def connect(url: str) -> Engine:
    """Nothing is prepared in PostgreSQL's sessions: a pooler in transaction mode (PgBouncer) gives each transaction another."""
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            make_private(Path(parsed.database))
        engine = sa.create_engine(parsed, connect_args={"timeout": 30, "check_same_thread": False})
        sa.event.listen(engine, "connect", _set_up_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    alive = {name: value for name, value in _ALIVE.items() if name not in parsed.query}
    engine = sa.create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        connect_args={"prepare_threshold": None} | alive,
    )
    sa.event.listen(engine, "begin", _begin_postgres)
    return engine


def _parsed(url: str) -> URL:
    if not url.startswith(("postgresql://", "postgres://")):
        return make_url(url)
    address = parse_postgres(url)
    query = make_url(f"postgresql://?{address.query}").query if address.query else {}
    (host, port), *others = address.places
    if others:
        hosts, ports = zip(*address.places, strict=True)
        query = {**query, "host": ",".join(hosts), "port": ",".join(str(port or "") for port in ports)}
        host, port = "", None
    return URL.create(
        "postgresql", address.user, address.password, host or None, port, address.database or None, query
    )  # fmt: skip


def why_not_opened(error: Exception, url: str) -> str:
    """What the driver says, in a line, without the password; of a file, which."""
    text = str(getattr(error, "orig", None) or error).strip().partition("\n")[0] or type(error).__name__
    if isinstance(error, OSError):
        text = str(error.strerror)
    if url.startswith("sqlite"):
        return f"{make_url(url).database}: {text}"
    password = parse_postgres(url).password if url.startswith("postgres") else None
    return without_password(text, password)


def writing(engine: Engine) -> Engine:
    """The engine for transactions that write: SQLite takes the write lock at once, and so never has to give up half-way."""
    return engine.execution_options(writes=True)


def let_go(engine: Engine) -> None:
    """What its connections at rest remember of a SQLite file goes back: after a burst that is two megabytes of each."""
    if engine.dialect.name != "sqlite":
        return
    pool = engine.pool
    idle = [engine.raw_connection() for _ in range(pool.checkedin() if isinstance(pool, sa.QueuePool) else 0)]
    try:
        for connection in idle:
            connection.cursor().execute("PRAGMA shrink_memory")
    finally:
        for connection in idle:
            connection.close()


def reading(engine: Engine) -> Engine:
    """The engine for transactions of several statements that must see the same: what SQLite does in any case."""
    return (
        engine.execution_options(isolation_level="REPEATABLE READ") if engine.dialect.name == "postgresql" else engine
    )


def _begin_postgres(connection: Connection) -> None:
    """For this transaction alone, as the session may be a pooler's. A report's plan names every month's table, and so seems
    dear enough to be compiled: 2 s for what takes 10 ms."""
    options = connection.get_execution_options()
    if options.get("writes"):
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{FROZEN_S}s'")
    elif options.get("isolation_level") == "REPEATABLE READ":
        connection.exec_driver_sql("SET LOCAL jit = off")


def _begin_sqlite(connection: Connection) -> None:
    # The driver's own idea of when a transaction begins would commit it at the end of the first savepoint.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _set_up_sqlite(connection: Any, _: object) -> None:
    """WAL: readers never wait for the recorder. FULL: what is committed is on disk, as the spool deletes what is shipped. No
    connection checkpoints by itself, but the last one as it is closed: `checkpoints.py`."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "wal_autocheckpoint = 0", "synchronous = FULL", "temp_store = MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


# The driver binds exact numbers and texts as they are; for anything else, None included, it looks for adapters in three
# places and makes up an error in two of them. So it gets one that changes nothing: 12 % of the recorder's instructions.
_NONE: dict[None, None] = {}
sqlite3.register_adapter(type(None), _NONE.get)
sqlite3.register_adapter(bool, operator.index)


def insert_into(bound: Engine | Connection, table: sa.Table) -> Any:
    """An INSERT that knows the database's `on_conflict`. Only the dialect that is used is imported."""
    dialect = "postgresql" if bound.dialect.name == "postgresql" else "sqlite"
    return importlib.import_module(f"sqlalchemy.dialects.{dialect}").insert(table)


def upsert(engine: Engine, table: sa.Table, adding: str | None = None) -> Any:
    """INSERT, or UPDATE of what is not the key where the key is there; the column `adding` adds to what is there."""
    statement = insert_into(engine, table)
    keys = [column.name for column in table.primary_key]
    new: dict[str, Any] = {name: statement.excluded[name] for name in table.columns.keys() if name not in keys}  # noqa: SIM118 - iterating gives columns, not names
    if adding is not None:
        new[adding] = table.c[adding] + new[adding]
    return statement.on_conflict_do_update(index_elements=keys, set_=new)


def current_version(engine: Engine) -> str | None:
    """The migration that the database is at; None where there is no schema yet."""
    with engine.connect() as connection:
        return _version(connection)


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _is_ours(connection: Connection) -> bool:
    """Whether the tables are there, of this version or any other."""
    return sa.inspect(connection).has_table("entries") and bool(_VERSION.match(_version(connection) or ""))


def _lacks_stored(connection: Connection) -> bool:
    """Whether a command made the ledger before 2026-12-01: it did not know the table, and what it did not know was not made."""
    return not sa.inspect(connection).has_table(stored.name)


def _migrate(engine: Engine) -> None:
    """Bring the schema up to date. An empty database gets it at once, which is what all migrations together come to."""
    with writing(engine).connect() as connection, _migration_lock(engine, connection):
        version = _version(connection)
        if not _is_ours(connection):
            if version is not None or sa.inspect(connection).has_table("entries"):
                raise OSError(errno.EEXIST, "another program's tables are in it; name a database of its own")
            metadata.create_all(connection)
            connection.execute(sa.insert(rollup_schema.session_names).values(id=1, since_at=0))
            connection.execute(sa.text(view_sql(engine.dialect.name)))
            connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
            connection.execute(sa.text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
            connection.commit()
        elif (version or "") < HEAD:
            _upgrade(connection)
        if _lacks_stored(connection):
            stored.create(connection)
            connection.commit()


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - only where there is something to do
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
    connection.commit()


class _migration_lock:  # noqa: N801 - used as a verb
    """One process migrates; the others wait and find it done."""

    def __init__(self, engine: Engine, connection: Connection) -> None:
        self._engine = engine
        self._connection = connection
        self._file = Path(f"{engine.url.database}.migrating")
        self._fd = -1

    def __enter__(self) -> None:
        if self._engine.dialect.name == "postgresql":
            # Until the end of the transaction, in which all of it happens: behind a pooler there is no session to hold it.
            self._connection.execute(sa.text("SELECT pg_advisory_xact_lock(7265647)"))
            # Some migrations reckon for long between two statements.
            self._connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        elif self._engine.url.database:
            self._fd = self._locked()

    def _locked(self) -> int:
        """The locked file. Whoever had it before removed it, so what we waited for may be no file any more."""
        while True:
            fd = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), self._file.stat()):
                    return fd
            os.close(fd)

    def __exit__(self, *_: object) -> None:
        if self._engine.dialect.name == "postgresql":
            self._connection.rollback()
        elif self._fd >= 0:
            self._file.unlink()
            os.close(self._fd)
