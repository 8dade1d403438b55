"""Every page of a large ledger, asked in its usual and in its dearest ways: first byte, whole page, CPU. Not part of `make bench`.

    BENCH_SINCE=2026-08-21 python -m bench.pages --ledger sqlite:////tmp/big.db --make 1000000      a hundred days until that day
    python -m bench.pages --ledger sqlite:////tmp/big.db [--only /sessions] [--bound 300] [--urgent]

`serve` is started on the ledger as anybody would start it, in a folder of its own. Medians of five, after one that fills caches.
The process adds up what of the ledger is not added up yet, a stretch a second: `--settle` waits so many seconds for it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.ledger import fill
from bench.machine import Cores, Process, free_ports, make_urgent
from proxy.ledger.database import open_ledger

ROOT = Path(__file__).parents[1]
_KEY = "admin-key-of-the-bench"
_CUSTOMER = "customer-437"
_FIRST_BYTE_MS, _WHOLE_MS = 100.0, 300.0
_DAYS = 100
_RANGES = ("since=24h", "since=7d", "since=30d", "since=all")


class Took(NamedTuple):
    """Milliseconds; kilobytes."""

    first_byte_ms: float
    whole_ms: float
    cpu_ms: float
    size_kb: float


def pages(session: str, call: str) -> list[str]:
    """Paths, with what is asked. session, call: that the ledger has."""
    asked = ["/", "/spend", "/calls", "/sessions", "/budgets", "/budgets/teams", "/customers", "/month", "/models"]
    asked += ["/capacity", "/jobs", "/keys", "/explain", "/what-if", "/health", "/views"]
    asked += [f"/sessions/{session}", f"/calls/{call}", f"/customers/{_CUSTOMER}"]
    asked += ["/?tz=America/New_York", "/month?tz=America/New_York"]
    for by in ("model", "customer", "label.plan", "customer,label.plan", "label.plan,model", "customer,agent"):
        asked += [f"/spend?by={by}&{span}" for span in _RANGES[1:]]
    asked += [f"/spend?by=customer,model&compare=1&{span}" for span in _RANGES[1:3]]
    asked += ["/spend?by=session", "/spend?by=session&since=30d", "/spend?by=model&since=7d&tz=America/New_York"]
    asked += [f"/spend?by=model&filter.customer={_CUSTOMER}&{span}" for span in _RANGES[1:]]
    for path in ("/calls", "/sessions", "/sessions?sort=cost"):
        mark = "&" if "?" in path else "?"
        asked += [f"{path}{mark}{span}" for span in _RANGES]
        for name, value in (
            ("customer", _CUSTOMER),
            ("user", "user-7"),
            ("key", "key-7"),
            ("agent", "claude-code"),
            ("label.plan", "pro"),
            ("customer", "nobody"),
        ):
            asked += [f"{path}{mark}filter.{name}={value}&{span}" for span in (_RANGES[1], _RANGES[3])]
    for by in ("customer", "customer,model", "plan", "provider", "customer,agent", "customer,provider"):
        asked += [f"/customers?by={by}"] + [f"/customers?by={by}&{span}" for span in _RANGES[1:]]
    asked += [f"/models?{span}" for span in _RANGES[1:]]
    asked += [f"/explain?by={by}&since=30d" for by in ("model", "customer", "label.plan,model")]
    asked += ["/month?by=customer", "/month?by=label.plan", "/month?by=team&tz=America/New_York", "/what-if?since=all"]
    return list(dict.fromkeys(asked))


@contextlib.contextmanager
def served(ledger: str) -> Iterator[tuple[int, Process]]:
    """The port of the pages, and the processes behind them."""
    with tempfile.TemporaryDirectory(prefix="bench-pages-") as name:
        folder = Path(name)
        port, admin_port = free_ports(2)
        config = {
            "server": {"port": port, "admin_port": admin_port, "admin_key": _KEY},
            "data_dir": str(folder),
            "ledger": ledger,
            "upstreams": {"openai": {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-none"}},
            "models": {"*": {"upstream": "openai"}},
            "keys": [{"name": f"key-{number}", "key": f"sk-{number}", "team": f"team-{number % 10}"} for number in range(50)],
            "plans": [
                {"name": "pro", "match": {"label.plan": "pro"}, "usd_per_month": 20},
                {"name": "free", "usd_per_month": 0},
            ],
            "budgets": [
                {"name": "company", "limit_usd": "1000000", "window": "month"},
                {"name": "teams", "per": ["team"], "limit_usd": "100000", "window": "month"},
                {"name": "customers", "per": ["customer"], "limit_usd": "100", "window": "month"},
                {"name": "sessions", "per": ["session"], "limit_usd": "10", "window": "total"},
            ],
        }  # fmt: skip
        file = folder / "taximeter.json"
        file.write_text(json.dumps(config))
        command = [sys.executable, "-m", "proxy", "serve", "--config", str(file)]
        core = Cores.choose().peer
        process = Process(command, core=core, log=folder / "log", env={"PYTHONPATH": str(ROOT)}, cwd=folder)
        try:
            _await_ready(admin_port, process)
            yield admin_port, process
        finally:
            process.stop()


def _await_ready(port: int, process: Process) -> None:
    for _ in range(6000):
        if process.ended:
            break
        with contextlib.suppress(OSError, http.client.HTTPException, SystemExit):
            ask(port, "/budgets", process)  # known once the data planes have read the ledger's counters
            return
        time.sleep(0.05)
    raise SystemExit(f"bench: it does not start: {process.tail()}")


def ask(port: int, path: str, process: Process) -> tuple[Took, bytes]:
    """Asked once. Raises SystemExit where the answer is no page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    with contextlib.closing(connection):
        connection.connect()
        before, begun = _cpu_ns(process), time.perf_counter()
        connection.request("GET", path, headers={"authorization": f"Bearer {_KEY}"})
        answer = connection.getresponse()
        first = time.perf_counter() - begun
        body = answer.read()
        whole = time.perf_counter() - begun
        cpu = _cpu_ns(process) - before
    if answer.status != 200:
        text = re.sub(r"<[^>]*>|\s+", " ", body.decode("utf-8", "replace"))
        raise SystemExit(f"bench: {path} answered {answer.status}: {text[-300:]}")
    return Took(first * 1000, whole * 1000, cpu / 1e6, len(body) / 1000), body


