"""This machine: its cores, its processes, and what a tree of them costs. Linux only: it reads /proc."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STOP_S = 15.0
_COMPILED_ONCE = {"PYTHONDONTWRITEBYTECODE": ""}  # whatever this shell says: as where it is installed


@dataclass(frozen=True)
class Cores:
    """Where things run: each peer alone on one core, load and upstream on the other. The same core where there is but one."""

    peer: int
    load: int

    @classmethod
    def choose(cls) -> Cores:
        usable = sorted(os.sched_getaffinity(0))
        return cls(peer=usable[0], load=usable[1] if len(usable) > 1 else usable[0])


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Process:
    """A program and all that it starts, on one core, in a session of its own; its output goes to `log`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        core: int,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.log = log
        self.started_at = time.perf_counter()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [_taskset(), "-c", str(core), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={
                    **os.environ,
                    "PYTHONDONTWRITEBYTECODE": "",
                    **(env or {}),
                },  # as where it is installed: compiled once
                cwd=cwd,
                start_new_session=True,
            )
        if _urgent:
            raise_group(self._process.pid)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def tail(self) -> str:
        """The last lines of its log, to tell why it ended."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:])[-600:]

    def pids(self) -> list[int]:
        """The process and all its descendants that live."""
        found, todo = [], [self._process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    todo += map(int, children.read_text().split())
        return found

    def cpu_s(self, name: str = "") -> float:
        """CPU seconds of the whole tree so far, with those of children that have ended; or of its processes of a name alone."""
        ticks = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                if name and Path(f"/proc/{pid}/comm").read_text().strip() != name:
                    continue
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                ticks += sum(map(int, fields[11:15]))
        return ticks / _TICKS_PER_S

    def settled_cpu_s(self, limit_s: float = 20.0) -> float:
        """CPU seconds once the tree is at rest, so that work put off until after the load is counted too."""
        end = time.perf_counter() + limit_s
        before = self.cpu_s()
        while True:
            time.sleep(0.5)
            now = self.cpu_s()
            if now - before <= 0.03 or time.perf_counter() > end:
                return now
            before = now

    def pss_mb(self) -> float:
        """Proportional set size of the whole tree in MB (1e6 bytes): pages that it shares with itself count once."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
        return total / 1e6

    def stop(self) -> None:
        """End it and its children: asked first, then made to."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
                if not _group_lives(self._process.pid):
                    return


_urgent = False


def make_urgent() -> None:
    """Give the load, and each process that is started from now on, the kernel's attention before other programs.

    Each session is a scheduling group of its own, in which `nice` only counts inside. Raises PermissionError unless root.
    """
    global _urgent  # noqa: PLW0603 - a switch of the whole program, set once at its start
    raise_group(os.getpid())
    _urgent = True


def raise_group(pid: int) -> None:
    """This process's session before those of other programs. Raises OSError."""
    Path(f"/proc/{pid}/autogroup").write_text("-15")


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _taskset() -> str:
    found = shutil.which("taskset")
    if not found:
        raise SystemExit(
            "bench: taskset is missing (Debian: apt-get install util-linux); each peer must stay on one core"
        )
    return found


def describe() -> dict[str, str | int]:
    """What figures of this machine depend on."""
    model = "unknown"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "kernel": os.uname().release}
