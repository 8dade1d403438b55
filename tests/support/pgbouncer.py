"""A real PgBouncer in transaction mode before a test's PostgreSQL: each transaction may get another session."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.programs import find_program
from tests.support.waiting import wait_until


class Pooler:
    """Use as a context. `url` is the database's through a pooler that has so many sessions at the server it stands before."""

    def __init__(self, server: PostgresServer, database: str, sessions: int = 3) -> None:
        self.port = free_port()
        self.url = f"postgresql://taximeter@127.0.0.1:{self.port}/{database}"
        self._database, self._sessions = database, sessions
        self._server, self._folder = server, server.folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        users = self._folder / f"users-{self.port}.txt"
        users.write_text('"taximeter" ""\n')
        users.chmod(0o644)
        self._write(users)
        program = find_program("pgbouncer")
        assert program is not None
        command = [str(program), str(self._settings)]
        self._process = subprocess.Popen(command, **self._server.as_account(), stderr=subprocess.DEVNULL)
        wait_until("PgBouncer answers", lambda: _answers(self.port))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def stand_before(self, server: PostgresServer) -> None:
        """Another server is the database's from now on: as somebody says it to a pooler after a fail-over."""
        assert self._process is not None
        self._server = server
        self._write(self._folder / f"users-{self.port}.txt")
        self._process.send_signal(signal.SIGHUP)

    @property
    def _settings(self) -> Path:
        return self._folder / f"pgbouncer-{self.port}.ini"

    def _write(self, users: Path) -> None:
        self._settings.write_text(
            f"[databases]\n{self._database} = host={self._server.folder} port={self._server.port}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\n"
            f"unix_socket_dir =\nauth_type = trust\nauth_file = {users}\npool_mode = transaction\n"
            f"default_pool_size = {self._sessions}\nserver_round_robin = 1\nserver_login_retry = 1\n"
        )
        self._settings.chmod(0o644)


@contextlib.contextmanager
def pooled(server: PostgresServer, url: str, sessions: int = 3) -> Iterator[str]:
    """The URL of the database at `url`, through a pooler that has so many sessions there."""
    with Pooler(server, url.partition("@/")[2].partition("?")[0], sessions) as pooler:
        yield pooler.url


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
