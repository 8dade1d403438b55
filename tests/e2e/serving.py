"""Taximeter as a user starts it: a process in a folder of its own, known by what it prints."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import httpx

PORTS = (4100, 4101)
_TURN = Path(tempfile.gettempdir()) / "taximeter-default-ports.lock"


@dataclass(slots=True)
class Serving:
    """A running `taximeter serve`. `key` is None where the start did not show one (it does so only the first time)."""

    process: subprocess.Popen[str]
    folder: Path
    output: list[str] = field(default_factory=list)
    base_url: str = ""
    admin_url: str = ""
    key: str | None = None
    curl: list[str] = field(default_factory=list)
    turn: IO[bytes] | None = None
    _complete: threading.Event = field(default_factory=threading.Event)
    _reader: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()

    def _read_output(self) -> None:
        """Read what it prints until it ends, noting what a user would copy."""
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.output.append(line)
                if not self._complete.is_set() and self._understand("".join(self.output)):
                    self._complete.set()
        self._complete.set()

    def _understand(self, text: str) -> bool:
        exports = re.search(r"export OPENAI_BASE_URL=(\S+) OPENAI_API_KEY=(\S+)", text)
        admin = re.search(r"metrics: (http://\S+)", text)
        curl = re.search(r"^ *(curl (?:.*\\\n)*.*[^\\\n]\n)", text, re.MULTILINE)
        if not (exports and admin and curl):
            return False
        self.base_url, self.admin_url = exports[1], admin[1]
        self.key = exports[2] if not exports[2].startswith("<") else None
        self.curl = shlex.split(curl[1].replace("\\\n", " "))
        return True

    def wait_until_announced(self) -> None:
        assert self._complete.wait(60), "nothing was announced within a minute:\n" + "".join(self.output)
        assert self.base_url, "it ended, or announced something else:\n" + "".join(self.output)
        # The API is made when it is asked: no test's question waits for it.
        httpx.get(self.admin_url + "/page/none", timeout=60)

    def api(self, path: str, **params: str) -> Any:
        return httpx.get(self.admin_url + path, params=params).raise_for_status().json()

    def metrics(self) -> dict[str, dict[tuple[tuple[str, str], ...], Decimal]]:
        """name -> labels -> value, exactly as the exposition text has it."""
        found: dict[str, dict[tuple[tuple[str, str], ...], Decimal]] = {}
        text = httpx.get(self.admin_url + "/metrics").raise_for_status().text
        for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.MULTILINE):
            pairs = tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)))
            found.setdefault(name, {})[pairs] = Decimal(value)
        return found

    def command(self, *arguments: str) -> str:
        """What another `taximeter` command prints, run in the same folder."""
        done = subprocess.run(
            [sys.executable, "-m", "proxy", *arguments],
            cwd=self.folder, env=environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self) -> int:
        """Ask it to end, as Ctrl-C or a service manager would. Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        self._reader.join()
        if self.turn is not None:
            self.turn.close()
        return code


def environment() -> dict[str, str]:
    """A bare user's: no provider's key, nothing of ours."""
    kept = ("PATH", "HOME", "LANG")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "PYTHONPATH": str(Path(__file__).parents[2])
    }


def start(folder: Path, config: Path | None = None) -> Serving:
    """`taximeter serve` in `folder`; comes back when it has announced itself. config: a file that names ports but no upstream.

    Without one it takes the default ports, so two test runs on one machine take turns.
    """
    with contextlib.ExitStack() as on_failure:
        turn = None if config else on_failure.enter_context(_TURN.open("ab"))
        if turn is not None:
            fcntl.flock(turn, fcntl.LOCK_EX)
            for port in PORTS:
                with socket.socket() as probe:
                    assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} is taken: end what listens there"
        process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "serve", *(["--config", str(config)] if config else [])],
            cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        serving = Serving(process, folder, turn=turn)
        on_failure.callback(serving.stop)
        serving.wait_until_announced()
        on_failure.pop_all()  # all went well: `stop` ends it
    return serving


def as_json(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)
