"""An office's day, for the page: a ledger with the priced calls of the last 24 hours, a gateway on it, and a provider behind
it that answers when it is told to. Made from a seed: only the clock differs from one run to the next.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from pricing.book import Book
from pricing.load import load_book
from pricing.operator import parse_rows
from pricing.usage import Reading
from proxy.budgets.budget import Budget, compile_budgets, window_at
from proxy.config.checks import load_config
from proxy.control.metrics.series import MetricState
from proxy.ids import Ids
from proxy.ledger import schema
from proxy.ledger.database import open_ledger, writing
from proxy.ledger.entries.entry import Entry, entry_of
from proxy.ledger.planes.instances import name_of
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.shipping import Positions, Shipper
from tests.support.gateway import ADMIN_KEY, Gateway, server
from tests.support.http_server import listening
from tests.support.provider import StatedUsage

KEYS = {
    # name: team, agent, client, provider, upstream, model, calls in a day, (input, cached, output) of a usual one
    "checkout-bot": ("payments", None, "openai-python", "openai", "gpt-5.4-mini", 700, (900, 2400, 180)),
    "fraud-review": ("payments", "reviewer", "openai-python", "openai", "gpt-5.4", 130, (5200, 9000, 700)),
    "ida": ("research", "claude-code", "claude-code", "anthropic", "claude-opus-4-6", 190, (2600, 74_000, 900)),
    "tomas": ("research", "claude-code", "claude-code", "anthropic", "claude-sonnet-4-6", 240, (2100, 52_000, 800)),
    "ci": ("platform", "codex", "codex", "openai", "gpt-5.4", 160, (1800, 21_000, 650)),
    "helpdesk": ("support", None, "openai-node", "google", "gemini-2.5-flash", 900, (1500, 0, 220)),
    "triage": ("support", "triage", "openai-python", "anthropic", "claude-haiku-4-5", 320, (3100, 4000, 260)),
    "summaries": ("support", None, "other", "vllm", "Llama-3.3-70B-Instruct", 420, (4200, 0, 330)),
    "try-out": (None, None, "curl", "mistral", "a-model-without-a-price", 3, (600, 0, 90)),
}  # fmt: skip
CUSTOMERS = ("acme", "globex", "initech")
BUDGETS: list[dict[str, Any]] = [
    {"name": "company", "limit_usd": 400, "window": "month", "action": "warn"},
    {"name": "research-today", "match": {"team": "research"}, "limit_usd": 22, "window": "day"},
    {"name": "every-session", "per": ["session"], "limit_usd": 3, "window": "total"},
    {"name": "payments", "match": {"team": "payments"}, "limit_usd": 12, "window": "day"},
    {"name": "helpdesk-calls", "match": {"key": "helpdesk"}, "limit_requests": 5000, "window": "day"},
]
_PRICES = [{"provider": "vllm", "model": "*", "input": "0.10", "output": "0.40"}]
_BUSY = (2, 1, 1, 1, 1, 2, 4, 9, 22, 34, 38, 33, 24, 31, 37, 36, 33, 27, 18, 12, 9, 7, 5, 3)  # by UTC hour


@dataclass(slots=True)
class Day:
    """The running gateway. Calls are real ones."""

    gateway: Gateway
    released: threading.Event
    waiting: list[threading.Thread] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.gateway.admin_url + "/"

    def call(
        self,
        key: str,
        tokens: tuple[int, int, int] = (1000, 0, 100),
        *,
        after_s: float = 0,
        model: str | None = None,
        **headers: str,
    ) -> httpx.Response:
        """One call with the usage (fresh, cached, output)."""
        body = {"model": model or KEYS[key][4], "max_tokens": 4000}
        body |= {"messages": [{"role": "user", "content": json.dumps([*tokens, after_s])}]}
        named = {f"x-taximeter-{name.replace('_', '-')}": value for name, value in headers.items()}
        send = {"authorization": f"Bearer sk-virtual-{key}", "user-agent": "OpenAI/Python 2.0.0"} | named
        return httpx.post(self.gateway.url + "/v1/chat/completions", json=body, headers=send, timeout=90)

    def hold(self, key: str, **named: Any) -> None:
        """A call that stays in flight to the end."""
        thread = threading.Thread(target=self.call, args=(key,), kwargs={"after_s": 60} | named)
        thread.start()
        self.waiting.append(thread)


def _config(
    folder: Path, provider_port: int, admin_key: str | None, budgets: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    url = f"http://127.0.0.1:{provider_port}/v1"
    providers = sorted({row[3] for row in KEYS.values()})
    return {
        "server": server(admin_key=admin_key),
        "upstreams": {
            name: {"base_url": url, "provider": name, "dialect": "openai", "api_key": "sk-upstream"} for name in providers
        },
        "models": {
            row[4]: {"upstream": row[3], "context_tokens": 128_000, "max_output_tokens": 16_000} for row in KEYS.values()
        }
        | {"*": {"upstream": "vllm", "context_tokens": 64_000_000, "max_output_tokens": 4000}},
        "prices": _PRICES,
        "on_unpriced": "allow",
        "keys": [
            {"name": name, "key": f"sk-virtual-{name}"} | ({"team": row[0]} if row[0] else {}) for name, row in KEYS.items()
        ],
        "budgets": list(budgets),
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    }  # fmt: skip


def history(now_us: int, budgets: list[Budget], instance: str) -> Iterator[Entry]:
    chance, ids = random.Random(7), Ids()
    book = load_book().with_operator(parse_rows(_PRICES)[0])
    moments = []
    for name, row in KEYS.items():
        for _ in range(row[5]):
            hour = chance.choices(range(24), weights=_BUSY)[0]
            at = now_us - now_us % 86_400_000_000 + int((hour + chance.random()) * 3_600_000_000)
            moments.append((at if at < now_us else at - 86_400_000_000, name))
    for at, name in sorted(moments):
        yield _entry(at, name, chance, ids, book, budgets, instance)


def _entry(
    at: int, name: str, chance: random.Random, ids: Ids, book: Book, budgets: list[Budget], instance: str
) -> Entry:
    team, agent, client, provider, model, _, usual = KEYS[name]
    size = chance.lognormvariate(0, 0.7)
    fresh, cached, out = (int(tokens * size) for tokens in usual)
    cut = chance.random() < 0.012
    usage = {"input": fresh, "cache_read": cached, "output": out - out // 3, "reasoning": out // 3}
    usage = {unit: quantity for unit, quantity in usage.items() if quantity}
    reading = Reading(usage=usage, source="partial" if cut else "provider", model=model)
    cost = book.cost(reading, provider=provider, model=model, at_s=at // 1_000_000)
    took_ms = round(300 + 14 * out * chance.uniform(0.6, 1.6), 1)
    session = ids.new(at)  # without an agent every call is one of its own
    if agent:
        run = random.Random(f"{name} {at // 86_400_000_000} {chance.randrange(9)}")
        session = str(uuid.UUID(int=run.getrandbits(128), version=4))
    customer = random.Random(session).choice(CUSTOMERS) if team in ("payments", "support") else None
    attributes = {"key": name, "team": team, "user": None, "customer": customer, "session": session, "agent": agent,
                  "model": model, "provider": provider, "upstream": provider}  # fmt: skip
    counted = []
    for budget in budgets:
        if budget.matches(attributes):
            start, _ = window_at(budget.window, at / 1e6, budget.zone)
            amount = 1 if budget.measure == "requests" else cost.cost_nanousd or 0
            counted.append([budget.name, budget.group(attributes), start, budget.measure, amount])
    intent = {
        "t": "intent", "id": ids.new(at), "request_id": f"req_{ids.new(at)}", "attempt": 1, "started_at": at,
        "dialect": "openai", "operation": "chat", "stream": chance.random() < 0.6, "upstream": provider, "provider": provider,
        "model_requested": model, "model": model, "key": name, "key_id": "0" * 64, "team": team, "user": None,
        "customer": customer,
        "labels": {}, "untrusted_labels": {}, "session_id": session, "session_source": "header" if agent else "none",
        "parent_session_id": None, "root_session_id": session, "agent": agent, "client": client,
        "reserved_nanousd": (cost.cost_nanousd or 0) * 2, "budgets": counted, "price_version": cost.price_version,
    }  # fmt: skip
    end = {
        "t": "settle", "id": intent["id"], "ended_at": at + int(took_ms * 1000), "status": "settled",
        "outcome": "client_disconnected" if cut else "ok", "http_status": 200, "usage": usage,
        "usage_source": reading.source, "cost_nanousd": cost.cost_nanousd, "cost_source": cost.source, "flags": list(cost.flags),
        "budgets": counted, "ttft_ms": round(took_ms * 0.2, 1), "duration_ms": took_ms, "overhead_ms": round(0.15 + 0.2 * size, 3),
        "cost_lines": [
            {"unit": line.unit, "quantity": str(line.quantity), "price_usd": str(line.price_usd), "per": line.per,
             "cost_usd": str(line.cost_usd), "model": line.model, "source": line.source}
            for line in cost.lines
        ],
    }  # fmt: skip
    return entry_of(intent, end, instance)


_JOBS: Sequence[tuple[str, str, str, str, float, float | None, float, float | None]] = (
    # operation, api, key, model, began hours ago, ended hours ago, reserved USD, cost USD; none and ended: never heard of again
    ("video", "openai_videos", "ida", "sora-2", 0.05, None, 0.8, None),
    ("video", "openai_videos", "ida", "sora-2-pro", 30, None, 1.5, None),
    ("batch", "openai_batches", "ci", "gpt-5.4", 3.2, None, 12.25, None),
    ("batch", "openai_batches", "summaries", "Llama-3.3-70B-Instruct", 20, 8.5, 3.1, 1.2145),
    ("batch", "anthropic_batches", "triage", "claude-haiku-4-5", 26, 25, 9.0, 0.000418),
    ("video", "openai_videos", "fraud-review", "sora-2", 7, 6.9, 1.6, 0),
    ("prediction", "replicate_predictions", "try-out", "a-model-without-a-price", 5, 4.9, 0.5, None),
    ("video", "openai_videos", "tomas", "sora-2", 49, 25, 1.2, 1.2),
)
_UNCONFIRMED = 7  # of these, by its place


def jobs(now_us: int, budgets: list[Budget], instance: str) -> list[Entry]:
    """Those that run, one long beyond its time, those that ended, and one that nobody heard of again: begun, then ended."""
    ids, made = Ids(), []
    for place, (operation, api, key, model, began_h, ended_h, reserved, cost) in enumerate(_JOBS):
        began, ended = (None if hours is None else now_us - int(hours * 3_600_000_000) for hours in (began_h, ended_h))
        assert began is not None
        name, team, provider = ids.new(began), KEYS[key][0], KEYS[key][3]
        nano = None if cost is None else int(cost * 10**9)
        intent = {
            "t": "intent", "id": name, "request_id": f"req_{name}", "attempt": 1, "started_at": began, "dialect": "openai",
            "operation": operation, "stream": False, "upstream": provider, "provider": provider, "model_requested": model,
            "model": model, "key": key, "key_id": "0" * 64, "team": team, "user": None, "customer": None, "labels": {},
            "untrusted_labels": {}, "session_id": name, "session_source": "none", "parent_session_id": None,
            "root_session_id": name, "agent": None, "client": "openai-python", "reserved_nanousd": int(reserved * 10**9),
            "budgets": _counted(budgets, team, key, name, began, int(reserved * 10**9)), "price_version": "v",
        }  # fmt: skip
        job = {
            "id": name, "digest": name, "api": api, "provider_id": "at-the-provider", "created_at": began,
            "deadline_at": began + 86_400_000_000, "asked": {}, "attributes": {}, "intent": intent,
        }  # fmt: skip
        begun = {
            "t": "settle", "id": name, "ended_at": began, "status": "running", "outcome": "running", "cost_nanousd": None,
            "cost_source": "computed", "usage_source": "none", "budgets": (), "job": job,
        }  # fmt: skip
        made.append(entry_of(intent, begun, instance))
        if ended is not None:
            how = {"status": "unconfirmed" if place == _UNCONFIRMED else "settled", "outcome": "ok", "ended_at": ended}
            how |= {"budgets": _counted(budgets, team, key, name, began, nano or 0), "cost_nanousd": nano}
            if nano:
                usd = f"{cost:.9f}"
                how["cost_lines"] = [
                    {"unit": "request", "quantity": "1", "price_usd": usd, "per": 1, "cost_usd": usd, "source": "demo"}
                ]
            made.append(entry_of(intent, begun | how | {"usage_source": "provider"}, instance))
    return made


def _counted(budgets: list[Budget], team: str | None, key: str, job: str, at: int, nano: int) -> list[list[Any]]:
    """What a job counts in budgets."""
    named = {"key": key, "team": team, "session": job}
    return [
        [
            one.name,
            one.group(named),
            window_at(one.window, at / 1e6, one.zone)[0],
            one.measure,
            1 if one.measure == "requests" else nano,
        ]
        for one in budgets
        if one.matches(named)
    ]


@contextlib.contextmanager
def running(
    folder: Path,
    *,
    admin_key: str | None = ADMIN_KEY,
    history: bool = True,
    budgets: Sequence[dict[str, Any]] = BUDGETS,
) -> Iterator[Day]:
    """The gateway on its ledger, until the end of the block."""
    released = threading.Event()
    with listening(type("Provider", (StatedUsage,), {"released": released})) as port:
        gateway = Gateway(folder, _config(folder, port, admin_key, budgets))
        day = Day(gateway, released)
        try:
            if history:
                _fill(gateway, folder)
            gateway.up()
            yield day
        finally:
            released.set()
            for thread in day.waiting:
                thread.join()
            gateway.close()


def _fill(gateway: Gateway, folder: Path) -> None:
    config, *_ = load_config(gateway.config_file, {})
    engine = open_ledger(gateway.ledger)
    (folder / "data").mkdir(mode=0o700, exist_ok=True)
    instance = name_of(folder / "data")
    budgets = list(compile_budgets(config.budgets))
    entries = list(history(time.time_ns() // 1000, budgets, instance))
    shipper = Shipper(engine, instance, MetricState.load(engine, instance))
    shipper.ship(Batch(entries=entries), Positions([], []))
    for entry in jobs(time.time_ns() // 1000, budgets, instance):
        shipper.ship(Batch(entries=[entry]), Positions([], []))
    with writing(engine).begin() as connection:  # no provider is asked for them
        connection.execute(sa.update(schema.jobs).values(ask_at=None))
    engine.dispose()
