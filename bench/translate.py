"""Translation: this checkout beside LiteLLM's own proxy, doing the same calls before the same fake providers, in one run.

    python -m bench.translate [--cases chat-anthropic,…] [--seconds 4] [--runs 3]

Each gateway is alone on one core with all its processes, load and providers are on the other, and they take turns. Ours has on
what it has (keys, nested budgets, ledger with spool, metrics, a log line a call); LiteLLM is at its leanest: a master key, no
database, no logging. CPU is what /proc says of all processes of a gateway, work put off until after the load included, so that it
holds on a busy machine too; calls a second only hold on a quiet one. Before it is measured, each kind of call is made once and
its text compared.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench import tools
from bench.clouds import TEXT
from bench.machine import Cores, Process, describe, free_ports
from bench.peers import ROOT
from bench.wire import KEY, request

# The newest with its proxy that its registry has whole: from 1.110.2 on `litellm[proxy]` needs a package that is not there.
LITELLM = "litellm[proxy]==1.108.7"
_READY_S = 120.0
_CONNECTIONS = 16
_CLAUDE = "claude-sonnet-4-5"
_BEDROCK = "global.anthropic.claude-sonnet-4-5-20250929-v1:0"
_SAID = "Hello there, tell me what you can do for my project in one sentence."
_AWS = {
    "aws_region_name": "eu-central-1", "aws_access_key_id": "AKIDEXAMPLE",
    "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
}  # fmt: skip


class Case(NamedTuple):
    """One kind of call. model: its name at both gateways."""

    path: str
    body: Mapping[str, Any]

    @property
    def streams(self) -> bool:
        return bool(self.body.get("stream"))


def _chat(model: str, **more: Any) -> Case:
    turns = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": _SAID}]
    return Case("/v1/chat/completions", {"model": model, "messages": turns, "max_tokens": 256} | more)


def _messages(model: str, **more: Any) -> Case:
    turns = [{"role": "user", "content": _SAID}]
    body = {"model": model, "system": "You are a helpful assistant.", "messages": turns, "max_tokens": 256}
    return Case("/v1/messages", body | more)


def _responses(model: str, **more: Any) -> Case:
    body = {"model": model, "instructions": "You are a helpful assistant.", "input": _SAID, "max_output_tokens": 256}
    return Case("/v1/responses", body | more)


_STREAM = {"stream": True, "stream_options": {"include_usage": True}}
CASES = {
    "chat-anthropic": _chat("anthropic"),
    "chat-anthropic-stream": _chat("anthropic", **_STREAM),
    "chat-bedrock": _chat("bedrock"),
    "chat-bedrock-stream": _chat("bedrock", **_STREAM),
    "chat-gemini": _chat("gemini"),
    "chat-gemini-stream": _chat("gemini", **_STREAM),
    "messages-openai": _messages("openai"),
    "messages-openai-stream": _messages("openai", stream=True),
    "responses-anthropic": _responses("anthropic"),
    "responses-anthropic-stream": _responses("anthropic", stream=True),
}
_MODELS = {"anthropic": _CLAUDE, "openai": "gpt-4.1-mini", "bedrock": _BEDROCK, "gemini": "gemini-2.5-flash"}


class Command(NamedTuple):
    """What to run, and the port that answers."""

    command: list[str]
    port: int
    env: dict[str, str]


def _taximeter(folder: Path, clouds: int, *, translates: bool = True) -> Command:
    port, admin = free_ports(2)
    base = f"http://127.0.0.1:{clouds}"
    key, mine = "sk-of-the-provider-0123456789", ["openai", "responses"] if translates else []
    rows: dict[str, Any] = {
        "anthropic": {"base_url": f"{base}/anthropic", "api_key": key, "translate": mine},
        "openai": {"base_url": f"{base}/openai/v1", "api_key": key, "translate": ["anthropic"] if translates else []},
        "gemini": {"base_url": f"{base}/gemini/v1beta", "api_key": key, "provider": "google"},
        "bedrock": {"provider": "aws", "params": _AWS | {"aws_bedrock_runtime_endpoint": f"{base}/bedrock"}},
    }
    for name in ("gemini", "bedrock"):
        rows[name] |= {"via": "litellm"} if translates else {}
    limits = {"context_tokens": 200_000, "max_output_tokens": 8192}
    price = {"input": "1", "cache_read": "0.1", "cache_write_5m": "1.25", "cache_write_1h": "2", "output": "10"}
    config = {
        "server": {
            "host": "127.0.0.1", "port": port,
            "admin_host": "127.0.0.1", "admin_port": admin, "admin_key": "sk-admin-0123456789abcdef",
        },
        "upstreams": rows,
        "models": {name: {"upstream": name, "model": model, **limits} for name, model in _MODELS.items()},
        "prices": [{"provider": row.get("provider", name), "model": "*", **price} for name, row in rows.items()],
        "keys": [{"name": "bench", "key": KEY, "team": "bench", "user": "load"}],
        "budgets": [
            {"name": "company", "limit_usd": 1_000_000, "window": "month"},
            {"name": "team", "match": {"team": "bench"}, "limit_usd": 1_000_000, "window": "day"},
            {"name": "every-key", "per": ["key"], "limit_usd": 1_000_000, "window": "total"},
        ],
        "store": "memory",
        "ledger": f"sqlite:///{folder}/ledger.db",
        "data_dir": str(folder / "data"),
    }  # fmt: skip
    file = folder / "taximeter.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(file)]
    return Command(command, port, {"PYTHONPATH": str(ROOT)})


def _plain(folder: Path, clouds: int) -> Command:
    return _taximeter(folder, clouds, translates=False)


def litellm_program() -> Path:
    """LiteLLM's own, in an environment of its own. Raises tools.MissingError where it cannot be had."""
    return tools.environment(f"litellm-{LITELLM.rpartition('=')[2]}", LITELLM, "litellm")


