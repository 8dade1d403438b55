"""Two PostgreSQL servers on ports of their own, of which one streams what the other writes, and takes over when that dies."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from tests.support.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until

_COMMITTED_ONCE_THERE = "ALTER SYSTEM SET synchronous_standby_names = '*'"
_COMMITTED_AT_ONCE = "ALTER SYSTEM RESET synchronous_standby_names"


class PostgresPair:
    """Use as a context. synchronous: a commit is answered once the standby has it, where there is one."""

    def __init__(self, *, synchronous: bool) -> None:
        self._synchronous = synchronous
        self._stack = ExitStack()
        self.servers = [
            PostgresServer(
                port=str(free_port()), listen_addresses="127.0.0.1", synchronous_commit="on", shared_buffers="16MB",
                max_connections="40",
            )
            for _ in range(2)
        ]  # fmt: skip
        self.primary, self.other = self.servers

    def __enter__(self) -> Self:
        for server in self.servers:
            self._stack.enter_context(server)
        self.join()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def url(self, database: str) -> str:
        """As libpq has it: whichever of the two takes writes."""
        places = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"postgresql://taximeter@{places}/{database}?target_session_attrs=read-write"

    def join(self) -> None:
        """The other server, whatever it was, becomes the primary's standby."""
        self.other.follow(self.primary)
        wait_until("the standby streams", self._senders, 30)
        if self._synchronous:
            self._say(self.primary, _COMMITTED_ONCE_THERE)

    def hold_back(self) -> None:
        """From now on the standby gets nothing: its primary's sender stands still."""
        for (sender,) in self._senders():
            self.primary.freeze(sender)

    def fail_over(self) -> None:
        """`kill -9` for the primary and all its processes; the standby, with what it has, takes its place."""
        self.primary.kill()
        self.primary, self.other = self.other, self.primary
        self.primary.execute("SELECT pg_promote(true, 30)")
        self._say(self.primary, _COMMITTED_AT_ONCE)

    def _senders(self) -> list[tuple[int]]:
        return self.primary.ask("SELECT pid FROM pg_stat_replication WHERE state = 'streaming'")

    def _say(self, server: PostgresServer, setting: str) -> None:
        server.execute(setting)
        server.execute("SELECT pg_reload_conf()")
