"""A real PgBouncer in transaction mode before a test's PostgreSQL: each transaction may get another session."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator

from tests.support.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.programs import find_program
from tests.support.waiting import wait_until


@contextlib.contextmanager
def pooled(server: PostgresServer, url: str, sessions: int = 3) -> Iterator[str]:
    """The URL of the database at `url`, through a pooler that has so many sessions there."""
    port, folder = free_port(), server.folder
    database = url.partition("@/")[2].partition("?")[0]
    users, settings = folder / f"users-{port}.txt", folder / f"pgbouncer-{port}.ini"
    users.write_text('"taximeter" ""\n')
    settings.write_text(
        f"[databases]\n{database} = host={folder}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = trust\nauth_file = {users}\npool_mode = transaction\n"
        f"default_pool_size = {sessions}\nserver_round_robin = 1\n"
    )
    for file in (users, settings):
        file.chmod(0o644)
    program = find_program("pgbouncer")
    assert program is not None
    process = subprocess.Popen([str(program), str(settings)], **server.as_account(), stderr=subprocess.DEVNULL)
    try:
        wait_until("PgBouncer answers", lambda: _answers(port))
        yield f"postgresql://taximeter@127.0.0.1:{port}/{database}"
    finally:
        process.kill()
        process.wait(10)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
