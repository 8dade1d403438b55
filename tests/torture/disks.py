"""A disk without room for the spool: nothing is sent that could not be recorded, nothing that runs is lost, and it goes on by itself."""

from __future__ import annotations

import contextlib
import json
import resource
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from tests.support.processes import get
from tests.support.waiting import wait_until

from .harness import _READY_S, CALLERS, Rig
from .scenarios import Outcome
from .traffic import Traffic


class Disk(Protocol):
    """Where the data directory is. `fill`: from now on not a byte more; `free`: there is room again."""

    def fill(self, rig: Rig) -> None: ...

    def free(self, rig: Rig) -> None: ...


class Small:
    """A file system of its own with ledger and spool on it (needs the right to mount one)."""

    def __init__(self, place: Path) -> None:
        self._ballast = place / "ballast"

    def fill(self, rig: Rig) -> None:
        with self._ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass

    def free(self, rig: Rig) -> None:
        self._ballast.unlink()


class Limited:
    """No file of the data plane's may grow: what the kernel says then (EFBIG, or a part of a write) is what a full disk says.
    most_bytes: a log that is a file needs some."""

    def __init__(self, most_bytes: int = 1) -> None:
        self.most_bytes = most_bytes

    def fill(self, rig: Rig) -> None:
        self._limit(rig, self.most_bytes)

    def free(self, rig: Rig) -> None:
        self._limit(rig, resource.RLIM_INFINITY)

    def _limit(self, rig: Rig, size: int) -> None:
        for pid in rig.gateway.members():
            if Path(f"/proc/{pid}/comm").read_text().startswith("taximeter-data"):
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


class Bounded:
    """The spool at `spool.max_mb`, because somebody holds the ledger."""

    def fill(self, rig: Rig) -> None:
        self._holder = sqlite3.connect(rig.gateway.ledger.removeprefix("sqlite:///"), isolation_level=None)
        self._holder.execute("BEGIN EXCLUSIVE")
        for seed in range(99, 109):
            rig.load(Traffic(calls=400, concurrency=32, seed=seed, stream=0.0))
            if _statuses(rig.logs[-1])[503]:
                return
        raise AssertionError("4,000 calls did not fill a spool of 1 MB")

    def free(self, rig: Rig) -> None:
        self._holder.execute("ROLLBACK")
        self._holder.close()
        wait_until("the spool is shipped", lambda: _size(rig.gateway.spool) < 500_000, _READY_S)


@contextlib.contextmanager
def mounted(place: Path, size_mb: int) -> Iterator[Path]:
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def small_disk(folder: Path, *, seed: int = 1, calls: int = 200) -> Outcome:
    """Ledger and spool on a file system of 16 MB that fills up."""
    with mounted(folder / "disk", 16) as place:
        changes = {"data_dir": str(place / "data"), "ledger": f"sqlite:///{place / 'ledger.db'}"}
        return full_disk(folder, Small(place), seed=seed, calls=calls, changes=changes)


def full_spool(folder: Path, *, seed: int = 1, calls: int = 100) -> Outcome:
    return full_disk(folder, Bounded(), seed=seed, calls=calls, changes={"spool": {"max_mb": 1}})


def full_disk(
    folder: Path, disk: Disk, *, seed: int = 1, calls: int = 100, changes: dict[str, Any] | None = None
) -> Outcome:
    """Calls before, during and after; streams that began before and end during. Each is judged by the provider's invoice."""
    quick = Traffic(calls=calls, concurrency=16, seed=seed, stream=0.5)
    slow = replace(
        quick,
        calls=16,
        seed=seed + 1,
        stream=1.0,
        out=(60, 80),
        tpc=(1, 1),
        chunk_delay=(0.03, 0.04),
        kinds={"chat": 1.0},
    )
    with Rig(folder, changes=changes or {}) as rig:
        rig.load(quick)
        rig.quiet()
        streams = rig.begin_load(slow)
        wait_until("the streams have begun", lambda: rig.provider.status()["open"] == slow.calls, _READY_S)
        disk.fill(rig)
        rig.load(replace(quick, seed=seed + 2))
        refused = rig.logs[-1]
        rig.end_load(streams)
        disk.free(rig)
        wait_until("calls are taken again", lambda: _takes_calls(rig), _READY_S)
        rig.load(replace(quick, seed=seed + 3))
        verdict = rig.verdict(clean=False)
        facts = {
            "streams": dict(_statuses(rig.logs[1])), "while full": dict(_statuses(refused)),
            "sent while full": len((_nonces(refused) & _nonces(rig.provider.invoice)) - {None}), "after": dict(_statuses(rig.logs[-1])),
        }  # fmt: skip
        return Outcome(verdict, False, facts)


def _statuses(log: Path) -> Counter[int]:
    return Counter(json.loads(line)["status"] for line in log.read_text().splitlines())


def _nonces(log: Path) -> set[str | None]:
    return {json.loads(line).get("nonce") for line in log.read_text().splitlines()}


def _size(spool: Path) -> int:
    taken = 0
    for segment in spool.glob("*.spool"):
        with contextlib.suppress(FileNotFoundError):  # it has been shipped meanwhile
            taken += segment.stat().st_size
    return taken


def _takes_calls(rig: Rig) -> bool:
    return get(f"{rig.gateway.url}/readyz", CALLERS[0].key)[0] == 200
