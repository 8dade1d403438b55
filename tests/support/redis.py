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

    def up(self) -> None:
        program = find_program("redis-server")
        assert program is not None
        self.socket.unlink(missing_ok=True)
        command = [str(program), "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._folder)]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([*command, *self._options], stdout=log, stderr=log)
        wait_until("redis-server answers", self._answers, 10, poll_s=0.005)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "redis.log").read_text()
        with contextlib.suppress(OSError):
            return self.say("PING").startswith("+PONG")
        return False

    def say(self, *words: str) -> str:
        """Send a command; the beginning of the raw answer."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(self.socket))
            sock.sendall(
                f"*{len(words)}\r\n".encode() + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in map(str.encode, words))
            )
            return sock.recv(65536).decode()

    def down(self) -> None:
        """`kill -9`: nothing is saved that was not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        self.say("FLUSHALL")
