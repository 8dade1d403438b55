"""`python -m bench.memory [--urgent] [--peer taximeter-redis]`: where Taximeter's memory is, by process and kind, behind each part of the bench's load.

Linux only. As root also what the tree would have alone on the machine: pages of libraries that other programs map as well
count for a part of them in a proportional set size.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench import tools
from bench.agents import AGENTS
from bench.machine import Cores, Process, free_ports, make_urgent
from bench.measure import RACE_BUDGET_NANOUSD
from bench.peers import PEERS
from bench.rig import rig, seconds_until_served

_AT_REST_S = 3.0
_PAGE = 4096
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+ *(.*)")
_SHOWN = ("arenas, blocks", "heap", "files", "files written to")


def kinds_of(pid: int) -> Counter[str]:
    """Proportional set size in bytes, by kind, and `own`: what is written to and this process's alone."""
    sizes: Counter[str] = Counter()
    kind = ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if mapping := _MAPPING.match(line):
            name = mapping[3]
            kind = "files" if name.startswith("/") else "heap" if name == "[heap]" else "arenas, blocks"
        elif line.startswith(("Pss:", "Private_Dirty:")):
            name, size = line.split(":")[0], int(line.split()[1]) * 1024
            if name == "Pss":
                sizes[kind] += size
                continue
            sizes["own"] += size
            if kind == "files":
                sizes["files written to"] += size
                sizes["files"] -= size
    return sizes


def frames_of(pid: int) -> Iterator[int]:
    """The machine's pages that this process has mapped. Root alone is told."""
    with Path(f"/proc/{pid}/pagemap").open("rb") as pages:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            mapping = _MAPPING.match(line)
            if mapping is None or mapping[3] in ("[vvar]", "[vdso]", "[vsyscall]"):
                continue
            first, last = int(mapping[1], 16), int(mapping[2], 16)
            pages.seek(first // _PAGE * 8)
            for (entry,) in struct.iter_unpack("Q", pages.read((last - first) // _PAGE * 8)):
                frame = entry & ((1 << 55) - 1)
                if entry >> 63 and frame:
                    yield frame


def show(process: Process, moment: str) -> None:
    """One row a process, and one of all."""
    rows, frames = {}, set[int]()
    for pid in process.pids():
        with contextlib.suppress(OSError):
            rows[Path(f"/proc/{pid}/comm").read_text().strip()] = kinds_of(pid)
            frames.update(frames_of(pid))
    whole = sum((Counter(row) for row in rows.values()), Counter[str]())
    alone = f"; alone on the machine {len(frames) * _PAGE / 1e6:.1f}" if frames else ""
    print(f"\n{moment}: {sum(whole[kind] for kind in _SHOWN) / 1e6:.1f} MB{alone}")
    for name, row in {**rows, "all": whole}.items():
        parts = ", ".join(f"{kind} {row[kind] / 1e6:.1f}" for kind in (*_SHOWN, "own"))
        print(f"  {name:16} {sum(row[kind] for kind in _SHOWN) / 1e6:5.1f}   {parts}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--urgent", action="store_true", help="run before other programs of a busy machine (root)")
    parser.add_argument("--peer", choices=PEERS, default="taximeter", help="whose (default: taximeter)")
    parser.add_argument("--python", metavar="PATH", help="the interpreter that it runs on")
    args = parser.parse_args()
    if args.python:
        tools.choose_python(args.python)
    if args.urgent:
        make_urgent()
    cores = Cores.choose()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        tempfile.TemporaryDirectory(prefix="bench-memory-") as own,
        rig(Path(name), cores, 150) as the_rig,
    ):
        peer, admin = free_ports(2)
        started = PEERS[args.peer].prepare(
            Path(own), replace(the_rig.ports, peer=peer, admin=admin), RACE_BUDGET_NANOUSD
        )
        process = Process(
            started.command, core=cores.peer, log=Path(own) / "output.log", env=started.env, cwd=Path(own)
        )
        try:
            seconds_until_served(process, started.unary_port, 60)
            process.settled_cpu_s()
            show(process, "ready")
            for moment, load in (
                ("unary calls", lambda: the_rig.closed(peer, 32, 4)),
                ("agents' requests", lambda: the_rig.agents(peer, AGENTS["openai"], 2)),
                ("200 streams", lambda: the_rig.streams(peer, 200)),
            ):
                load()
                process.settled_cpu_s()
                time.sleep(_AT_REST_S)
                show(process, f"after {moment}")
        finally:
            process.stop()


if __name__ == "__main__":
    main()