def _cpu_ns(process: Process) -> int:
    """Of all threads of all its processes, by the scheduler's count: finer than a clock tick."""
    total = 0
    for pid in process.pids():
        for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(file.read_text().split()[0])
    return total


def median(port: int, path: str, process: Process, times: int) -> Took:
    ask(port, path, process)
    return Took(*map(statistics.median, zip(*[ask(port, path, process)[0] for _ in range(times)], strict=True)))


def known(port: int, process: Process) -> Mapping[str, str]:
    """A session and a call of the last week."""
    lists = {"session": "/sessions", "call": "/calls"}
    texts = {name: ask(port, path, process)[1].decode() for name, path in lists.items()}
    links = {name: re.search(rf'href="{lists[name]}/([^"?]+)"', text) for name, text in texts.items()}
    return {name: link[1] if link else "none" for name, link in links.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Every page of a large ledger.")
    parser.add_argument("--ledger", required=True, metavar="URL")
    parser.add_argument("--make", type=int, metavar="ENTRIES", help="only fill the ledger, from BENCH_SINCE on")
    parser.add_argument("--only", default="", metavar="TEXT", help="pages whose address has it")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--settle", type=float, default=0.0, metavar="SECONDS", help="wait before the first page")
    parser.add_argument("--bound", type=float, default=_WHOLE_MS, metavar="MS", help="mark pages that take longer")
    parser.add_argument("--urgent", action="store_true", help="before other programs of a busy machine (root)")
    given = parser.parse_args()
    if given.urgent:
        make_urgent()
    if given.make:
        fill(open_ledger(given.ledger), _DAYS, given.make // _DAYS, 1000)
        return
    with served(given.ledger) as (port, process):
        time.sleep(given.settle)
        names = known(port, process)
        print(
            f"load {os.getloadavg()[0]:.1f}\n{'first byte':>10} {'whole':>8} {'CPU':>8}  ms, medians of {given.times}"
        )
        slow = 0
        for path in pages(**names):
            if given.only in path:
                took = median(port, path, process, given.times)
                is_slow = took.whole_ms > given.bound or took.first_byte_ms > max(_FIRST_BYTE_MS, given.bound / 3)
                slow += is_slow
                figures = f"{took.first_byte_ms:>10.0f} {took.whole_ms:>8.0f} {took.cpu_ms:>8.0f}"
                print(f"{figures} {'!' if is_slow else ' '} {path}  {took.size_kb:.0f} kB", flush=True)
        print(f"{slow} pages beyond the bound; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
