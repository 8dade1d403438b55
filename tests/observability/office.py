"""An office at work, for the pictures: teams, agents and bots call real models' names at real prices; the provider behind the
gateway makes up the answers, in streams, and now and then fails.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.support.day import KEYS
from tests.support.gateway import Gateway, gateway, server
from tests.support.http_server import listening
from tests.support.provider import StatedUsage

BUDGETS: list[dict[str, Any]] = [
    {"name": "company", "limit_usd": 400, "window": "month", "action": "warn"},
    {"name": "research-today", "match": {"team": "research"}, "limit_usd": 8, "window": "day"},
    {"name": "payments", "match": {"team": "payments"}, "limit_usd": 6, "window": "day"},
    {"name": "platform", "match": {"team": "platform"}, "limit_usd": 15, "window": "week"},
    {"name": "support", "match": {"team": "support"}, "limit_usd": "1.20", "window": "day", "action": "warn"},
    {"name": "every-session", "per": ["session"], "limit_usd": "0.6", "window": "total", "action": "warn"},
]
CLIENTS = {
    "claude-code": "claude-cli/2.1.0 (external, cli)",
    "codex": "codex_cli_rs/0.60.0",
    "openai-python": "OpenAI/Python 2.0.0",
}
_PACE = {"checkout-bot": 1.2, "fraud-review": 0.35, "ida": 0.12, "tomas": 0.22, "ci": 0.3, "helpdesk": 1.5, "triage": 0.5, "summaries": 0.8, "try-out": 0.03}  # fmt: skip


def _config(folder: Path, provider_port: int) -> dict[str, Any]:
    url = f"http://127.0.0.1:{provider_port}/v1"
    upstreams = sorted({row[3] for row in KEYS.values()})
    return {
        "server": server(session_quiet_s=25),
        "upstreams": {
            name: {"base_url": url, "provider": name, "dialect": "openai", "api_key": "sk-upstream"} for name in upstreams
        },
        "models": {
            row[4]: {"upstream": row[3], "context_tokens": 200_000, "max_output_tokens": 16_000} for row in KEYS.values()
        },
        "prices": [{"provider": "vllm", "model": "*", "input": "0.10", "output": "0.40"}],
        "capacity": [
            {
                "name": "h100-pool", "upstreams": ["vllm"], "usd_per_hour": "2.50", "units": 2,
                "power": {"watts": 700, "idle_watts": 80}, "co2": {"country": "DEU"},
                "compare": ["openai/gpt-5-mini", "deepseek/deepseek-chat"],
            },
        ],
        "on_unpriced": "allow",
        "guards": {"loop": {"repeats": 5, "within_s": 120}},
        "keys": [{"name": name, "key": f"sk-virtual-{name}"} | ({"team": row[0]} if row[0] else {}) for name, row in KEYS.items()],
        "budgets": BUDGETS,
        "exports": [{"type": "file", "path": str(folder / "exports"), "every_s": 5}],
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    }  # fmt: skip


def _call(url: str, key: str, session: str | None, chance: random.Random) -> None:
    """One call as its key usually makes them; agents' prompts grow with chance, a few hang up, a few are repeated."""
    _, agent, client, _, model, _, usual = KEYS[key]
    size = chance.lognormvariate(0, 0.5)
    fresh, cached, out = (int(tokens * size) for tokens in usual)
    if KEYS[key][3] == "vllm":  # which has a prefix cache
        fresh, cached = fresh - fresh // 3, cached + fresh // 3
    status = 503 if chance.random() < 0.012 else 200
    said = json.dumps([fresh, cached, out, round(chance.lognormvariate(-0.9, 0.4), 3), status])
    body = {"model": model, "max_tokens": 4000, "stream": chance.random() < 0.6}
    body["messages"] = [{"role": "system", "content": "a " * (fresh + cached)}, {"role": "user", "content": said}]
    send = {"authorization": f"Bearer sk-virtual-{key}", "user-agent": CLIENTS.get(client, client)}
    if session:
        send |= {"x-taximeter-session-id": session, "x-taximeter-agent": agent or "bot"}
    with contextlib.suppress(httpx.HTTPError), httpx.stream("POST", url + "/v1/chat/completions", json=body, headers=send, timeout=60) as answer:  # fmt: skip
        for _ in answer.iter_raw():
            if chance.random() < 0.004:
                return


def _worker(url: str, key: str, until: float, number: int) -> None:
    """One of five callers of a key at its pace, agents in runs of some calls, until the time is over."""
    chance = random.Random(f"{key} {number} {until}")
    agent = KEYS[key][1]
    session, left = None, 0
    while (now := time.time()) < until:
        if agent and left <= 0:
            session, left = str(uuid.UUID(int=chance.getrandbits(128), version=4)), chance.randrange(3, 14)
            if key == "ci" and chance.random() < 0.3:  # a run that is stuck
                for _ in range(7):
                    _call(url, key, session, random.Random(session))
        _call(url, key, session, chance)
        left -= 1
        wave = 1 + 0.5 * abs(((now / 120) % 2) - 1)
        time.sleep(min(chance.expovariate(_PACE[key] * wave / 4), max(0.0, until - time.time())))


@contextlib.contextmanager
def at_work(folder: Path) -> Iterator[tuple[Gateway, Callable[[float], None]]]:
    """The gateway, and a function that lets the office work for so many seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    provider = type("Provider", (StatedUsage,), {"s_per_token": 0.01})
    with listening(provider, wait_for_requests=False) as port, gateway(folder, _config(folder, port)) as made:

        def work(seconds: float) -> None:
            until = time.time() + seconds
            threads = [
                threading.Thread(target=_worker, args=(made.url, key, until, number))
                for key in KEYS
                for number in range(5)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        yield made, work
