"""A chunk's CPU, of peers that all run at the same time on one core, so that what disturbs one disturbs all of them alike.

    python -m bench.beside [--against COMMIT] [--peers envoy,taximeter] [--streams 100] [--chunks 150] [--rounds 5]

Ratios within a round hold within 2 % on a busy machine, where peers in turns differ by a fifth; each alone takes less, for its
code stays in the processor's caches.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bench.__main__ import names_of
from bench.machine import Cores, Process, free_ports, make_urgent
from bench.measure import RACE_BUDGET_NANOUSD
from bench.peers import PEERS, Peer, Started, at_commit
from bench.rig import Rig, rig, seconds_until_served


def _start(peer: Peer, the_rig: Rig, folder: Path) -> tuple[Process, Started]:
    folder.mkdir()
    own, admin = free_ports(2)
    started = peer.prepare(folder, replace(the_rig.ports, peer=own, admin=admin), RACE_BUDGET_NANOUSD)
    return Process(started.command, core=the_rig.cores.peer, log=folder / "log", env=started.env, cwd=folder), started


def _round(running: Mapping[str, tuple[Process, Started]], the_rig: Rig, streams: int) -> dict[str, float]:
    """Microseconds of CPU a chunk, of each."""
    before = {name: process.settled_cpu_s() for name, (process, _) in running.items()}
    with ThreadPoolExecutor(len(running)) as pool:
        loads = {
            name: pool.submit(the_rig.streams, started.stream_port, streams, started.stream_headers)
            for name, (_, started) in running.items()
        }
        chunks = {name: load.result()["chunks"] for name, load in loads.items()}
    return {
        name: (process.settled_cpu_s() - before[name]) / chunks[name] * 1e6 for name, (process, _) in running.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.beside", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", type=names_of, default=["envoy", "taximeter"])
    parser.add_argument("--against", action="append", default=[], help="Taximeter at this commit, too")
    parser.add_argument("--streams", type=int, default=100, help="of each peer")
    parser.add_argument("--chunks", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with contextlib.suppress(PermissionError):
        make_urgent()
    peers = [PEERS[name] for name in given.peers] + [at_commit(commit) for commit in given.against]
    with tempfile.TemporaryDirectory(prefix="bench-") as name, rig(Path(name), Cores.choose(), given.chunks) as the_rig:
        running: dict[str, tuple[Process, Started]] = {}
        try:
            for peer in peers:
                process, started = running[peer.name] = _start(peer, the_rig, Path(name) / peer.name)
                seconds_until_served(process, started.unary_port, peer.ready_within_s, started.unary_headers)
                the_rig.closed(started.unary_port, 8, 1, started.unary_headers)
            rounds = [_round(running, the_rig, given.streams) for _ in range(given.rounds)]
        finally:
            for process, _ in running.values():
                process.stop()
    first = peers[0].name
    for peer in peers:
        ratios = sorted(one[peer.name] / one[first] for one in rounds)
        cpu_us = statistics.median(one[peer.name] for one in rounds)
        print(
            f"{peer.name}: {cpu_us:.1f} µs a chunk, {statistics.median(ratios):.3f} of {first} "
            f"({ratios[0]:.3f} to {ratios[-1]:.3f})"
        )


if __name__ == "__main__":
    main()
