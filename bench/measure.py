"""One peer, started afresh, through all measurements; the figures of one run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.agents import AGENTS
from bench.machine import Process, free_ports
from bench.peers import Headers, Peer, Started
from bench.rig import Rig, seconds_until_served
from bench.wire import race_nanousd

RACERS = 128
# Half of what all racers together would cost: a budget that is worth racing for.
RACE_BUDGET_NANOUSD = sum(map(race_nanousd, range(RACERS))) // 2
_TOP_CONNECTIONS = 32
_AT_REST_S = (
    3.0  # from the end of a load until memory is looked at: what a process gives back of it, it gives back by then
)

Figures = dict[str, float]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Lengths:
    """How long each measurement takes, in seconds, and how many chunks a stream has."""

    warm_s: float = 1
    unary_s: float = 4
    open_s: float = 2
    agents_s: float = 0.7  # each dialect
    chunks: int = 150


def run(peer: Peer, rig: Rig, lengths: Lengths, tell: Tell) -> Figures:
    """Start the peer, measure, stop it. Raises tools.MissingError or RuntimeError, with the reason, where it cannot be measured."""
    with tempfile.TemporaryDirectory(prefix=f"bench-{peer.name}-") as name:
        folder = Path(name)
        peer_port, admin_port = free_ports(2)
        ports = replace(rig.ports, peer=peer_port, admin=admin_port)
        started = peer.prepare(folder, ports, RACE_BUDGET_NANOUSD)
        if not started.command:
            return _direct(started, rig, lengths, tell)
        tell("starting")
        process = Process(started.command, core=rig.cores.peer, log=folder / "output.log", env=started.env, cwd=folder)
        try:
            figures: Figures = {
                "ready_s": seconds_until_served(process, started.unary_port, peer.ready_within_s, started.unary_headers)
            }
            figures["ready_cpu_s"] = process.cpu_s()
            process.settled_cpu_s()  # what a peer imports behind its first answer stays with it, too
            figures["pss_ready_mb"] = process.pss_mb()
            _measure(peer, process, started, rig, lengths, tell, figures)
            return figures
        finally:
            process.stop()


def _direct(started: Started, rig: Rig, lengths: Lengths, tell: Tell) -> Figures:
    """What load and provider alone can do: no peer's figure means anything near these."""
    tell("unary")
    unary = rig.closed(started.unary_port, _TOP_CONNECTIONS, lengths.unary_s)
    tell("open loop")
    latency = rig.opened(started.unary_port, 300, lengths.open_s)
    brisk = rig.opened(started.unary_port, 1000, lengths.open_s)
    tell("streams")
    streams = rig.streams(started.stream_port, 200)
    return {
        "unary_rps": unary["calls"] / unary["seconds"],
        "open_p50_ms": latency["p50_ms"],
        "open_p99_ms": latency["p99_ms"],
        "brisk_p50_ms": brisk["p50_ms"],
        "brisk_p99_ms": brisk["p99_ms"],
        "chunk_p50_ms": streams["p50_ms"],
        "chunk_p99_ms": streams["p99_ms"],
    }


def _measure(
    peer: Peer, process: Process, started: Started, rig: Rig, lengths: Lengths, tell: Tell, figures: Figures
) -> None:
    port, headers = started.unary_port, started.unary_headers
    tell("warming up")
    rig.closed(port, 8, lengths.warm_s, headers)

    tell("open loop")
    for name, rate in (("added", peer.rate), ("brisk", peer.brisk)):
        if rate:
            _added(name, rate, rig, port, headers, lengths.open_s, figures)
    figures["open_rate"] = peer.rate

    tell("unary")
    cpu = process.settled_cpu_s()
    recorder = process.cpu_s(peer.recorder)
    unary = rig.closed(port, _TOP_CONNECTIONS, lengths.unary_s, headers)
    cpu_at_end = process.cpu_s()
    tell("unary, what is left to do")
    cpu_settled = process.settled_cpu_s()
    if peer.recorder:
        figures["entry_cpu_us"] = (process.cpu_s(peer.recorder) - recorder) / unary["calls"] * 1e6
    _good("unary calls", unary["calls"], unary["bad"])
    figures["unary_rps"] = unary["calls"] / unary["seconds"]
    figures["unary_p99_ms"] = unary["p99_ms"]
    figures["unary_cpu_us"] = (cpu_settled - cpu) / unary["calls"] * 1e6
    figures["unary_cpu_after_us"] = (cpu_settled - cpu_at_end) / unary["calls"] * 1e6

    for dialect in peer.agents:
        tell(f"long requests, {dialect}")
        long = rig.agents(port, AGENTS[dialect], lengths.agents_s, headers)
        after = process.settled_cpu_s()
        _good("long requests", long["calls"], long["bad"])
        figures[f"agent_{dialect}_cpu_ms"] = (after - cpu_settled) / long["calls"] * 1e3
        cpu_settled = after

    if peer.streams:
        tell("streams")
        cpu = process.settled_cpu_s()
        streams = rig.streams(started.stream_port, peer.streams, started.stream_headers)
        cpu_settled = process.settled_cpu_s()
        _good("streams", streams["streams"], streams["streams"] - streams["good"])
        figures["streams"] = streams["streams"]
        figures["chunk_cpu_us"] = (cpu_settled - cpu) / streams["chunks"] * 1e6
        figures["chunk_p50_ms"] = streams["p50_ms"]
        figures["chunk_p99_ms"] = streams["p99_ms"]

    time.sleep(_AT_REST_S)
    figures["pss_mb"] = process.pss_mb()
    if peer.race_key is not None:
        tell("race for a budget")
        race = rig.race(port, RACERS, peer.race_key)
        share = race["charged_nanousd"] / RACE_BUDGET_NANOUSD
        figures["overshoot_share"] = max(share - 1, 0.0)
        figures["usable_share"] = min(share, 1.0)
        figures["race_served"] = race["served"]


def _added(name: str, rate: float, rig: Rig, port: int, headers: Headers, seconds: float, figures: Figures) -> None:
    """What the peer adds to a direct call's latency at this rate; direct calls are made before it and after it."""
    before = rig.opened(rig.ports.unary, rate, seconds / 2)
    through = rig.opened(port, rate, seconds, headers)
    after = rig.opened(rig.ports.unary, rate, seconds / 2)
    _good(f"calls at {rate:g} a second", through["calls"], through["bad"] + through["unanswered"])
    for quantile in ("p50_ms", "p99_ms"):
        figures[f"{name}_{quantile}"] = through[quantile] - min(before[quantile], after[quantile])


def _good(what: str, count: int, bad: int) -> None:
    if count <= 0 or bad > count * 0.001:
        raise RuntimeError(f"{bad} of {count} {what} failed")
