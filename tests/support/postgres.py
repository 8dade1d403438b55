"""A real PostgreSQL for tests: on a unix socket in a folder of its own, ended with its context.

The server refuses to run as root, so there it runs as an account without rights, in a folder which that account can reach.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psycopg

from proxy.ledger.database import open_ledger
from tests.support.programs import find_program
from tests.support.waiting import wait_until

_FAST = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "60",
}
"""Tests kill clients and the server's processes, not the machine."""

_OTHERS_LEAVE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_WITHOUT_ROWS = """
    DO $$ DECLARE name text; has_rows boolean; filled text[]; BEGIN
        FOR name IN SELECT oid::regclass FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version' LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM %s)', name) INTO has_rows;
            IF has_rows THEN filled := filled || name; END IF;
        END LOOP;
        IF filled <> '{}' THEN
            EXECUTE format('TRUNCATE %s RESTART IDENTITY CASCADE', array_to_string(filled, ', '));
        END IF;
    END $$
"""
_SCHEMA = """
    SELECT version_num, array_agg(row(c.oid, relname, attname, atttypid, attnotnull) ORDER BY c.oid, attnum)::text
    FROM alembic_version, pg_class c JOIN pg_attribute ON attrelid = c.oid
    WHERE relnamespace = 'public'::regnamespace GROUP BY version_num
"""


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as: us, but where we are root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("PostgreSQL does not run as root, and there is no account for it")


def _name_of(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0] or url


