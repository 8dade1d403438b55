"""`make bench`: Taximeter beside a direct call, a bare Envoy and a LiteLLM proxy, each on one core.

Medians of several rounds on one machine; only the ratios mean something elsewhere. Never a gate.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import load, machine, peers

_PEERS = ("direct", "envoy", "taximeter", "litellm")
_EVENTS, _PER_SECOND, _STREAMS = 250, 50, 200


def say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def run_load(*arguments: object) -> dict[str, float]:
    command = ["taskset", "-c", str(machine.LOAD_CORE), sys.executable, "-m", "bench.load", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return dict(json.loads(done.stdout))


def unary_rps(port: int, seconds: int) -> float:
    """Requests a second at 32 connections: by wrk where it is installed, for our own generator is slower than Envoy."""
    if shutil.which("wrk") is None:
        return run_load("closed", port, 32, seconds)["rps"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            f'wrk.method="POST"\nwrk.headers["Content-Type"]="application/json"\n'
            f'wrk.headers["Authorization"]="Bearer {load.KEY}"\nwrk.body=[[{load.UNARY}]]\n'
        )
        script.flush()
        command = ["taskset", "-c", str(machine.LOAD_CORE), "wrk", "-t1", "-c32", f"-d{seconds}s", "-s", script.name]
        text = subprocess.run(
            [*command, f"http://127.0.0.1:{port}/v1/chat/completions"], capture_output=True, text=True, check=True
        )
    if "Non-2xx" in text.stdout:
        raise RuntimeError(f"port {port} refused calls: {text.stdout}")
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", text.stdout)[0])


def measure(name: str, rounds: int, seconds: int) -> dict[str, Any]:
    """One peer's figures, the median of `rounds`; started anew for each."""
    results: list[dict[str, float]] = []
    for number in range(rounds):
        say(f"{name}: round {number + 1} of {rounds}")
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            results.append(_round(name, Path(folder), seconds))
    return {key: statistics.median(result[key] for result in results) for key in results[0]}


def _round(name: str, folder: Path, seconds: int) -> dict[str, float]:
    if name == "direct":
        return _traffic(peers.UPSTREAM_PORT, None, seconds, name)
    peer = peers.make(name, folder)
    path, body = ("/readyz", None) if name == "taximeter" else ("/v1/chat/completions", load.UNARY.encode())
    with machine.running(peer.command, machine.PEER_CORE, peer.environ) as pid:
        ready = machine.await_answer(peers.PORT, path, 120, body, load.KEY)
        figures = _traffic(peers.PORT, pid, seconds, name)
        return figures | {"ready_s": ready, "pss_mb": machine.pss_mb(pid)}


def _traffic(port: int, pid: int | None, seconds: int, name: str) -> dict[str, float]:
    unary_rps(port, 1)
    figures = {"unary_rps": unary_rps(port, seconds)}
    paced = run_load("rate", port, 300 if name != "litellm" else 30, seconds)
    figures |= {"p50_ms": paced["p50_ms"], "p99_ms": paced["p99_ms"]}
    streams = _STREAMS if name != "litellm" else 20
    if pid is not None:
        time.sleep(0.5)  # let what the last load left behind (the ledger's batches) be done
        before = machine.cpu_s(pid)
        result = run_load("streams", port, streams)
        if result["ok"] != streams:
            raise RuntimeError(f"{name}: only {result['ok']} of {streams} streams were served")
        figures["us_per_event"] = (machine.cpu_s(pid) - before) / result["events"] * 1e6
        figures["event_p99_ms"] = result["p99_ms"]
    return figures


def race(calls: int) -> dict[str, float]:
    """A budget under racing calls: what its limit was, what was spent, how much of it could be used."""
    limit = 0.01
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        peer = peers.make("taximeter", Path(folder), limit_usd=f'"{limit}"')
        with machine.running(peer.command, machine.PEER_CORE, peer.environ):
            machine.await_answer(peers.PORT, "/readyz", 60)
            outcome = run_load("race", peers.PORT, calls)
    spent = outcome["served"] * (19 * 150 + 21 * 600) / 1e9
    return {"limit_usd": limit, "spent_usd": spent, "overshoot_usd": max(0.0, spent - limit), "used": spent / limit}


_ROWS = (
    ("unary_rps", "unary, requests/s at 32 connections", "{:,.0f}"),
    (
        "us_per_event",
        f"CPU per streamed event, us ({_STREAMS} streams x {_PER_SECOND}/s; litellm 20 streams)",
        "{:.1f}",
    ),
    ("p50_ms", "latency p50 at 300/s, ms (litellm 30/s)", "{:.2f}"),
    ("p99_ms", "latency p99 at 300/s, ms (litellm 30/s)", "{:.2f}"),
    ("event_p99_ms", "streamed event, delay p99, ms", "{:.2f}"),
    ("ready_s", "ready after, s", "{:.2f}"),
    ("pss_mb", "memory (PSS of all processes), MB", "{:.0f}"),
)


def show(figures: dict[str, dict[str, float]], budget: dict[str, float] | None) -> None:
    names = list(figures)
    print(f"{'':78}" + "".join(f"{name:>12}" for name in names))
    for key, title, form in _ROWS:
        print(
            f"{title:78}" + "".join(f"{form.format(figures[n][key]) if key in figures[n] else '-':>12}" for n in names)
        )
    if "taximeter" in figures:
        ours = figures["taximeter"]
        for other in ("envoy", "litellm"):
            if other in figures:
                rps = ours["unary_rps"] / figures[other]["unary_rps"]
                event = ours["us_per_event"] / figures[other]["us_per_event"]
                print(f"taximeter / {other}: unary {rps:.2f} x the requests/s, {event:.2f} x the CPU per event")
    if budget:
        print(
            f"budget of ${budget['limit_usd']} under 128 racing calls: spent ${budget['spent_usd']:.9f}, "
            f"overshoot ${budget['overshoot_usd']:.9f}, {budget['used']:.1%} of it used"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--peers", default=",".join(_PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--quick", action="store_true", help="one short round")
    options = parser.parse_args()
    rounds, seconds = (1, 3) if options.quick else (options.rounds, options.seconds)
    command = [sys.executable, "-m", "bench.upstream", str(peers.UPSTREAM_PORT), str(_EVENTS), str(_PER_SECOND)]
    figures: dict[str, dict[str, float]] = {}
    with machine.running(command, machine.LOAD_CORE):
        machine.await_answer(peers.UPSTREAM_PORT, "/", 10, b"{}")
        for name in options.peers.split(","):
            try:
                figures[name] = measure(name, rounds, seconds)
            except (peers.LeftOutError, RuntimeError, TimeoutError, subprocess.SubprocessError) as error:
                print(f"{name} is left out: {error}")
        budget = race(128) if "taximeter" in figures else None
    say("")
    print("litellm's budgets are left out of the race: they need PostgreSQL and Prisma's engine.")
    show(figures, budget)
    results = Path("bench-results")
    results.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    (results / f"{stamp}.json").write_text(json.dumps({"figures": figures, "budget": budget}, indent=1))


if __name__ == "__main__":
    main()
