"""Starts the provider and a real `taximeter serve`, puts load on them, kills them, waits for quiet, asks the auditor.

Everything lies in one folder and ends with the rig: every process carries a mark in its environment, by which all of a
tree is found, orphans too.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from . import evidence, points, tariff, traffic
from .figures import Verdict
from .reconcile import Sources, gather, table
from .traffic import Caller, Traffic
from .verdict import judge

ROOT = Path(__file__).resolve().parents[len(__package__.split("."))]
ADMIN_KEY = "sk-admin-torture-0123456789"
_MARK = "TORTURE_RIG"
_POLL_S = 0.05

CALLERS = (
    Caller("checkout", "sk-virtual-checkout-0001", team="payments", user="svc-checkout"),
    Caller("search", "sk-virtual-search-00002", team="payments", user="svc-search"),
    Caller("intern", "sk-virtual-intern-00003", team="research", user="ida"),
)


class RigError(Exception):
    """The rig itself could not do its work: something did not start, did not end, or did not become quiet."""


def program(module: str) -> list[str]:
    return [sys.executable, "-m", f"{__package__}.{module}"]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_until(what: str, done: Callable[[], bool], timeout_s: float, poll_s: float = _POLL_S) -> None:
    """Raises `RigError` naming `what` when it is not `done` in time."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise RigError(f"{what}: not within {timeout_s:g} s")
        time.sleep(poll_s)


def get(url: str, key: str | None = None) -> tuple[int, str]:
    """Status and text; status 0 where nothing answers."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError:
        return 0, ""


class Marked:
    """A process tree that can be found and killed whole, whatever its members did to their parents and groups."""

    def __init__(self, folder: Path, name: str) -> None:
        self.log = folder / f"{name}.log"
        self._mark = f"{name}-{secrets.token_hex(8)}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, command: list[str], *, stdout: int | None = None, env: Mapping[str, str] | None = None) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ
                | {_MARK: self._mark, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
                | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
                start_new_session=True,
            )

    def members(self) -> list[int]:
        wanted = f"{_MARK}={self._mark}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if wanted in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return sorted(found)

    def kill(self, pids: list[int] | None = None) -> None:
        """`kill -9`, all members at one moment: they are stopped first, so that none sees another die."""
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in self.members() if pids is None else pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        if pids is None:
            self._reap(10)
            wait_until("the killed processes are gone", lambda: not self.members(), 10)

    def stop(self, timeout_s: float) -> int:
        """SIGTERM and the exit code. Raises `RigError` when the tree has not ended in time, after killing it."""
        process = self.process
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RigError(f"no end {timeout_s:g} s after SIGTERM: {self.tail()}") from None
        self._reap(0)
        return code

    def _reap(self, timeout_s: float) -> None:
        if self.process is not None:
            self.process.wait(timeout_s)
            if self.process.stdout:
                self.process.stdout.close()
            self.process = None

    def close(self) -> None:
        self.kill()

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])


class Provider(Marked):
    """The fake provider in its process."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "provider")
        self.invoice = folder / "invoice.jsonl"
        self.port = 0

    def up(self, *options: str) -> None:
        self.start([*program("provider"), "--invoice", str(self.invoice), *options], stdout=subprocess.PIPE)
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RigError(f"the provider did not start: {self.tail()}")
        self.port = json.loads(line)["port"]

    def status(self) -> dict[str, int]:
        status, text = get(f"http://127.0.0.1:{self.port}/_provider/status")
        if status != 200:
            raise RigError(f"the provider does not answer: {self.tail()}")
        counts: dict[str, int] = json.loads(text)
        return counts