def _litellm(folder: Path, clouds: int) -> Command:
    [port] = free_ports(1)
    base = f"http://127.0.0.1:{clouds}"
    key = {"api_key": "sk-of-the-provider-0123456789"}
    rows: dict[str, Any] = {
        "anthropic": {"model": f"anthropic/{_CLAUDE}", "api_base": f"{base}/anthropic"} | key,
        "openai": {"model": "openai/gpt-4.1-mini", "api_base": f"{base}/openai/v1"} | key,
        "gemini": {"model": "gemini/gemini-2.5-flash", "api_base": f"{base}/gemini/v1beta"} | key,
        "bedrock": {"model": f"bedrock/{_BEDROCK}", "aws_bedrock_runtime_endpoint": f"{base}/bedrock"} | _AWS,
    }
    config = {
        "model_list": [{"model_name": name, "litellm_params": row} for name, row in rows.items()],
        "general_settings": {"master_key": KEY},
        "router_settings": {"num_retries": 0},
        "litellm_settings": {"use_chat_completions_url_for_anthropic_messages": True},
    }
    file = folder / "litellm.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    command = [str(litellm_program()), "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    return Command([*command, "--num_workers", "1"], port, env)


GATEWAYS: Mapping[str, Callable[[Path, int], Command]] = {
    "taximeter": _taximeter, "litellm": _litellm, "taximeter, nothing translated": _plain,
}  # fmt: skip
Figures = dict[str, float]


