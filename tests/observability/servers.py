"""The real Prometheus and Alertmanager with the commands and files of docker-compose.yml: only paths, addresses, secrets and,
where a test has no time, intervals are put in. And a receiver for what Alertmanager sends.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.observability.boards import ROOT
from tests.support.http_server import Handler, listening
from tests.support.ports import free_port
from tests.support.processes import get
from tests.support.programs import find_program
from tests.support.waiting import wait_until

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

    class Webhook(Handler):
        def answer_request(self) -> None:
            message = self.read_json()
            with made.news:
                made.told.append((time.time(), message))
                made.news.notify_all()
            self.send(b"")

    with listening(Webhook) as made.port:
        yield made


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


def _command(service: str, address: str, **places: Path) -> list[str]:
    """A service's command as docker-compose.yml has it, with our places for its own: `config_file=…` for `--config.file=…`."""
    compose = yaml.safe_load((ROOT.parent / "docker-compose.yml").read_text(encoding="utf-8"))
    flags = dict(flag.partition("=")[::2] for flag in compose["services"][service]["command"])
    for name, place in places.items():
        flag = f"--{name.replace('_', '.')}"
        assert flags[flag].startswith("/")
        flags[flag] = str(place)
    return [
        f"{flag}={value}" for flag, value in (flags | {"--web.listen-address": address, "--log.level": "warn"}).items()
    ]


@contextlib.contextmanager
def alertmanager(folder: Path, webhook_port: int) -> Iterator[str]:
    """The shipped Alertmanager; its address (host:port)."""
    address = f"127.0.0.1:{free_port()}"
    settings = yaml.safe_load((ROOT / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
    settings["receivers"][0]["webhook_configs"][0]["url"] = f"http://127.0.0.1:{webhook_port}/alerts"
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(settings))
    flags = _command("alertmanager", address, config_file=file, storage_path=folder / "alerts")
    command = [str(find_program("prometheus-alertmanager")), *flags]
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
    flags = _command("prometheus", address, config_file=made / "prometheus.yml", storage_tsdb_path=folder / "tsdb")
    command = [str(find_program("prometheus")), *flags]
    with _running(command, folder / "prometheus.log", f"http://{address}/-/ready"):
        yield Prometheus(f"http://{address}")
