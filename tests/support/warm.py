"""Processes of the product that are forked from one that has its imports done: those take nine tenths of a start's CPU.

Each worker of the tests has one such process, from its first gateway on. What is forked from it runs `python -m MODULE`, one
of MODULES, with its own arguments, environment, files and session, as if it were started anew; only what it imports was
imported by then. What looks at the imports themselves, or at what the interpreter reads as it starts (see `fits`), is
started for real; so is everything without pytest, and `make run`, the wheel and the command line in their own tests.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from tests.support.marks import MARK, WORKER, kill_marked
from tests.support.waiting import readable

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("proxy", "tests.torture.crashing")
_IMPORTED = (
    "proxy.cli.serve",
    "proxy.dataplane.process",
    "proxy.control.process",
    "proxy.control.api.app",
    "proxy.control.pages.site",
    "proxy.cli.main",
    "proxy.cli.verify",
)
_READ_AT_A_START = ("PYTHON", "LD_", "MALLOC", "TZ", "LC_", "LANG", "OPENSSL", "SSL_")
_MARK_BYTES = 100


def environment() -> dict[str, str]:
    """What every process of a test's starts with."""
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def fits(command: list[str], env: Mapping[str, str]) -> bool:
    """Whether this is the product in an environment that needs no interpreter of its own."""
    usual = environment()
    changed = {name for name in env.keys() | usual.keys() if env.get(name) != usual.get(name)}
    return (
        command[:2] == [sys.executable, "-m"]
        and command[2] in MODULES
        and not any(name.startswith(_READ_AT_A_START) for name in changed)
    )


class Forked:
    """What a test sees of a forked process: as much of `subprocess.Popen` as is asked for."""

    def __init__(self, pid: int, ended: int, stdout: IO[bytes] | None) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._ended: int | None = ended  # a pipe: the exit status comes through it
        self._reading = threading.Lock()

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def _look(self, timeout: float | None) -> int | None:
        with self._reading:
            if self._ended is not None and readable(self._ended, timeout):
                status = os.read(self._ended, 4)
                os.close(self._ended)
                self._ended = None
                self.returncode = (
                    os.waitstatus_to_exitcode(int.from_bytes(status, "little")) if status else -signal.SIGKILL
                )
            return self.returncode


class Warm:
    """The process with the imports, started by the first that is forked from it. It ends with the worker, and then ends all
    that a killed worker left."""

    def __init__(self) -> None:
        self.wanted = False  # until a worker of the tests says so
        self._asked: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._asking = threading.Lock()

    def fork(self, command: list[str], env: Mapping[str, str], *, stdout: int | None, log: int) -> Forked:
        """Run a command that `fits`. stdout: a descriptor, or subprocess.PIPE."""
        ended, says_end = os.pipe()
        reads, writes = os.pipe() if stdout == subprocess.PIPE else (None, None)
        out = log if stdout is None else stdout if writes is None else writes
        try:
            with self._asking:
                asked = self._running()
                what = json.dumps({"command": command[2:], "env": dict(env)}).encode()
                asked.sendall(len(what).to_bytes(4, "little"))
                socket.send_fds(asked, [what[:1]], [says_end, out, log])
                asked.sendall(what[1:])
                pid = int.from_bytes(_exactly(asked, 4), "little")
        finally:
            os.close(says_end)
            if writes is not None:
                os.close(writes)
        return Forked(pid, ended, None if reads is None else os.fdopen(reads, "rb"))

    def _running(self) -> socket.socket:
        if self._asked is None:
            self._asked, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__, str(theirs.fileno())],
                    cwd=ROOT,
                    env=environment() | {MARK: "x" * _MARK_BYTES},
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        return self._asked

    def close(self) -> None:
        if self._asked is not None and self._process is not None:
            self._asked.close()
            self._process.wait()
            self._asked = self._process = None


WARM = Warm()
"""This worker's."""


def _exactly(asked: socket.socket, number: int) -> bytes:
    taken = b""
    while len(taken) < number:
        more = asked.recv(number - len(taken))
        if not more:
            raise EOFError
        taken += more
    return taken


def _mark_at() -> int:
    """Where the mark of this process is in the memory that /proc shows as its environment."""
    environ = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    wanted = f"{MARK}=".encode()
    for number in range(10_000):
        address = environ[number]
        if address is None:
            break
        if ctypes.string_at(address).startswith(wanted):
            return int(address) + len(wanted)
    raise LookupError(MARK)


class _Parent:
    """The side of the process with the imports."""

    def __init__(self, asked: socket.socket) -> None:
        self._asked = asked
        self._mark_at = _mark_at()
        self._told: dict[int, int] = {}  # pid -> where its end is told
        for module in _IMPORTED:
            importlib.import_module(module)
        gc.collect()
        gc.freeze()
        signal.signal(signal.SIGCHLD, self._ended)

    def _ended(self, *_: object) -> None:
        while self._told:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            told = self._told.pop(pid)
            os.write(told, status.to_bytes(4, "little"))
            os.close(told)

    def serve(self) -> str:
        """In what was forked the module that it is to run; "" at the end of the worker."""
        while True:
            try:
                size = int.from_bytes(_exactly(self._asked, 4), "little")
            except EOFError:
                return ""
            first, (told, out, log), *_ = socket.recv_fds(self._asked, 1, 3)
            what = json.loads(first + _exactly(self._asked, size - 1))
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
            pid = os.fork()
            if not pid:
                module, *arguments = what["command"]
                self._become(arguments, what["env"], out, log)
                return str(module)
            self._told[pid] = told
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            os.close(out)
            os.close(log)
            self._asked.sendall(pid.to_bytes(4, "little"))

    def _become(self, arguments: list[str], env: dict[str, str], out: int, log: int) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        os.setsid()
        os.dup2(out, 1)
        os.dup2(log, 2)
        self._asked.detach()
        os.closerange(3, 4096)
        os.environ.clear()
        os.environ.update(env)
        mark = env.get(MARK, "").encode()[: _MARK_BYTES - 1] + b"\0"
        ctypes.memmove(self._mark_at, mark, len(mark))
        sys.argv = [sys.argv[0], *arguments]


if __name__ == "__main__":
    if module := _Parent(socket.socket(fileno=int(sys.argv[1]))).serve():
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    elif WORKER in os.environ:
        kill_marked(f"{WORKER}={os.environ[WORKER]}")
