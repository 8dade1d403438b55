"""A real redis-server for one test: on a unix socket in the test's folder, ended with it."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.programs import find_program
from tests.support.waiting import wait_until


class RedisServer:
    """Use as a context. `down`, `freeze` and `flush` are what happens to servers."""

    program = "redis-server"

    def __init__(self, folder: Path, *options: str) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._folder = folder
        self._options = options or ("--save", "", "--maxmemory-policy", "noeviction")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def command(self) -> list[str]:
        program = find_program(self.program)
        assert program is not None
        place = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._folder)]
        return [str(program), *place, *self._options]

    def up(self) -> None:
        self.socket.unlink(missing_ok=True)
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        wait_until(f"{self.program} answers", self._answers, 10, poll_s=0.005)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "redis.log").read_text()
        with contextlib.suppress(OSError):
            return self.say("PING").startswith(("+PONG", "-NOAUTH"))
        return False

    def say(self, *words: str, password: str = "") -> str:
        """Send a command; the beginning of the raw answer."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(self.socket))
            if password:
                sock.sendall(_packed("AUTH", password))
                assert sock.recv(65536) == b"+OK\r\n"
            sock.sendall(_packed(*words))
            return sock.recv(65536).decode()

    def down(self) -> None:
        """`kill -9`: nothing is saved that was not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def lose_copies(self) -> None:
        """What was saved; the server must be down."""
        (self._folder / "dump.rdb").unlink(missing_ok=True)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        self.say("FLUSHALL")


def _packed(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in map(str.encode, words))