class PostgresServer:
    """Use as a context. `stop` and `start` are a database that goes away for a while, `crash` one that is killed."""

    def __init__(self, **settings: str) -> None:
        self._settings = _FAST | settings
        self.port = settings.get("port", "5432")  # of the unix socket's name, too
        self._process: subprocess.Popen[bytes] | None = None
        self._account = _account()
        self._made = 0
        self._numbered = 0
        self._kept: set[str] = set()
        self._schema: object = None
        self.folder = Path()

    def __enter__(self) -> Self:
        # Not below pytest's: sockets' paths are short, accounts differ.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        made = ["--auth=trust", "--username=taximeter", "--encoding=UTF8", "--locale=C", "--no-sync"]
        with self._log() as log:
            program = [self._program("initdb"), *made, str(self.folder / "data")]
            subprocess.run(program, stdout=log, stderr=log, check=True, **self.as_account())
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.crash()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        place = ["-D", str(self.folder / "data"), "-k", str(self.folder)]
        with self._log() as log:
            program = [self._program("postgres"), *place, *settings]
            self._process = subprocess.Popen(program, stdout=log, stderr=log, **self.as_account())
        wait_until("PostgreSQL answers", self._answers, 30)

    def stop(self) -> None:
        """At once: connections are cut, what is committed stays."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """As after a power failure: what ran is gone, the next start recovers."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """As when its machine is gone: it and all its processes, at one moment."""
        if self._process is None:
            return
        self.freeze(self._process.pid)  # so that nobody is begun
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in map(int, children):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        self._end(signal.SIGKILL)
        wait_until("its processes are gone", lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 30)

    def freeze(self, pid: int) -> None:
        """One of its processes stands still."""
        os.kill(pid, signal.SIGSTOP)

    def follow(self, primary: PostgresServer) -> None:
        """Begin anew as a standby that streams what this one writes."""
        self.crash()
        shutil.rmtree(self.folder / "data")
        primary.base_backup(self.folder / "data", "--write-recovery-conf")
        self.start()

    def copy(self) -> None:
        """A standby's data folder as it is now, beside the server's own, which goes on."""
        shutil.rmtree(self.folder / "standby", ignore_errors=True)
        self.base_backup(self.folder / "standby")

    def base_backup(self, target: Path, *options: str) -> None:
        place = ["--host", str(self.folder), "--port", self.port, "--username", "taximeter", "--pgdata", str(target)]
        fast = ["--checkpoint=fast", "--wal-method=stream", "--no-sync"]
        with self._log() as log:
            program = [self._program("pg_basebackup"), *place, *fast, *options]
            subprocess.run(program, stdout=log, stderr=log, check=True, **self.as_account())

    def fail_over(self) -> None:
        """The server is killed, and what `copy` made takes its place: what was committed since is gone."""
        self.crash()
        shutil.rmtree(self.folder / "data")
        (self.folder / "standby").rename(self.folder / "data")
        self.start()

    def url(self, database: str = "postgres") -> str:
        port = "" if self.port == "5432" else f"&port={self.port}"
        return f"postgresql://taximeter@/{database}?host={self.folder}{port}"

    @contextlib.contextmanager
    def new_database(self, like: str = "template1") -> Iterator[str]:
        """The URL of an empty database, or of one as that at the URL `like`, which is gone when the context ends."""
        self._made += 1
        name = f"test_{self._made}"
        # Files are copied in a third of the CPU that pages through the log take.
        way = "STRATEGY FILE_COPY" if self._version() >= 150_000 else ""
        self.execute(f"CREATE DATABASE {name} TEMPLATE {_name_of(like)} {way}")
        yield self.url(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextlib.contextmanager
    def emptied_database(self) -> Iterator[str]:
        """The URL of a database that is empty again when the context ends. To make one costs twenty times as much, so all
        share it, one after the other."""
        try:
            yield self._kept_database("emptied")
        finally:
            self.execute(f"{_OTHERS_LEAVE}; DROP SCHEMA public CASCADE; CREATE SCHEMA public", "emptied")

    @contextlib.contextmanager
    def ledger(self) -> Iterator[str]:
        """The URL of a ledger in which is nothing, as `open_ledger` makes it. To make its tables costs five times as much as
        to empty them, so all share it, one after the other; who changes a table leaves the next a new one."""
        url = self._kept_database("ledger")
        if self._schema is None:
            open_ledger(url).dispose()
            with self._connect(10, "ledger") as connection:
                self._schema = connection.execute(_SCHEMA).fetchall()
        try:
            yield url
        finally:
            with self._connect(10, "ledger") as connection:
                connection.execute(_OTHERS_LEAVE)
                if connection.execute(_SCHEMA).fetchall() == self._schema:
                    connection.execute(_WITHOUT_ROWS)
                else:
                    self._schema = None
                    connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    def _kept_database(self, name: str) -> str:
        if name not in self._kept:
            self.execute(f"CREATE DATABASE {name}")
            self._kept.add(name)
        return self.url(name)

    def copy_database(self, url: str) -> None:
        """Remember the database as it is; nobody may be connected to it."""
        name = _name_of(url)
        self.execute(f"DROP DATABASE IF EXISTS {name}_older")
        self.execute(f"CREATE DATABASE {name}_older TEMPLATE {name}")

    def take_copy(self, url: str) -> None:
        """What was remembered takes the database's place: connections are cut, what was written since is gone."""
        name = _name_of(url)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")
        self.execute(f"ALTER DATABASE {name}_older RENAME TO {name}")

    def swap_copy(self, url: str) -> None:
        """As `take_copy`, but the database stays as what is remembered."""
        name = _name_of(url)
        for old, new in ((name, f"{name}_aside"), (f"{name}_older", name), (f"{name}_aside", f"{name}_older")):
            self.execute(f"ALTER DATABASE {old} RENAME TO {new}")

    def execute(self, statements: str, database: str = "postgres") -> None:
        with self._connect(10, database) as connection:
            connection.execute(statements)

    def ask(self, query: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with self._connect(10, database) as connection:
            return connection.execute(query).fetchall()

    def _version(self) -> int:
        if not self._numbered:
            with self._connect(10) as connection:
                self._numbered = connection.info.server_version
        return self._numbered

    def dump(self, database: str, *options: str) -> str:
        """What `pg_dump` writes."""
        place = ["-h", str(self.folder), "-p", self.port, "-U", "taximeter", database]
        program = [self._program("pg_dump"), *options, *place]
        return subprocess.run(program, check=True, capture_output=True, text=True).stdout

    @property
    def socket(self) -> Path:
        return self.folder / f".s.PGSQL.{self.port}"

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        with contextlib.suppress(psycopg.OperationalError), self._connect(2):
            return True
        return False

    def _connect(self, timeout_s: int, database: str = "postgres") -> psycopg.Connection[Any]:
        place = {"host": str(self.folder), "port": self.port, "user": "taximeter", "dbname": database}
        return psycopg.connect(**place, connect_timeout=timeout_s, autocommit=True)

    def _program(self, name: str) -> str:
        """`initdb` lies beside the server itself, which a link on the PATH may stand for."""
        server = find_program("postgres")
        assert server is not None
        return str(server.resolve().parent / name)

    def as_account(self) -> dict[str, Any]:
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "cwd": self.folder}
        if self._account is not None:
            options |= {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        return options

    def _log(self) -> IO[bytes]:
        return (self.folder / "log").open("ab")
