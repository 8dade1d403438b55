"""Processes that tests start, and all that these start: found by a mark in their environment, and ended whole."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.marks import MARK, marked
from tests.support.waiting import wait_until
from tests.support.warm import ROOT, WARM, Forked, environment, fits

_GONE_S = 60  # of a machine that does much else


class RigError(Exception):
    """The rig itself could not do its work: something did not start, did not end, or did not become quiet."""


def get(url: str, key: str | None = None) -> tuple[int, str]:
    """Status and text; status 0 where nothing answers."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
    except OSError:
        return 0, ""


class Marked:
    """A process tree that can be found and killed whole, whatever its members did to their parents and groups."""

    def __init__(self, folder: Path, name: str) -> None:
        self.log = folder / f"{name}.log"
        self._mark = f"{name}-{secrets.token_hex(8)}"
        self.process: subprocess.Popen[bytes] | Forked | None = None

    def start(self, command: list[str], *, stdout: int | None = None, env: Mapping[str, str] | None = None) -> None:
        whole = environment() | {MARK: self._mark} | dict(env or {})
        with self.log.open("ab") as log:
            if WARM.wanted and fits(command, whole):
                self.process = WARM.fork(command, whole, stdout=stdout, log=log.fileno())
                return
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=whole,
                stdin=subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
                start_new_session=True,
            )

    def members(self) -> list[int]:
        return marked(f"{MARK}={self._mark}")

    def kill(self, pids: list[int] | None = None) -> None:
        """`kill -9`, all members at one moment: they are stopped first, so that none sees another die."""
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in self.members() if pids is None else pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        if pids is None:
            self._reap(_GONE_S)
            wait_until("the killed processes are gone", lambda: not self.members(), _GONE_S)

    def stop(self, timeout_s: float) -> int:
        """SIGTERM and the exit code. Raises `RigError` when the tree has not ended in time, after killing it."""
        process = self.process
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RigError(f"no end {timeout_s:g} s after SIGTERM: {self.tail()}") from None
        self._reap(0)
        return code

    def _reap(self, timeout_s: float) -> None:
        if self.process is not None:
            self.process.wait(timeout_s)
            if self.process.stdout:
                self.process.stdout.close()
            self.process = None

    def close(self) -> None:
        self.kill()

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])


def taximeter(*words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A command of the product's, run to its end: `python -m proxy`."""
    command = [sys.executable, "-m", "proxy", *words]
    whole = environment() | dict(env or {})
    if not (WARM.wanted and fits(command, whole)):
        return subprocess.run(command, cwd=ROOT, env=whole, capture_output=True, text=True, timeout=300, check=False)
    with tempfile.TemporaryFile() as stderr:
        ran = WARM.fork(command, whole, stdout=subprocess.PIPE, log=stderr.fileno())
        assert ran.stdout is not None
        with ran.stdout:
            stdout = ran.stdout.read().decode()
        code = ran.wait(300)
        stderr.seek(0)
        return subprocess.CompletedProcess(command, code, stdout, stderr.read().decode())


def port_told_by(process: Marked, command: list[str]) -> int:
    """Start a server that prints `{"port": …}` as its first line."""
    process.start(command, stdout=subprocess.PIPE)
    assert process.process is not None
    assert process.process.stdout is not None
    line = process.process.stdout.readline()
    if not line:
        raise RigError(f"{command[-1]} did not start: {process.tail()}")
    return int(json.loads(line)["port"])


@contextlib.contextmanager
def module_running(folder: Path, module: str, *options: str) -> Iterator[int]:
    """The port of a server of the tests' own in a process of its own (`python -m module`), until the end of the block."""
    process = Marked(folder, module.rpartition(".")[2])
    try:
        yield port_told_by(process, [sys.executable, "-m", module, *options])
    finally:
        process.close()
