"""What is done to the gateway, each as one function: do it on a rig, wait for quiet, give the auditor's verdict."""

from __future__ import annotations

import itertools
import random
import signal
import socket
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support.processes import Marked, RigError
from tests.support.waiting import wait_until

from . import evidence, points, tariff
from .faults import FAULTS
from .figures import Verdict
from .harness import _READY_S, BUDGETS, Rig
from .invoice import Line, read_invoice
from .reconcile import table
from .traffic import Traffic


@dataclass
class Outcome:
    """A verdict, whether it had to be that of a clean run, and what else was measured."""

    verdict: Verdict
    clean: bool
    facts: dict[str, Any] = field(default_factory=dict)
    ends: dict[str, list[str]] = field(default_factory=dict)  # calls whose client got no proper end

    @property
    def wrong(self) -> list[str]:
        return [*self.verdict.wrong(self.clean), *self.ends]

    def __str__(self) -> str:
        facts = "\n".join(f"  {name}: {value}" for name, value in self.facts.items())
        ends = "".join(f"\n  {name}: {len(found)}, {found[:20]}" for name, found in self.ends.items())
        return f"{facts}{ends}\n{table(self.verdict, self.clean)}"


def clean_mix(folder: Path, *, calls: int, seed: int = 1, rate: float = 0.0) -> Outcome:
    """Mixed traffic and nothing else: every number is zero, estimates too."""
    wanted = Traffic(calls=calls, concurrency=32, seed=seed, sessions=20, rate=rate)
    with Rig(folder) as rig:
        summary = rig.load(wanted)
        return Outcome(rig.verdict(clean=True), True, {"load": summary, "ready_s": round(rig.ready_s, 2)})


def racing_calls(
    folder: Path, *, limit_usd: str = "0.01", callers: int = 64, seed: int = 1, calls: int = 20_000
) -> Outcome:
    """A budget and many calls that race for it, each caller until it is refused: the invoice never passes the limit."""
    budgets = [*BUDGETS, {"name": "small", "limit_usd": limit_usd, "window": "total"}]
    wanted = Traffic(
        calls=calls, concurrency=callers, seed=seed, retry_busy=True, until_402=True, stream=0.5,
        models={"tm-odd": 1.0}, kinds={"chat": 1.0}, out=(1, 40), words=(4, 20), delay=(0, 0.05), cap_slack=(0, 20),
    )  # fmt: skip
    with Rig(folder, budgets=budgets) as rig:
        summary = rig.load(wanted)
        verdict = rig.verdict(clean=False)
        figures = verdict.budgets["small"]
        used = round(figures["most_nano"] / figures["limit_nano"], 4)
        verdict.numbers["failed"] = 0  # refusals are what was asked for
        return Outcome(verdict, True, {"load": summary, "used": used})


def racing_kills(folder: Path, *, times: int, limit_usd: str = "0.25", seed: int = 1, whom: str = "all") -> Outcome:
    """The same race, with `kill -9` in it: what a crash left unknown counts against the budget too, until it is used up."""
    rng = random.Random(seed)
    budgets = [*BUDGETS, {"name": "small", "limit_usd": limit_usd, "window": "total"}]
    wanted = Traffic(
        calls=80, concurrency=64, stream=0.5, models={"tm-odd": 1.0}, kinds={"chat": 1.0}, out=(1, 40), words=(4, 20),
        delay=(0, 0.5), cap_slack=(0, 5), timeout_s=20, retry_away=True,
    )  # fmt: skip
    with Rig(folder, budgets=budgets) as rig:
        hit = 0
        for number in range(times):
            before = rig.provider.status()["accepted"]
            load = rig.begin_load(replace(wanted, seed=seed * 10_000 + number))
            hit += _accepted_before_its_end(rig, load, before + rng.randint(1, 60))
            time.sleep(rng.uniform(0, 0.3))  # the moment is random, that is the point
            if whom == "all":
                rig.gateway.kill()
                rig.end_load(load)
                rig.gateway.up()
            else:
                rig.gateway.kill([plane_pid(rig, whom)])
                rig.end_load(load)
        last = rig.load(replace(wanted, seed=seed * 10_000 + times, calls=20_000, until_402=True, retry_busy=True))
        verdict = rig.verdict(clean=False)
        figures = verdict.budgets["small"]
        billed = round(figures["most_nano"] / figures["limit_nano"], 4)
        return Outcome(verdict, False, {"last": last, "billed": billed, "kills_among_calls": f"{hit} of {times}"})


