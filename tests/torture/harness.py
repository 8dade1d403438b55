"""Starts the provider and a real `taximeter serve`, puts load on them, kills them, waits for quiet, asks the auditor.

Everything lies in one folder and ends with the rig. What starts processes and waits is tests/support's; the provider, the
load and the auditor are programs of this folder.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import gateway
from tests.support.gateway import ADMIN_KEY
from tests.support.processes import Marked, RigError, get, port_told_by
from tests.support.waiting import TooLateError, wait_until

from . import evidence, points, tariff, traffic
from .figures import Verdict
from .reconcile import Sources, gather, table
from .traffic import Caller, Traffic
from .verdict import judge

_READY_S = 120  # of a machine that does much else; how long it takes is measured, and no promise

CALLERS = (
    Caller("checkout", "sk-virtual-checkout-0001", team="payments", user="svc-checkout"),
    Caller("search", "sk-virtual-search-00002", team="payments", user="svc-search"),
    Caller("intern", "sk-virtual-intern-00003", team="research", user="ida"),
)


def program(module: str) -> list[str]:
    return [sys.executable, "-m", f"{__package__}.{module}"]


class Provider(Marked):
    """The fake provider in its process."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "provider")
        self.invoice = folder / "invoice.jsonl"
        self.port = 0

    def up(self, *options: str) -> None:
        self.port = port_told_by(self, [*program("provider"), "--invoice", str(self.invoice), *options])

    def status(self) -> dict[str, int]:
        status, text = get(f"http://127.0.0.1:{self.port}/_provider/status")
        if status != 200:
            raise RigError(f"the provider does not answer: {self.tail()}")
        counts: dict[str, int] = json.loads(text)
        return counts


class Gateway(gateway.Gateway):
    """`taximeter serve` with its crash points; `crashing`'s points find their orders in the folder `crash`."""

    def __init__(self, folder: Path, config: dict[str, Any], module: str = "proxy") -> None:
        super().__init__(folder, config, module)
        self.crash = folder / "crash"
        self.crash.mkdir(exist_ok=True)

    def up(self, *options: str, env: Mapping[str, str] | None = None, timeout_s: float = _READY_S) -> float:
        return super().up(*options, env={points.FOLDER: str(self.crash)} | dict(env or {}), timeout_s=timeout_s)

    def metrics(self) -> evidence.Metrics:
        status, text = get(f"{self.admin_url}/metrics", ADMIN_KEY)
        return evidence.read_metrics(text) if status == 200 else {}

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
        "server": gateway.server(host="127.0.0.1", admin_host="127.0.0.1", **changes.pop("server", {})),
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
    env: dict[str, str] = field(default_factory=dict)  # of the gateway

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.provider = Provider(self.folder)
        try:
            self.provider.up("--keys", "sk-upstream-torture-a,sk-upstream-torture-b", *self.provider_options)
            port = self.provider.port if self.front is None else self.front(self.provider.port)
            self.made = config(self.folder, port, self.budgets, **self.changes)
            self.gateway = Gateway(self.folder, self.made, self.module)
            self.gateway.env = self.env
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
        """Each is ended, even where ending another fails."""
        with contextlib.ExitStack() as ending:
            for marked in (self.provider, getattr(self, "gateway", None), *reversed(self.loads)):
                if marked is not None:
                    ending.callback(marked.close)

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

    def quiet(self, timeout_s: float = 120) -> None:
        """Wait until nothing is in flight and nothing is left to ship: the same books twice, no lag, and none of the pauses that a
        recorder with much to do makes without one."""
        wait_until("the provider has ended all answers", lambda: self.provider.status()["open"] == 0, timeout_s)
        wait_until("both planes are ready again", self.gateway.ready, timeout_s)
        last: list[Any] = [None]

        def still() -> bool:
            metrics = self.gateway.metrics()
            flying = sum(value for _, value in metrics.get("taximeter_inflight_requests", ()))
            lag = max((value for _, value in metrics.get("taximeter_ledger_lag_seconds", ())), default=None)
            unread = sum(value for _, value in metrics.get("taximeter_spool_bytes", ()))
            cost = sorted((str(labels), value) for labels, value in metrics.get("taximeter_requests_total", ()))
            before, last[0] = last[0], (get(f"{self.gateway.admin_url}/api/budgets", ADMIN_KEY), cost)
            return flying == 0 and lag == 0 and unread == 0 and before == last[0] and before[0][0] == 200

        try:
            wait_until("the gateway is quiet", still, timeout_s, poll_s=0.25)
        except TooLateError as error:
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
