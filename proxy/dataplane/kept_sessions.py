"""The sessions of conversations in a file, so that a restart does not forget them: a line for each name, the latest last.

It is a help, not a ledger: where it cannot be written or read, conversations that were under way begin new sessions. So do
those that were answered in the last moment before a crash: lines are written some at a time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

log = logging.getLogger("taximeter.data")

_MOST_WAITING = 1000  # lines that are not written yet
_LINE = re.compile(r"([0-9a-f]{32}) ([\x21-\x7e]{1,200})\Z")


class KeptSessions:
    """One process's file. `load` comes first: it begins the file anew with what it keeps.

    soon: has `flush` called in a moment; without it, whoever made this calls it.
    """

    def __init__(self, path: Path, soon: Callable[[Callable[[], None]], object] = lambda _: None) -> None:
        self._path = path
        self._soon = soon
        self._file: int | None = None
        self._most = 0
        self._lines = 0
        self._waiting: list[str] = []
        self._waiting_lines = 0

    def load(self, most: int) -> list[tuple[str, str]]:
        """The latest `most` names with their sessions, oldest first."""
        self._most = most
        kept = self._read()
        self._rewrite(kept)
        return list(kept.items())

    def add(self, names: Sequence[str], session_id: str) -> None:
        if self._file is None:
            return
        if not self._waiting:
            self._soon(self.flush)
        self._waiting.append(f" {session_id}\n".join((*names, "")))
        self._waiting_lines += len(names)
        if self._waiting_lines >= _MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write what was added since."""
        lines, self._waiting = self._waiting, []
        count, self._waiting_lines = self._waiting_lines, 0
        if self._file is None or not lines:
            return
        try:
            _write_all(self._file, lines)
        except OSError as error:
            self._give_up(error)
            return
        self._lines += count
        if self._lines > 2 * self._most:
            self._rewrite(self._read())

    def _read(self) -> dict[str, str]:
        try:
            lines = self._path.read_text("ascii", "replace").splitlines()
        except FileNotFoundError:
            return {}
        except OSError as error:
            log.warning("%s cannot be read (%s): all guessed sessions start anew", self._path, error)
            return {}
        kept: dict[str, str] = {}
        for line in lines:  # a last one may be broken off
            if match := _LINE.match(line):
                kept.pop(match[1], None)
                kept[match[1]] = match[2]
        return dict(list(kept.items())[-self._most :])

    def _rewrite(self, kept: dict[str, str]) -> None:
        beside = self._path.with_suffix(".new")
        try:
            self._close()
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            _write_all(self._file, (f"{name} {session_id}\n" for name, session_id in kept.items()))
            beside.replace(self._path)
            self._lines = len(kept)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        log.warning("%s cannot be written (%s): a restart will forget guessed sessions", self._path, error)
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
        self._file = None


def _write_all(file: int, lines: Iterable[str]) -> None:
    data = memoryview("".join(lines).encode())
    while data:
        written = os.write(file, data)
        data = data[written:]
