"""The real Prometheus and Alertmanager with the configuration that is shipped: only addresses, secrets and, where a test has no
time, intervals are put in. And a receiver for what Alertmanager sends.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.observability.boards import ROOT
from tests.support.programs import find_program
from tests.torture.harness import free_port, get, wait_until

Series = dict[str, Any]


@dataclass(slots=True)
class Prometheus:
    """A running Prometheus, asked over its API."""

    url: str

    def _get(self, path: str, **params: Any) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=params, timeout=30).json()
        assert answer["status"] == "success", (params, answer.get("error"))
        return answer["data"]

    def instant(self, expr: str, at: float) -> list[Series]:
        data = self._get("query", query=expr, time=at)
        return [{"metric": {}, "value": data["result"]}] if data["resultType"] == "scalar" else data["result"]

    def over(self, expr: str, start: float, end: float, step: float = 1) -> list[Series]:
        found: list[Series] = self._get("query_range", query=expr, start=start, end=end, step=step)["result"]
        return found

    def label_values(self, label: str, selector: str) -> list[str]:
        found: list[str] = self._get(f"label/{label}/values", **{"match[]": selector})
        return found

    def exemplars(self, expr: str, start: float, end: float) -> list[Series]:
        found: list[Series] = self._get("query_exemplars", query=expr, start=start, end=end)
        return found

    def value(self, expr: str) -> float:
        """One number, now; 0 where there is no series."""
        found = self.instant(expr, time.time())
        return float(found[0]["value"][1]) if found else 0.0

    def evaluated_at(self) -> float:
        """When the rules that wait longest were evaluated."""
        groups = self._get("rules")["groups"]
        return min(datetime.fromisoformat(group["lastEvaluation"]).timestamp() for group in groups)

    def rules(self) -> list[Series]:
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]


@dataclass(slots=True)
class Receiver:
    """What was posted to it, with the time of each."""

    port: int
    told: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def firing(self, alert: str, **labels: str) -> list[tuple[float, dict[str, Any]]]:
        """When an alert with these labels was told, and the alert."""
        return [
            (at, one)
            for at, message in self.told
            for one in message["alerts"]
            if one["status"] == "firing" and labels.items() | {("alertname", alert)} <= one["labels"].items()
        ]

    def wait_for(self, alert: str, within_s: float, **labels: str) -> tuple[float, dict[str, Any]]:
        with self.news:
            assert self.news.wait_for(lambda: self.firing(alert, **labels), within_s), f"{alert} did not come"
        return self.firing(alert, **labels)[0]


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """A webhook, until the end of the block."""
    made = Receiver(0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with made.news:
                made.told.append((time.time(), message))
                made.news.notify_all()
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's naming
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def _running(command: list[str], log: Path, ready_url: str) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent)
    try:
        wait_until(f"{Path(command[0]).name} is ready ({log})", lambda: get(ready_url)[0] == 200, 30)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextlib.contextmanager
def alertmanager(folder: Path, webhook_port: int) -> Iterator[str]:
    """The shipped Alertmanager; its address (host:port)."""
    address = f"127.0.0.1:{free_port()}"
    settings = yaml.safe_load((ROOT / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
    settings["receivers"][0]["webhook_configs"][0]["url"] = f"http://127.0.0.1:{webhook_port}/alerts"
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(settings))
    command = [
        str(find_program("prometheus-alertmanager")), f"--config.file={file}", f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address={address}", "--cluster.listen-address=", "--log.level=warn",
    ]  # fmt: skip
    with _running(command, folder / "alertmanager.log", f"http://{address}/-/ready"):
        yield address


@contextlib.contextmanager
def prometheus(
    folder: Path, target: str, token: str, alerts_to: str | None = None, interval_s: int | None = None
) -> Iterator[Prometheus]:
    """The shipped Prometheus on one target (host:port). interval_s: of scrapes and rules, in place of what is shipped."""
    settings = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    if interval_s is not None:
        settings["global"] = {"scrape_interval": f"{interval_s}s", "evaluation_interval": f"{interval_s}s"}
    settings["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    settings["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alerts_to] if alerts_to else []
    made = folder / "prometheus"
    made.mkdir()
    (made / "prometheus.yml").write_text(yaml.safe_dump(settings))
    (made / "metrics_token").write_text(token)
    for file in settings["rule_files"]:
        (made / file).write_bytes((ROOT / "prometheus" / file).read_bytes())
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(find_program("prometheus")), f"--config.file={made / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}", "--enable-feature=exemplar-storage", "--log.level=warn",
    ]  # fmt: skip
    with _running(command, folder / "prometheus.log", f"http://{address}/-/ready"):
        yield Prometheus(f"http://{address}")