def kills(folder: Path, *, times: int, streams: int = 100, seed: int = 1, whom: str = "all") -> Outcome:
    """`kill -9` in the middle of many calls, and start again: as many entries as unrefused intents, none twice.

    Every other time among streams that are all open, else among calls that come and go 500 a second; calls that a plane
    refuses while it comes back (503) are made again. `whom`: `all` processes at one moment, or only the one that holds
    the `data` or `control` plane's connections.
    """
    rng = random.Random(seed)
    pace = (0.01, 0.05) if whom == "all" else (0.005, 0.02)
    owed: set[str] = set()
    restarts: list[float] = []
    hit = 0
    with Rig(folder) as rig:
        for number in range(times):
            wanted = _open_streams(streams, pace) if number % 2 == 0 else _brisk_calls()
            enough = rng.randint(max(1, streams // 2), streams)
            before = rig.provider.status()["accepted"]
            load = rig.begin_load(replace(wanted, seed=seed * 10_000 + number))
            hit += _accepted_before_its_end(rig, load, before + enough)
            time.sleep(rng.uniform(0, 1.0))  # the moment is random, that is the point
            if whom == "all":
                rig.gateway.kill()
                rig.end_load(load)
                owed |= rig.gateway.owed()
                restarts.append(rig.gateway.up())
            else:
                rig.gateway.kill([plane_pid(rig, whom)])
                rig.end_load(load)
        rig.quiet()
        verdict = rig.verdict(clean=False, owed=owed if whom == "all" else None)
        facts: dict[str, Any] = {"kills_among_calls": f"{hit} of {times}", "owed": len(owed)}
        facts["slowest_restart_s"] = round(max(restarts, default=0), 2)
        return Outcome(verdict, False, facts)


def crash_points(
    folder: Path,
    *,
    each: int = 1,
    seed: int = 1,
    names: Collection[str] = points.POINTS,
    whoms: Collection[str] = ("all", "self"),
    in_turn: bool = False,
    calls: int = 250,
    changes: dict[str, Any] | None = None,
) -> Outcome:
    """`kill -9` at every named point, among streams and among whole answers: of every process, or of the one there.

    in_turn: each point with one of the four only, the next point with the next. calls: in the load around each kill.
    """
    rng = random.Random(seed)
    owed: set[str] = set()
    done: list[str] = []
    with Rig(folder, changes=changes or {}, module=points.PROGRAM) as rig:
        for point, whom, stream in _kills_at(names, whoms, each, in_turn=in_turn, first=seed):
            passes = rng.randint(0, 60) if point in points.DATA_POINTS else 0
            hit = points.arm(rig.gateway.crash, point, whom=whom, passes=passes)
            if point == "before-unlock":  # is passed when a run is over
                rig.gateway.kill([plane_pid(rig, "data")])
                wait_until(f"{point} was reached", hit.exists, _READY_S, 0.01)
            load = rig.begin_load(_short_calls(stream, calls, seed * 10_000 + len(done)))
            wait_until(f"{point} was reached", hit.exists, _READY_S, 0.01)
            if whom == "all":
                rig.gateway.kill()
                rig.end_load(load)
                owed |= rig.gateway.owed()
                rig.gateway.up()
            else:
                rig.end_load(load)
                wait_until("both planes are ready again", rig.gateway.ready, _READY_S)
            done.append(f"{point} {whom} {'stream' if stream else 'whole'}")
        return Outcome(rig.verdict(clean=False, owed=owed), False, {"kills": len(done), "owed": len(owed)})


def _kills_at(
    names: Collection[str], whoms: Collection[str], each: int, *, in_turn: bool, first: int
) -> Iterator[tuple[str, str, bool]]:
    """(point, whom, among streams) of every kill."""
    for number, point in enumerate(names, first):
        ways = [(w, s) for w in whoms for s in (True, False) if s or point not in points.STREAM_ONLY]
        chosen = [ways[number % len(ways)]] if in_turn else ways
        yield from ((point, whom, stream) for whom, stream in chosen * each)


def _short_calls(stream: bool, calls: int, seed: int) -> Traffic:
    return Traffic(
        calls=calls, concurrency=24, seed=seed, stream=float(stream), kinds={"chat": 1.0}, out=(4, 20), tpc=(1, 4),
        chunk_delay=(0, 0.01), timeout_s=10,
    )  # fmt: skip


def _open_streams(streams: int, pace: tuple[float, float]) -> Traffic:
    return Traffic(
        calls=streams, concurrency=streams, stream=0.9, tpc=(1, 4), kinds={"chat": 1.0}, out=(40, 160),
        chunk_delay=pace, delay=(0, 0.5), timeout_s=20, retry_away=True,
    )  # fmt: skip


def _brisk_calls() -> Traffic:
    return Traffic(calls=900, rate=500, out=(0, 20), timeout_s=10, retry_away=True)


def _accepted_before_its_end(rig: Rig, load: Marked, number: int) -> bool:
    """Wait until so many calls reached the provider; False if the load ended before: refused for want of money, or by a
    gateway that was long in coming back on a busy machine."""
    process = load.process
    assert process is not None

    def accepted() -> bool:
        reached: bool = rig.provider.status()["accepted"] >= number
        return reached

    wait_until(f"{number} calls reached the provider", lambda: accepted() or process.poll() is not None, _READY_S, 0.01)
    return accepted()


def plane_pid(rig: Rig, plane: str) -> int:
    """The process that serves a plane: it holds the accepted end of a connection to the plane's port."""
    url = rig.gateway.url if plane == "data" else rig.gateway.admin_url
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        sock.recv(1)
        return _holder(rig, port)


def _holder(rig: Rig, port: int) -> int:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    here = [row for row in rows if int(row[1].rpartition(":")[2], 16) == port]
    inodes = {f"socket:[{row[9]}]" for row in here if row[3] == "01"}  # established
    for pid in rig.gateway.members():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if str(link.readlink()) in inodes:
                    return pid
            except OSError:
                continue
    raise RigError(f"no process holds a connection to port {port}")


def leaving_callers(folder: Path, *, calls: int, seed: int = 1, bills_on: bool = True) -> Outcome:
    """Streams whose callers leave at a random byte. `bills_on`: the provider bills the whole answer all the same; else it
    is a vLLM, which stops, and which states the usage so far in every chunk."""
    changes: dict[str, Any] = {"upstream": {"bills_after_disconnect": bills_on}}
    options: tuple[str, ...] = ()
    if not bills_on:
        changes = {"upstream": {"provider": "vllm"}, "prices": tariff.price_rows("vllm")}
        options = ("--vllm",)
    wanted = Traffic(
        calls=calls, concurrency=64, seed=seed, stream=1.0, kinds={"chat": 1.0}, chunk_delay=(0, 0.01), out=(0, 120),
        mode="bill_anyway" if bills_on else "stop_on_disconnect", show=not bills_on, choices={1: 1.0},
        leave={"": 1.0, "fin": 3.0, "rst": 3.0, "half": 1.0, "stop": 1.0, "half_request": 1.0},
    )  # fmt: skip
    with Rig(folder, changes=changes, provider_options=options) as rig:
        summary = rig.load(wanted)
        return Outcome(rig.verdict(clean=False), False, {"load": summary})


# A message_delta before its message_start is no stream; a total above the sum is how Gemini's look-alikes tell of thoughts.
_SENSELESS = {("messages", "usage_early"), ("gemini", "usage_mismatch")}
DIALECTS = ("chat", "completions", "embeddings", "responses", "messages", "gemini")


def upstream_faults(
    folder: Path,
    *,
    each: int = 1,
    seed: int = 1,
    timeout_s: float = 3.0,
    slack_s: float = 1.0,
    names: Collection[str] = FAULTS,
    kinds: Collection[str] = DIALECTS,
) -> Outcome:
    """Every fault of the provider in every dialect, on streams and not: one entry each, an end for the client, no hang
    beyond the time-out, `slack_s`, and what the machine had those calls wait for which no provider did."""
    changes = {"upstream": {"first_byte_timeout_s": timeout_s, "idle_timeout_s": timeout_s}}
    soft = [budget | {"action": "warn"} for budget in BUDGETS]  # one fault that costs too much must not hide the others
    with Rig(folder, budgets=soft, changes=changes) as rig:
        number = 0
        for kind, stream in itertools.product(kinds, (0.0, 1.0)):
            letter = "s" if stream else "u"
            fitting = {n: FAULTS[n] for n in names if letter in FAULTS[n].applies and (kind, n) not in _SENSELESS}
            chosen = tuple(f"{n}@{f.sample}" if f.sample else n for n, f in fitting.items())
            if not chosen or (kind == "embeddings" and stream):
                continue
            number += 1
            rig.load(
                Traffic(
                    calls=each * len(chosen), concurrency=64, seed=seed * 100 + number, stream=stream,
                    faults_in_turn=chosen, kinds={kind: 1.0}, out=(8, 40), tpc=(1, 3), timeout_s=timeout_s + 10,
                    show=True, reason=0.3 if kind == "chat" else 0.0,  # what cannot be seen cannot be counted
                )
            )  # fmt: skip
        verdict = rig.verdict(clean=False)
        client = evidence.read_client(rig.logs)
        took_s = [(row["t1_ns"] - row["t0_ns"]) / 1e9 for row in client]
        busy_s = max(took for took in took_s if took < timeout_s)
        ends = bad_ends(client, read_invoice(rig.provider.invoice), timeout_s + slack_s + busy_s)
        facts = {"calls": len(client), "slowest_s": round(max(took_s), 2), "slowest_untimed_s": round(busy_s, 2)}
        return Outcome(verdict, False, facts, ends)


def bad_ends(client: list[dict[str, Any]], invoice: list[Line], within_s: float) -> dict[str, list[str]]:
    """Calls whose client did not leave and got no proper end, by what is wrong with it. A stream that the provider itself
    ended may end as it likes: its bytes pass."""
    lines = {line.nonce: line for line in invoice}
    wrong: dict[str, list[str]] = {"cut_off": [], "ill_ended": [], "late": []}
    for row in client:
        line = lines.get(row["nonce"])
        what = f"{row['nonce']} {row['path']} {row['end']} {row['status']} {row['ended']}"
        if row["end"] != "complete":
            wrong["cut_off"].append(what)
        elif row["ended"] in ("torn", "open") and (line is None or line.end != "complete"):
            wrong["ill_ended"].append(what)
        if row["t1_ns"] - row["t0_ns"] > within_s * 1e9:
            wrong["late"].append(what)
    return {name: found for name, found in wrong.items() if found}


def rolling_stops(folder: Path, *, times: int, seed: int = 1) -> Outcome:
    """SIGTERM in the middle of calls, and start again: what was begun is finished, nothing is lost or unconfirmed."""
    codes = []
    with Rig(folder, changes={"server": {"drain_timeout_s": 20}}) as rig:
        for number in range(times):
            before = rig.provider.status()["accepted"]
            load = rig.begin_load(
                Traffic(
                    calls=40, concurrency=40, seed=seed * 10_000 + number, kinds={"chat": 1.0}, out=(20, 60),
                    chunk_delay=(0.01, 0.03), delay=(0, 0.3), timeout_s=30,
                )
            )  # fmt: skip
            _accepted_before_its_end(rig, load, before + 40)
            codes.append(rig.gateway.stop(40))
            rig.end_load(load)
            rig.gateway.up()
        return Outcome(rig.verdict(clean=True), True, {"exit_codes": codes, "signal": signal.SIGTERM.name})