def once(port: int, case: Case) -> str:
    """The text that one call gets. Raises RuntimeError where it fails."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        connection.request("POST", case.path, json.dumps(case.body), headers)
        answer = connection.getresponse()
        data = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {data[:300]!r}")
    return data.decode()


def _said(answer: str) -> bool:
    """Whether all of the text is in it, whole or in pieces."""
    words = TEXT.split()
    return all(word in answer for word in (words[0], words[-1]))


def _ready(process: Process, port: int, case: Case) -> float:
    """Seconds until the first good answer."""
    while time.perf_counter() - process.started_at < _READY_S:
        if process.ended:
            raise RuntimeError(f"it ended at once: {process.tail()}")
        with contextlib.suppress(OSError, RuntimeError, http.client.HTTPException):
            once(port, case)
            return time.perf_counter() - process.started_at
        time.sleep(0.02)
    raise RuntimeError(f"no good answer within {_READY_S:.0f} s: {process.tail()}")


class Bench:
    def __init__(self, cores: Cores, folder: Path, clouds: int, seconds: float) -> None:
        self._cores, self._folder, self._clouds, self._seconds = cores, folder, clouds, seconds

    def run(self, name: str, cases: Mapping[str, Case]) -> dict[str, Figures]:
        """Figures of one gateway, started afresh: of itself (under ""), and of each case."""
        with tempfile.TemporaryDirectory(dir=self._folder) as made:
            folder = Path(made)
            started = GATEWAYS[name](folder, self._clouds)
            process = Process(
                started.command, core=self._cores.peer, log=folder / "log", env=started.env, cwd=folder
            )  # fmt: skip
            try:
                plain = not cases
                first = Case("/v1/messages", CASES["messages-openai"].body | {"model": "anthropic"})
                figures = {"": {"ready_s": _ready(process, started.port, first)}}
                if not plain:
                    figures[""]["translates_s"] = _ready(process, started.port, next(iter(cases.values())))
                figures[""] |= {"ready_cpu_s": process.settled_cpu_s(), "pss_ready_mb": process.pss_mb()}
                for title, case in cases.items():
                    figures[title] = self._measure(process, started.port, case)
                figures[""]["pss_mb"] = process.pss_mb()
                return figures
            finally:
                process.stop()

    def _measure(self, process: Process, port: int, case: Case) -> Figures:
        if not _said(once(port, case)):
            raise RuntimeError(f"{case.path}: a text is missing: {once(port, case)[:300]}")
        self._load(port, case, 1)
        before = process.settled_cpu_s()
        load = self._load(port, case, self._seconds)
        cpu_s = process.settled_cpu_s() - before
        if load["bad"]:
            raise RuntimeError(f"{load['bad']} of {load['calls']} calls failed")
        return {"rps": load["calls"] / load["seconds"], "cpu_ms": cpu_s / load["calls"] * 1e3, "p50_ms": load["p50_ms"]}

    def _load(self, port: int, case: Case, seconds: float) -> dict[str, Any]:
        file = self._folder / "request"
        file.write_bytes(request(json.dumps(case.body).encode(), path=case.path))
        options = ["--port", str(port), "--count", str(_CONNECTIONS), "--seconds", str(seconds), "--request", str(file)]
        done = subprocess.run(
            ["taskset", "-c", str(self._cores.load), sys.executable, "-m", "bench.load", "closed", *options],
            check=True, capture_output=True, text=True, timeout=seconds + 90, cwd=ROOT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        result: dict[str, Any] = json.loads(done.stdout)
        return result


@contextlib.contextmanager
def providers(cores: Cores, folder: Path) -> Iterator[int]:
    """The fake providers' port."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "bench.clouds", "--port", str(port)]
    process = Process(command, core=cores.load, log=folder / "clouds.log", env={"PYTHONPATH": str(ROOT)})
    try:
        while "ready" not in process.tail():
            if process.ended:
                raise SystemExit(f"bench: the fake providers do not start: {process.tail()}")
            time.sleep(0.05)
        yield port
    finally:
        process.stop()


def medians(runs: list[dict[str, Figures]]) -> dict[str, Figures]:
    return {
        title: {name: statistics.median(run[title][name] for run in runs) for name in runs[0][title]}
        for title in runs[0]
    }


def table(middle: Mapping[str, Mapping[str, Figures]]) -> str:
    """Ours beside LiteLLM's, a case a line, as Markdown."""
    ours, theirs = middle.get("taximeter", {}), middle.get("litellm", {})
    lines = [
        "| call | calls/s: LiteLLM | Taximeter | times | CPU ms a call: LiteLLM | Taximeter | times |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for title in (title for title in ours if title):
        own, other = ours[title], theirs.get(title)
        cells = [title]
        for figure, digits in (("rps", 0), ("cpu_ms", 2)):
            times = "–"
            if other:
                times = f"{max(own[figure], other[figure]) / min(own[figure], other[figure]):.1f}"
            cells += [f"{other[figure]:,.{digits}f}" if other else "–", f"{own[figure]:,.{digits}f}", times]
        lines.append(f"| {' | '.join(cells)} |")
    for name, figures in middle.items():
        told = ", ".join(f"{figure} {value:,.2f}" for figure, value in figures[""].items())
        lines.append(f"{name}: {told}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.translate", description=__doc__)
    parser.add_argument("--cases", type=lambda text: text.split(","), default=list(CASES))
    parser.add_argument("--gateways", type=lambda text: text.split(";"), default=list(GATEWAYS))
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores, load = Cores.choose(), os.getloadavg()[0]
    cases = {name: CASES[name] for name in given.cases}
    runs: dict[str, list[dict[str, Figures]]] = {name: [] for name in given.gateways}
    with tempfile.TemporaryDirectory(prefix="bench-") as name, providers(cores, Path(name)) as clouds:
        bench = Bench(cores, Path(name), clouds, given.seconds)
        for _ in range(given.runs):
            for gateway, found in runs.items():
                found.append(bench.run(gateway, {} if "nothing" in gateway else cases))
    versions = tools.version(litellm_program(), "litellm") if "litellm" in runs else "-"
    print(f"LiteLLM {versions}, {describe()}, load average before {load:.1f}, medians of {given.runs} run(s)")
    print(table({gateway: medians(found) for gateway, found in runs.items()}))
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
