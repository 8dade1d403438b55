"""The long form: `python -m tests.torture [SCENARIO …] [--kills N] [--calls N] [--seeds N]`; exit 1 if one is wrong.

Keeps the folder of a scenario that went wrong, with every log, the invoice and the ledger, and says where it is.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.processes import RigError
from tests.support.waiting import TooLateError

from . import disks, fuzz_sse, instances, jobs, ledger_failover, moved, networks, power_loss, scenarios, shared
from .figures import Verdict
from .hostile import hostile_tenants
from .scenarios import Outcome
from .soak import soak
from .stampede import stampede

Run = Callable[[Path, int, argparse.Namespace], Outcome]

RUNS: dict[str, Run] = {
    "clean": lambda folder, seed, a: scenarios.clean_mix(folder, calls=a.calls, seed=seed),
    "race": lambda folder, seed, a: scenarios.racing_calls(folder, seed=seed),
    "stampede": lambda folder, seed, a: stampede(folder, seed=seed),
    "stampede-sessions": lambda f, seed, a: stampede(f, seed=seed, limit_usd="0.02", sessions=5, calls=a.calls),
    "stampede-redis": lambda folder, seed, a: shared.shared_stampede(folder, seed=seed),
    "stampede-redis-sessions": lambda f, seed, a: shared.shared_stampede(
        f, seed=seed, limit_usd="0.02", sessions=5, calls=a.calls
    ),
    "stampede-redis-kill": lambda f, seed, a: shared.killed_stampede(f, times=min(a.kills, 8), seed=seed),
    "stampede-redis-kill-all": lambda f, seed, a: shared.killed_stampede(
        f, times=min(a.kills, 4), seed=seed, whom="all"
    ),
    "instances": lambda f, seed, a: instances.raced(f, calls=a.calls, seed=seed),
    "instances-steady": lambda f, seed, a: instances.raced(f, calls=a.calls, limit_usd="1000", around=2, seed=seed),
    "instances-killed": lambda f, seed, a: instances.raced(f, trouble="killed", times=3, calls=a.calls, seed=seed),
    "instances-restarted": lambda f, seed, a: instances.raced(
        f, trouble="restarted", times=3, calls=a.calls, seed=seed
    ),
    "instances-older": lambda f, seed, a: instances.raced(f, trouble="older", times=3, calls=a.calls, seed=seed),
    "instances-promoted": lambda f, seed, a: instances.raced(f, trouble="promoted", times=3, calls=a.calls, seed=seed),
    "race-kill": lambda folder, seed, a: scenarios.racing_kills(folder, times=min(a.kills, 8), seed=seed),
    "race-kill-data": lambda f, seed, a: scenarios.racing_kills(f, times=min(a.kills, 8), seed=seed, whom="data"),
    "kill": lambda folder, seed, a: scenarios.kills(folder, times=a.kills, seed=seed),
    "kill-data": lambda folder, seed, a: scenarios.kills(folder, times=a.kills, seed=seed, whom="data"),
    "kill-control": lambda folder, seed, a: scenarios.kills(folder, times=a.kills, seed=seed, whom="control"),
    "crash": lambda folder, seed, a: scenarios.crash_points(folder, each=max(1, a.kills // 20), seed=seed),
    "stop": lambda folder, seed, a: scenarios.rolling_stops(folder, times=max(1, a.kills // 2), seed=seed),
    "jobs": lambda folder, seed, a: jobs.killed_jobs(folder, number=a.calls, kills=a.kills, seed=seed),
    "leave": lambda folder, seed, a: scenarios.leaving_callers(folder, calls=a.calls, seed=seed),
    "leave-unbilled": lambda f, seed, a: scenarios.leaving_callers(f, calls=a.calls, seed=seed, bills_on=False),
    "workers": lambda folder, seed, a: shared.clean_workers(folder, calls=a.calls, seed=seed),
    "store-frozen": lambda folder, seed, a: shared.store_trouble(folder, trouble="frozen", seed=seed, rounds=3),
    "store-flushed": lambda folder, seed, a: shared.store_trouble(folder, trouble="flushed", seed=seed, rounds=3),
    "store-restarted": lambda f, seed, a: shared.store_trouble(f, trouble="restarted", seed=seed, rounds=3),
    "replica-kill": lambda f, seed, a: shared.replica_kills(f, times=min(a.kills, 4), seed=seed),
    "flush-in-commit": lambda folder, seed, a: moved.flushes(folder, times=a.times, seed=seed),
    "fail-over": lambda folder, seed, a: moved.fail_overs(folder, times=max(1, a.times // 5), seed=seed),
    "ledger-failover": lambda f, seed, a: ledger_failover.fail_overs(
        f, ledger_failover.ways_of(seed), times=max(1, a.times // 25), seed=seed
    ),
    "clock-back": lambda folder, seed, a: moved.clock_steps(folder, times=a.times, seed=seed),
    "clock-back-redis": lambda folder, seed, a: moved.clock_steps(folder, times=a.times, seed=seed, redis=True),
    "faults": lambda folder, seed, a: scenarios.upstream_faults(folder, each=a.each, seed=seed),
    "network": lambda folder, seed, a: networks.bad_upstream(folder, calls=a.calls // 20, seed=seed),
    "database-lossy": lambda folder, seed, a: networks.lossy_database(folder, calls=a.calls, seed=seed),
    "database-away": lambda folder, seed, a: networks.away_database(folder, seconds=30 * a.minutes, seed=seed),
    "store-lossy": lambda folder, seed, a: networks.lossy_store(folder, calls=a.calls, seed=seed),
    "hostile": lambda folder, seed, a: hostile_tenants(folder, calls=min(a.calls, 2000), seed=seed),
    "disk-full": lambda folder, seed, a: disks.small_disk(folder, seed=seed),
    "disk-limited": lambda folder, seed, a: disks.full_disk(folder, disks.Limited(), seed=seed),
    "spool-bound": lambda folder, seed, a: disks.full_spool(folder, seed=seed),
    "power": lambda folder, seed, a: power_losses(folder, cuts=1000, seed=seed),
    "streams": lambda folder, seed, a: fuzzed_streams(10_000_000 if a.long else 200_000, seed=seed),
    "soak": lambda folder, seed, a: soak(folder, minutes=a.minutes, seed=seed),
}


def power_losses(folder: Path, *, cuts: int, seed: int) -> Outcome:
    """Spools cut anywhere, in both modes; what was wrong stands among the ends."""
    facts, ends = {}, {}
    for mode in ("write", "fsync"):
        losses = power_loss.cut(folder / mode, cuts=cuts, seed=seed, mode=mode)
        facts[mode] = str(losses)
        if losses.missing or losses.double or losses.different or losses.promised_and_lost:
            ends[mode] = [str(losses)]
    return Outcome(Verdict(), False, facts, ends)


def fuzzed_streams(count: int, *, seed: int) -> Outcome:
    wrong = fuzz_sse.run(count, seed)
    ends = {} if wrong.none else {"read otherwise": [str(wrong)[:2000]]}
    return Outcome(Verdict(), False, {"streams": wrong.streams}, ends)


def main() -> None:
    parser = argparse.ArgumentParser(prog="torture", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("scenario", nargs="*", choices=[*RUNS, []], help=f"default: all ({', '.join(RUNS)})")
    parser.add_argument(
        "--kills", type=int, default=20, help="kills (and half as many stops) in each scenario that kills"
    )
    parser.add_argument("--calls", type=int, default=10_000, help="calls in each scenario that counts calls")
    parser.add_argument(
        "--times", type=int, default=100, help="flushes in mid-commit and steps of the clock; fail-overs: a fifth of it"
    )
    parser.add_argument("--each", type=int, default=3, help="rounds of every upstream fault")
    parser.add_argument("--minutes", type=float, default=20, help="of the soak; the database is away for half as many")
    parser.add_argument("--long", action="store_true", help="ten million mutated streams, and not two hundred thousand")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds; each scenario runs with every one")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    args = parser.parse_args()
    top = args.folder or Path(tempfile.mkdtemp(prefix="torture-"))
    wrong: list[str] = []
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    for name in args.scenario or RUNS:
        wrong += [f"{name} (seed {seed})" for seed in seeds if not _run(name, seed, args, top)]
    if wrong:
        print(f"\nWRONG: {', '.join(wrong)}; evidence in {top}")
        sys.exit(1)
    shutil.rmtree(top)
    print("\nall scenarios passed")


def _run(name: str, seed: int, args: argparse.Namespace, top: Path) -> bool:
    folder = top / f"{name}-{seed}"
    began = time.monotonic()
    print(f"== {name}, seed {seed}", flush=True)
    try:
        outcome = RUNS[name](folder, seed, args)
    except (RigError, TooLateError) as error:
        print(f"! {error}", flush=True)
        return False
    print(outcome)
    print(f"== {name}, seed {seed}: {time.monotonic() - began:.1f} s", flush=True)
    if outcome.wrong:
        return False
    shutil.rmtree(folder, ignore_errors=True)  # which some do without
    return True


if __name__ == "__main__":
    main()
