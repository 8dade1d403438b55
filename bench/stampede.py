"""A stampede: `python -m bench.stampede [--calls 10000] [--processes 4] [--callers 32]`. Four processes race for a budget of $1.

Each call costs something else, all of them together more than the budget. What is spent is what the provider charges, not what
the peer says. LiteLLM meets it with the budget that it keeps without a database, as in the race of `python -m bench`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import tools
from bench.machine import Cores
from bench.peers import PEERS, ROOT
from bench.rig import Process, Rig, free_ports, rig, seconds_until_served

LIMIT_NANOUSD = 1_000_000_000


def stampede(name: str, the_rig: Rig, given: argparse.Namespace) -> dict[str, Any]:
    """One peer's stampede. Raises tools.MissingError or RuntimeError, with the reason, where it cannot be had."""
    peer = PEERS[name]
    assert peer.race_key is not None
    with tempfile.TemporaryDirectory(prefix=f"stampede-{name}-") as folder:
        peer_port, admin_port = free_ports(2)
        started = peer.prepare(Path(folder), replace(the_rig.ports, peer=peer_port, admin=admin_port), LIMIT_NANOUSD)
        process = Process(
            started.command, core=the_rig.cores.peer, log=Path(folder) / "output.log", env=started.env, cwd=Path(folder)
        )
        try:
            seconds_until_served(process, started.unary_port, peer.ready_within_s)
            the_rig.bill()
            each = given.calls // given.processes
            loads = [
                subprocess.Popen(
                    [sys.executable, "-m", "bench.load", "stampede", "--port", str(started.unary_port), "--key", peer.race_key,
                     "--count", str(each), "--first", str(number * each), "--callers", str(given.callers)],
                    stdout=subprocess.PIPE, cwd=ROOT, text=True,
                )
                for number in range(given.processes)
            ]  # fmt: skip
            told = [json.loads(load.communicate(timeout=1200)[0]) for load in loads]
            served, charged = the_rig.bill()
        finally:
            process.stop()
    statuses: dict[str, int] = {}
    for one in told:
        for status, count in one["statuses"].items():
            statuses[status] = statuses.get(status, 0) + count
    seconds = max(one["seconds"] for one in told)
    return {"charged_nanousd": charged, "served": served, "statuses": statuses, "seconds": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.stampede", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--callers", type=int, default=32, help="of each process")
    parser.add_argument("--peers", default="taximeter,litellm")
    given = parser.parse_args()
    print("| peer | charged of $1 | over | calls that reached the provider | answers by status | calls a second |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="stampede-") as folder, rig(Path(folder), Cores.choose(), 10) as the_rig:
        for name in given.peers.split(","):
            try:
                found = stampede(name, the_rig, given)
            except (tools.MissingError, RuntimeError) as error:
                print(f"| {name} | left out: {error} |||||")
                continue
            charged = found["charged_nanousd"]
            statuses = ", ".join(f"{count} x {status}" for status, count in found["statuses"].items())
            over = max(0, charged - LIMIT_NANOUSD) / LIMIT_NANOUSD
            print(
                f"| {name} | ${charged / 1e9:.6f} | {over:.1%} | {found['served']} | {statuses} "
                f"| {given.calls / found['seconds']:,.0f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
