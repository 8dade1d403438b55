"""`python -m bench [--peers envoy,taximeter,…] [--runs N] [--python PATH] [--quick]`: measure, print a table, write JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import measure, report, tools
from bench.machine import Cores, describe, make_urgent
from bench.peers import PEERS, ROOT, Peer, at_commit
from bench.rig import Rig, rig

_QUICK = measure.Lengths(unary_s=3, chunks=100)
_MOST_OTHERS = 3  # runs of a peer that no target is about


def progress(text: str) -> None:
    """Say what goes on, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def measure_all(
    peers: Mapping[str, Peer], runs: int, lengths: measure.Lengths, the_rig: Rig
) -> tuple[dict[str, list[measure.Figures]], dict[str, str]]:
    """The figures of each peer's runs, peers in turn so that a disturbance meets all; and who was left out, with why."""
    figures: dict[str, list[measure.Figures]] = {name: [] for name in peers}
    left_out: dict[str, str] = {}
    for number in range(runs):
        for name, peer in peers.items():
            if name in left_out or (number >= _MOST_OTHERS and not peer.essential):
                continue

            def tell(step: str, prefix: str = f"run {number + 1}/{runs}, {name}") -> None:
                progress(f"{prefix}: {step}")

            try:
                figures[name].append(measure.run(peer, the_rig, lengths, tell))
            except (tools.MissingError, RuntimeError) as error:
                left_out[name] = str(error)
    return {name: found for name, found in figures.items() if found}, left_out


def names_of(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such peer: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return names


def warn(the_rig: Rig) -> list[str]:
    """What makes these figures worth less than they look."""
    notes = []
    if the_rig.cores.peer == the_rig.cores.load:
        notes.append(
            "only one core: load, provider and peer share it, so that rates are far too low; CPU per call still holds"
        )
    if the_rig.wrk is None:
        notes.append("wrk is missing: the load is a Python program, which itself is the limit of a fast peer")
    if the_rig.upstream != "nginx":
        notes.append("nginx is missing: the provider is a Python program, which itself may be the limit of a fast peer")
    return notes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--peers", type=names_of, default=list(PEERS), help="comma-separated; default: all")
    parser.add_argument(
        "--runs", type=int, default=0,
        help=f"runs of each peer, of which the median counts (default 5, at most {_MOST_OTHERS} of peers that no target is about; quick: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--against", metavar="COMMIT", action="append", default=[], help="Taximeter at that commit, too"
    )
    parser.add_argument(
        "--python", metavar="PATH", help="the interpreter that the peers written in Python run on, Taximeter too"
    )
    parser.add_argument("--quick", action="store_true", help="short and once: to try, not to quote")
    parser.add_argument("--urgent", action="store_true", help="run before other programs of a busy machine (root)")
    given = parser.parse_args()
    if given.python:
        tools.choose_python(given.python)
    try:
        python = tools.python_version()
    except tools.MissingError as error:
        parser.error(str(error))
    if given.urgent:
        try:
            make_urgent()
        except OSError as error:
            parser.error(f"--urgent cannot be had here: {error}")
    lengths = _QUICK if given.quick else measure.Lengths()
    runs = given.runs or (1 if given.quick else 5)
    peers = {name: PEERS[name] for name in given.peers} | {peer.name: peer for peer in map(at_commit, given.against)}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    clock, began = time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    cores = Cores.choose()
    progress("setting up")
    with tempfile.TemporaryDirectory(prefix="bench-") as name, rig(Path(name), cores, lengths.chunks) as the_rig:
        load_before = os.getloadavg()[0]
        notes = warn(the_rig)
        found, left_out = measure_all(peers, runs, lengths, the_rig)
        set_up = {"load": "wrk" if the_rig.wrk else "bench.load (Python)", "upstream": the_rig.upstream}
    progress("")
    middle = report.medians(found)
    result: dict[str, Any] = {
        "at": began, "machine": describe(), "python": python, "cores": asdict(cores), "load_average_before": load_before, "runs": runs,
        "lengths": asdict(lengths), "set_up": set_up, "notes": notes, "left_out": left_out,
        "versions": {name: peers[name].version() for name in found},
        "has_on": {name: peers[name].has_on for name in found},
        "took_s": round(time.monotonic() - clock), "medians": middle, "ratios": report.ratios(found), "all": found,
    }  # fmt: skip
    file = write(result)
    print(
        f"medians of {runs} run(s), at most {_MOST_OTHERS} of peers that no target is about; each peer on one core, {set_up['load']} and {set_up['upstream']} on the other"
    )
    if load_before > 0.5:
        notes.append(
            f"other programs were busy (load average {load_before:.1f} before the first run): figures are noisy"
        )
    print(f"peers written in Python run on {python}")
    print(report.table(found))
    for peer in middle:
        print(f"{peer} has on: {peers[peer].has_on}")
    for note in notes:
        print(f"note: {note}")
    for peer, reason in left_out.items():
        print(f"left out: {peer}: {reason}")
    print(f"all of it took {result['took_s'] / 60:.1f} minutes")
    print(f"written to {file.relative_to(ROOT)}")
    return 0 if found else 1


def write(result: dict[str, Any]) -> Path:
    folder = ROOT / "bench-results"
    folder.mkdir(exist_ok=True)
    file = folder / f"{result['at'].replace(':', '')}.json"
    file.write_text(json.dumps(result, indent=1) + "\n")
    return file


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
