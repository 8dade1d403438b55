"""Two Redis servers behind a Sentinel, of which the one that takes writes dies while the other lacks what it acknowledged."""

from __future__ import annotations

import random
import re
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.redis_run import PortServer, Sentinel
from tests.support.waiting import wait_until

_NOBODY = ("127.0.0.1", "1")


class Pair:
    """Use as a context. lacked: bytes of acknowledged writes that each promoted server had not."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        first = PortServer(folder / "first")
        self._servers = [first, PortServer(folder / "second", "--replicaof", f"127.0.0.1 {first.port}")]
        self._sentinel = Sentinel(folder / "sentinel", "m", first, dead_after_ms=1000)
        self._stack = ExitStack()
        self.lacked: list[int] = []

    def __enter__(self) -> Self:
        for server in (*self._servers, self._sentinel):
            self._stack.enter_context(server)
        self._pair()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self._sentinel.port}/m"

    def promote(self, rng: random.Random) -> None:
        """The replica hears nothing for some time; then the other server is killed, and the Sentinel promotes what there is."""
        master, replica = self._pair()
        replica.say("REPLICAOF", *_NOBODY)
        time.sleep(rng.uniform(0.5, 2.0))  # a Sentinel promotes nobody whose link was down for much longer
        self.lacked.append(_offset(master, "master_repl_offset") - _offset(replica, "slave_repl_offset"))
        master.down()
        wait_until("the replica is promoted", lambda: "role:master" in _replication(replica), 60)
        master.up()
        master.say("REPLICAOF", "127.0.0.1", str(replica.port))

    def _pair(self) -> tuple[PortServer, PortServer]:
        """Who takes writes, and who follows: Sentinels change their minds on a busy machine."""
        pairs = [self._servers, self._servers[::-1]]
        wait_until("one server follows the other", lambda: any(_follows(*pair) for pair in pairs), 60)
        master, replica = next(pair for pair in pairs if _follows(*pair))
        return master, replica


def _follows(master: PortServer, replica: PortServer) -> bool:
    return "role:master" in _replication(master) and "master_link_status:up" in _replication(replica)


def _replication(server: PortServer) -> str:
    return server.say("INFO", "replication")


def _offset(server: PortServer, name: str) -> int:
    found = re.search(rf"{name}:(\d+)", _replication(server))
    return int(found[1]) if found else 0