class Gateway(Marked):
    """`taximeter serve` in its processes."""

    def __init__(self, folder: Path, config: dict[str, Any], module: str = "proxy") -> None:
        """module: what is run; `crashing`'s points find their orders in the folder `crash`."""
        super().__init__(folder, "gateway")
        self.module = module
        self.crash = folder / "crash"
        self.crash.mkdir(exist_ok=True)
        self.config_file = folder / "taximeter.yaml"
        self.config_file.write_text(yaml.safe_dump(config, sort_keys=False))
        server = config["server"]
        self.url = f"http://127.0.0.1:{server['port']}"
        self.admin_url = f"http://127.0.0.1:{server['admin_port']}"
        self.ledger: str = config["ledger"]
        self.spool = Path(config["data_dir"]) / "spool"

    def up(self, *options: str, env: Mapping[str, str] | None = None, timeout_s: float = 30) -> float:
        """Start and wait until both planes are ready; the seconds that it took."""
        began = time.monotonic()
        command = [sys.executable, "-m", self.module, "serve", "--config", str(self.config_file), *options]
        self.start(command, env={points.FOLDER: str(self.crash)} | dict(env or {}))
        try:
            wait_until("taximeter serve is ready", self.ready, timeout_s)
        except RigError as error:
            raise RigError(f"{error}\n{self.tail()}") from None
        return time.monotonic() - began

    def ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RigError(f"taximeter serve ended with {self.process.returncode}: {self.tail()}")
        return get(f"{self.url}/readyz")[0] == 200 and get(f"{self.admin_url}/readyz")[0] == 200

    def metrics(self) -> evidence.Metrics:
        status, text = get(f"{self.admin_url}/metrics", ADMIN_KEY)
        return evidence.read_metrics(text) if status == 200 else {}

    def verified(self) -> dict[str, Any]:
        """What `taximeter verify` says of the ledger, the spool and the running server's budgets."""
        command = [sys.executable, "-m", "proxy", "verify", "--json", "--config", str(self.config_file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode not in (0, 1) or not done.stdout:
            raise RigError(f"verify ended with {done.returncode}\n{done.stderr}")
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def owed(self) -> set[str]:
        """The attempts that must have an entry in the end: shipped already, or unrefused in the spool."""
        intents = evidence.unrefused_intents(evidence.spool_records(self.spool))
        return intents | {entry.id for entry in self._entries() if entry.kind == "attempt"}

    def _entries(self) -> list[evidence.Entry]:
        try:
            return evidence.read_ledger(self.ledger)
        except Exception:  # before the first start has made the table
            return []


def config(folder: Path, provider_port: int, budgets: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A gateway's configuration in front of the fake provider: two upstreams of one provider, keyed apart."""
    base_url = f"http://127.0.0.1:{provider_port}/v1"
    bare = base_url.removesuffix("/v1")
    upstream: dict[str, Any] = {"base_url": base_url, "base_urls": {"anthropic": bare, "gemini": bare}}
    upstream |= {"provider": "torture", "dialects": ["openai", "anthropic", "gemini"]}
    upstream |= changes.pop("upstream", {})
    made = {
        "server": {
            "host": "127.0.0.1",
            "port": free_port(),
            "admin_host": "127.0.0.1",
            "admin_port": free_port(),
            "admin_key": ADMIN_KEY,
        }
        | changes.pop("server", {}),
        "upstreams": {
            "torture-a": upstream | {"api_key": "sk-upstream-torture-a"},
            "torture-b": upstream | {"api_key": "sk-upstream-torture-b"},
        },
        "models": {
            model: {"upstream": "torture-b" if model == "tm-odd" else "torture-a"}
            | {"context_tokens": 65_536, "max_output_tokens": 4096}
            for model in tariff.PRICES
        },
        "prices": tariff.price_rows("torture"),
        "keys": [{"name": c.name, "key": c.key, "team": c.team, "user": c.user} for c in CALLERS],
        "budgets": budgets,
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    }
    return made | changes


BUDGETS: list[dict[str, Any]] = [
    {"name": "company", "limit_usd": 100_000, "window": "total"},
    {"name": "payments", "match": {"team": "payments"}, "limit_usd": 100_000, "window": "total"},
    {"name": "each-user", "per": ["user"], "limit_usd": 100_000, "window": "total"},
]


@dataclass
class Rig:
    """Provider, gateway and callers in one folder. Use as a context: at its end nothing runs any more."""

    folder: Path
    budgets: list[dict[str, Any]] = field(default_factory=lambda: list(BUDGETS))
    changes: dict[str, Any] = field(default_factory=dict)
    provider_options: tuple[str, ...] = ()
    options: tuple[str, ...] = ()  # of `taximeter serve`
    module: str = "proxy"
    front: Callable[[int], int] | None = None  # provider's port -> the port of what stands before it
    logs: list[Path] = field(default_factory=list)
    loads: list[Marked] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.provider = Provider(self.folder)
        try:
            self.provider.up("--keys", "sk-upstream-torture-a,sk-upstream-torture-b", *self.provider_options)
            port = self.provider.port if self.front is None else self.front(self.provider.port)
            made = config(self.folder, port, self.budgets, **self.changes)
            self.gateway = Gateway(self.folder, made, self.module)
            self.ready_s = self.gateway.up(*self.options)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        for marked in (*self.loads, getattr(self, "gateway", None), self.provider):
            if marked is not None:
                marked.close()

    def begin_load(
        self, wanted: Traffic, gateway: Gateway | None = None, callers: tuple[Caller, ...] = CALLERS
    ) -> Marked:
        """Start a load, on another gateway than the rig's own where one is given; its log is part of the evidence."""
        wanted = replace(wanted, callers=callers)
        name = f"load-{len(self.loads)}"
        log = self.folder / f"{name}.jsonl"
        load = Marked(self.folder, name)
        options = ["--url", (gateway or self.gateway).url, "--log", str(log), "--traffic", traffic.to_json(wanted)]
        load.start([*program("load"), *options], stdout=subprocess.PIPE)
        self.logs.append(log)
        self.loads.append(load)
        return load

    def end_load(self, load: Marked, timeout_s: float = 600) -> dict[str, Any]:
        """Wait for a load to end by itself; its summary."""
        assert load.process is not None
        try:
            out, _ = load.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise RigError(f"the load did not end within {timeout_s:g} s: {load.tail()}") from None
        if load.process.returncode:
            raise RigError(f"the load failed: {load.tail()}")
        load.process = None
        summary: dict[str, Any] = json.loads(out)
        return summary

    def load(self, wanted: Traffic, timeout_s: float = 600) -> dict[str, Any]:
        return self.end_load(self.begin_load(wanted), timeout_s)

    def quiet(self, timeout_s: float = 30) -> None:
        """Wait until nothing is in flight and nothing is left to ship: the same books twice, and no lag."""
        wait_until("the provider has ended all answers", lambda: self.provider.status()["open"] == 0, timeout_s)
        wait_until("both planes are ready again", self.gateway.ready, timeout_s)
        last: list[Any] = [None]

        def still() -> bool:
            metrics = self.gateway.metrics()
            flying = sum(value for _, value in metrics.get("taximeter_inflight_requests", ()))
            lag = max((value for _, value in metrics.get("taximeter_ledger_lag_seconds", ())), default=None)
            cost = sorted((str(labels), value) for labels, value in metrics.get("taximeter_requests_total", ()))
            before, last[0] = last[0], (get(f"{self.gateway.admin_url}/api/budgets", ADMIN_KEY), cost)
            return flying == 0 and lag == 0 and before == last[0] and before[0][0] == 200

        try:
            wait_until("the gateway is quiet", still, timeout_s, poll_s=0.25)
        except RigError as error:
            raise RigError(f"{error}\n{self.gateway.tail()}") from None

    def sources(self) -> Sources:
        return Sources(
            invoice=self.provider.invoice,
            client=tuple(self.logs),
            ledger=self.gateway.ledger,
            budgets=f"{self.gateway.admin_url}/api/budgets",
            metrics=f"{self.gateway.admin_url}/metrics",
            admin_key=ADMIN_KEY,
            config=self.gateway.config_file,
        )

    def verdict(self, *, clean: bool, owed: set[str] | None = None) -> Verdict:
        """The auditor's verdict once all is quiet. `owed`: the attempts that must have an entry."""
        self.quiet()
        found = judge(gather(self.sources()))
        if owed is not None:
            ids = {entry.id for entry in evidence.read_ledger(self.gateway.ledger) if entry.kind == "attempt"}
            found.start("intents_without_entry")
            for intent in sorted(owed - ids):
                found.add("intents_without_entry", intent)
        found.start("unverified")
        audit = self.gateway.verified()
        if not audit["ok"]:
            found.add("unverified", json.dumps(audit["first_difference"]))
        (self.folder / "verdict.txt").write_text(table(found, clean))
        return found


@contextlib.contextmanager
def rig(folder: Path, **settings: Any) -> Iterator[Rig]:
    with Rig(folder, **settings) as made:
        yield made
