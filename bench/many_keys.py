"""What many customers' keys cost: `python -m bench.many_keys [--keys 10000] [--postgres] [--redis]`.

A ledger with so many live keys, half as many revoked ones and a tenth as many raises; each key with a budget a month of its own
and one budget of each customer. Then Taximeter at rest and under a load that goes through all keys in turn: CPU by process, the
longest that each had the core without giving it up, memory, and how long a change of a key takes. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.load import Connection
from bench.machine import Cores, Process, free_ports
from bench.peers import ROOT
from bench.rig import Rig, rig, seconds_until_served
from bench.wire import KEY, MODEL, UNARY_BODY, request
from proxy.ids import Ids
from proxy.ledger import schema
from proxy.ledger.database import open_ledger, writing
from proxy.ledger.planes import keys as ledger_keys
from proxy.times import now_us
from tests.support.postgres import PostgresServer

_SECRET = "sk-tx-many-{:06d}"
_RATE, _LOAD_S, _REST_S = 500, 20.0, 15.0
_TRIES = 7
_PARTS = ("rest", "load", "changes", "pages", "reload", "restart")
_FILED = "sk-filed-key-{:06d}-abcdefghijklmnop"


def fill(url: str, live: int) -> None:
    """Keys, revoked ones, raises."""
    engine, ids, now = open_ledger(url), Ids(), now_us()

    def row(number: int, revoked: bool) -> dict[str, Any]:
        name = f"customer-{number:06d}"
        limits = {
            "key": name,
            "nanousd": 50 * 10**9,
            "window": "month",
            "requests_a_minute": 100_000,
            "tokens_a_minute": None,
            "live": True,
        }
        return {
            "id": ids.new(now), "key_id": hashlib.sha256(_SECRET.format(number).encode()).hexdigest(), "name": name,
            "team": f"team-{number % 50}", "user": None, "customer": f"c{number:06d}", "labels": json.dumps({"plan": "pro"}),
            "models": None, "expires_at": None, "created_at": now, "revoked_at": now if revoked else None,
            "limits": json.dumps(limits),
        }  # fmt: skip

    rows = [row(number, number >= live) for number in range(live + live // 2)]
    raised = [
        {"id": ids.new(now), "budget": "key:month", "group": f"customer-{number:06d}", "by_amount": 10**9, "until_at": None,
         "created_at": now, "reason": None}
        for number in range(live // 10)
    ]  # fmt: skip
    with writing(engine).begin() as connection:
        connection.execute(sa.insert(schema.keys), rows)
        if raised:
            connection.execute(sa.insert(schema.raises), raised)
    engine.dispose()


def config(folder: Path, ports: Any, data: int, admin: int, ledger: str, store: str, in_file: int = 0) -> Path:
    lines = [
        f"server: {{port: {data}, admin_port: {admin}}}", f"data_dir: {folder}/data", f"ledger: '{ledger}'",
        f"store: '{store}'",
        f"upstreams: {{up: {{provider: openai, base_url: 'http://127.0.0.1:{ports.unary}/v1', api_key: sk-up}}}}",
        f"models: {{{MODEL}: {{upstream: up}}}}",
        "budgets:", "  - {name: all, limit_usd: 1000000, window: month}",
        "  - {name: of-customer, per: [customer], limit_usd: 100, window: month}",
        "keys:", f"  - {{name: bench, key: {KEY}}}",
    ]  # fmt: skip
    lines += [
        f"  - {{name: filed-{n}, key: {_FILED.format(n)}, team: t{n % 50}, customer: f{n}}}" for n in range(in_file)
    ]
    file = folder / "taximeter.yaml"
    file.write_text("\n".join(lines) + "\n")
    return file


# What the kernel says of processes


def named(process: Process) -> dict[str, int]:
    found = {}
    for pid in process.pids():
        with contextlib.suppress(OSError):
            found[Path(f"/proc/{pid}/comm").read_text().strip()] = pid
    return found


def cpu_ns(pid: int) -> int:
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def pss_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1]) * 1024 / 1e6


class Stretches(threading.Thread):
    """The CPU that a thread of a process had between two of its own waits: looked at each two milliseconds."""

    def __init__(self, pids: dict[str, int]) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.pids = pids
        self.longest: dict[str, list[float]] = {name: [] for name in pids}

    def run(self) -> None:
        known: dict[str, tuple[int, int, int]] = {}
        while not self.ended.wait(0.002):
            for name, pid in self.pids.items():
                for task in Path(f"/proc/{pid}/task").glob("*"):
                    with contextlib.suppress(OSError, StopIteration, IndexError):
                        ran = int((task / "schedstat").read_text().split()[0])
                        status = (task / "status").read_text().splitlines()
                        waits = int(next(line for line in status if line.startswith("voluntary")).split()[1])
                        before = known.get(str(task))
                        since = before[2] if before and before[0] == waits else (before[1] if before else ran)
                        if before and before[0] != waits:
                            self.longest[name].append((before[1] - before[2]) / 1e6)
                        known[str(task)] = (waits, ran, since)


def measured(process: Process, seconds: float, load: Callable[[], Any] | None = None, stretches: bool = True) -> None:
    pids = named(process)
    watch = Stretches({name: pid for name, pid in pids.items() if "contr" in name or "data" in name})
    if stretches:
        watch.start()
    before = {name: cpu_ns(pid) for name, pid in pids.items()}
    began = time.perf_counter()
    said = load() if load is not None else time.sleep(seconds)
    took = time.perf_counter() - began
    for name, pid in pids.items():
        used = (cpu_ns(pid) - before[name]) / 1e6 / took
        print(f"    {name:16} {used:8.2f} ms/s  {pss_mb(pid):6.1f} MB", end="")
        longest = sorted(watch.longest.get(name, []))[-5:]
        print("   longest stretches, ms: " + ", ".join(f"{one:.1f}" for one in longest) if longest else "")
    watch.ended.set()
    if said:
        print(f"    load: {said}")


async def _opened(port: int, secrets: list[str], rate: float, seconds: float) -> dict[str, Any]:
    loop, idle, latencies, statuses = asyncio.get_running_loop(), [], [], {}
    pending = 0
    finished = asyncio.Event()

    def on_end(connection: Connection, status: int) -> None:
        nonlocal pending
        pending -= 1
        statuses[status] = statuses.get(status, 0) + 1
        latencies.append(time.perf_counter() - connection.sent_at)
        if status:
            idle.append(connection)
        if done and not pending:
            finished.set()

    async def connect() -> Connection:
        _, made = await loop.create_connection(lambda: Connection(on_end), "127.0.0.1", port)
        return made

    done, began, number = False, time.perf_counter(), 0
    while (now := time.perf_counter()) < began + seconds:
        while number < (now - began) * rate:
            data = request(UNARY_BODY, secrets[number % len(secrets)])
            connection = idle.pop() if idle else await connect()
            pending += 1
            connection.send(data, began + number / rate)
            number += 1
        await asyncio.sleep(0.001)
    done = True
    if pending:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(finished.wait(), 30)
    latencies.sort()
    at = lambda share: round(latencies[int(len(latencies) * share)] * 1e3, 2)  # noqa: E731
    return {
        "statuses": statuses,
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "p999_ms": at(0.999),
        "max_ms": round(latencies[-1] * 1e3, 1),
    }


# Changes


def status(port: int, secret: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request(
            "POST",
            "/v1/chat/completions",
            UNARY_BODY,
            {"authorization": f"Bearer {secret}", "content-type": "application/json"},
        )
        return connection.getresponse().status


def until(port: int, secret: str, wanted: int) -> float:
    began = time.perf_counter()
    while status(port, secret) != wanted:
        if time.perf_counter() - began > 60:
            raise RuntimeError("it never happened")
        time.sleep(0.005)
    return time.perf_counter() - began


def said(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def fetched(port: int, path: str) -> str:
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    return f"{response.status} {(time.perf_counter() - began) * 1e3:.0f} ms {len(body) / 1e3:.0f} KB"


def spread(values: list[float]) -> str:
    return f"median {statistics.median(values) * 1e3:.0f} ms, longest {max(values) * 1e3:.0f} ms"


def changes(engine: sa.Engine, data: int, admin: int) -> None:
    made, revoked, by_api = [], [], []
    for number in range(_TRIES):
        _, secret = ledger_keys.create_key(engine, f"new-{number}-{now_us()}")
        began = time.perf_counter()
        until(data, secret, 200)
        made.append(time.perf_counter() - began)
        ledger_keys.revoke_key(engine, ledger_keys.list_keys(engine)[-1]["id"])
        began = time.perf_counter()
        until(data, secret, 401)
        revoked.append(time.perf_counter() - began)
        connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=30)
        began = time.perf_counter()
        connection.request(
            "POST", "/api/keys", json.dumps({"name": f"api-{now_us()}"}), {"content-type": "application/json"}
        )
        answer = json.loads(connection.getresponse().read())
        until(data, answer["key"], 200)
        by_api.append(time.perf_counter() - began)
    print(
        f"  made elsewhere until it is obeyed: {spread(made)}; revoked: {spread(revoked)}; made by the API: {spread(by_api)}"
    )


@contextlib.contextmanager
def database(folder: Path, postgres: bool) -> Iterator[str]:
    if not postgres:
        yield f"sqlite:///{folder}/ledger.db"
        return
    with PostgresServer(fsync="on") as server:
        yield server.url()


class _Run:
    """One number of keys."""

    def __init__(self, folder: Path, the_rig: Rig, url: str, store: str, count: int) -> None:
        self._folder, self._rig, self._url, self._store, self._count = folder, the_rig, url, store, count
        self._data, self._admin = free_ports(2)
        self._file = self._configure()
        self._process = self._start()

    def _configure(self, in_file: int = 0) -> Path:
        return config(self._folder, self._rig.ports, self._data, self._admin, self._url, self._store, in_file)

    def _start(self) -> Process:
        command = [sys.executable, "-m", "taximeter", "serve", "--config", str(self._file)]
        env = {"PYTHONPATH": str(ROOT)}
        began = Process(command, core=self._rig.cores.peer, log=self._folder / "output.log", env=env, cwd=self._folder)
        print(f"  ready after {seconds_until_served(began, self._data, 120):.2f} s")
        began.settled_cpu_s()
        return began

    def end(self) -> None:
        self._process.stop()
        said = (self._folder / "output.log").read_text().splitlines()
        print("\n".join([line for line in said if '"warning"' in line or '"error"' in line][-5:]))

    def rest(self) -> None:
        print("  at rest")
        measured(self._process, _REST_S, stretches=False)

    def load(self) -> None:
        secrets = [_SECRET.format(number) for number in range(self._count)]
        asyncio.run(_opened(self._data, secrets, _RATE, 3))
        print(f"  at {_RATE} calls a second")
        measured(self._process, _LOAD_S, lambda: asyncio.run(_opened(self._data, secrets, _RATE, _LOAD_S)))
        self._process.settled_cpu_s()
        for line in said(self._admin, "/metrics").splitlines():
            if line.startswith("taximeter_refusals_total"):
                print(f"    {line}")

    def changes(self) -> None:
        engine = open_ledger(self._url)
        changes(engine, self._data, self._admin)
        engine.dispose()

    def pages(self) -> None:
        for path in ("/keys", "/budgets", "/api/keys", "/metrics", "/api/budgets", "/"):
            fetched(self._admin, path)
            print(f"  GET {path}: {fetched(self._admin, path)}")
        began = time.perf_counter()
        command = [sys.executable, "-m", "taximeter", "keys", "list", "--config", str(self._file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        print(f"  taximeter keys list: {time.perf_counter() - began:.2f} s, {len(done.stdout) / 1e3:.0f} KB")

    def reload(self) -> None:
        for in_file, wanted in ((self._count, 200), (0, 401)):
            self._configure(in_file)
            os.kill(int((self._folder / "data" / "lock").read_text()), signal.SIGHUP)
            took = until(self._data, _FILED.format(self._count - 1), wanted)
            print(f"  a reload, {in_file} keys more in the file: {took:.2f} s")
            self._process.settled_cpu_s()
            self._memory()

    def restart(self) -> None:
        self._process.stop()
        self._process = self._start()
        self._memory()

    def _memory(self) -> None:
        for name, pid in named(self._process).items():
            print(f"    {name:16} {pss_mb(pid):6.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.many_keys", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keys", type=int, action="append", help="how many (10 and 10,000)")
    parser.add_argument("--postgres", action="store_true", help="the ledger is in PostgreSQL")
    parser.add_argument("--redis", action="store_true", help="budgets are in Redis")
    parser.add_argument("--only", default=",".join(_PARTS), help="parts, separated by commas (all)")
    given = parser.parse_args()
    for count in given.keys or [10, 10_000]:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            cores = Cores.choose()
            the_rig = stack.enter_context(rig(folder, cores, 150))
            url = stack.enter_context(database(folder, given.postgres))
            store = "memory"
            if given.redis:
                (port,) = free_ports(1)
                store = f"redis://127.0.0.1:{port}/0"
                command = ["redis-server", "--port", str(port), "--save", "", "--dir", str(folder)]
                server = Process(command, core=cores.load, log=folder / "redis.log")
                stack.callback(server.stop)
            fill(url, count)
            print(f"\n{count} keys, {url.partition(':')[0]}, {store.partition(':')[0]}")
            run = _Run(folder, the_rig, url, store, count)
            stack.callback(run.end)
            for part in given.only.split(","):
                getattr(run, part)()


if __name__ == "__main__":
    main()
