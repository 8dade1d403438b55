"""Calls of every kind, so that no metric stays without a value: the independent provider answers as each prompt orders."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from tests.torture import tariff
from tests.torture.harness import CALLERS, Rig
from tests.torture.traffic import Caller

# Under no blocking budget: a call without a price passes.
BATCH = Caller("batch", "sk-virtual-batch-000004", team="data")
KEYS = {caller.name: caller.key for caller in (*CALLERS, BATCH)}
CLAUDE = {"user-agent": "claude-cli/2.1.0 (external, cli)", "anthropic-version": "2023-06-01"}
CODEX = {"user-agent": "codex_cli_rs/0.60.0"}
UNPRICED = "tm-embed"
BUDGETS: list[dict[str, Any]] = [
    {"name": "company", "limit_usd": "0.10", "window": "month", "action": "warn"},
    {"name": "research", "match": {"team": "research"}, "limit_usd": "0.06", "window": "month"},
    {"name": "payments", "match": {"team": "payments"}, "limit_usd": 50, "window": "day"},
    {"name": "ever", "limit_usd": 1000, "window": "total", "action": "warn"},
    {"name": "every-session", "per": ["session"], "limit_usd": "0.05", "window": "total", "action": "warn"},
]
CHANGES: dict[str, Any] = {
    "server": {"session_quiet_s": 3, "max_call_s": 2},
    "guards": {"loop": {"repeats": 3, "within_s": 60}},
    "on_unpriced": "allow",
    "plans": [{"name": "pro", "match": {"label.plan": "pro"}, "per": "customer", "usd_per_month": 20}],
    "keys": [{"name": caller.name, "key": caller.key, "team": caller.team} for caller in (*CALLERS, BATCH)],
    "models": {
        name: {
            "upstream": "torture-b" if name == "tm-odd" else "torture-a",
            "context_tokens": 65_536,
            "max_output_tokens": 4096,
            "answers": [] if name == "tm-half" else None,
        }
        for name in (*tariff.PRICES, "made-up-*")
    },
    "capacity": [
        {
            "name": "gpu-pool",
            "upstreams": ["torture-b"],
            "usd_per_hour": "2.50",
            "units": 4,
            "power": {"watts": 700},
            "compare": ["openai/gpt-5-mini"],
        },
    ],
    "prices": [row for row in tariff.price_rows("torture") if row["model"] != UNPRICED],
}
_numbers = count(1)


@contextlib.contextmanager
def gateway(folder: Path, **changes: Any) -> Iterator[Rig]:
    """The provider and a `taximeter serve` in front of it, with budgets of every kind."""
    exports = {"exports": [{"type": "file", "path": str(folder / "exports"), "every_s": 1}]}
    with Rig(folder, budgets=changes.pop("budgets", BUDGETS), changes={**CHANGES, **exports, **changes}) as rig:
        yield rig


class Calls:
    """Calls to one gateway."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=30)

    def close(self) -> None:
        self.client.close()

    def _headers(self, caller: str, session: str | None, headers: dict[str, str]) -> dict[str, str]:
        named = {"x-taximeter-session-id": session} if session else {}
        return (
            {"authorization": f"Bearer {KEYS.get(caller, caller)}", "user-agent": "OpenAI/Python 2.0.0"}
            | named
            | headers
        )

    def chat(
        self,
        orders: str = "",
        *,
        caller: str = "checkout",
        model: str = "tm-plain",
        session: str | None = None,
        stream: bool = False,
        leave: bool = False,
        cap: int = 400,
        text: str | None = None,
        **headers: str,
    ) -> int:
        """One chat call; its status. leave: hang up after the first bytes. text: instead of a prompt like no other."""
        said = text or f"this is call {next(_numbers)} and one more word"
        body = {
            "model": model,
            "max_tokens": cap,
            "stream": stream,
            "messages": [{"role": "user", "content": f"{said} [[{orders}]]"}],
        }
        send = self._headers(caller, session, {name.replace("_", "-"): value for name, value in headers.items()})
        with self.client.stream("POST", "/v1/chat/completions", json=body, headers=send) as answer:
            with contextlib.suppress(httpx.HTTPError):
                for _ in answer.iter_raw():
                    if leave:
                        break
            return answer.status_code

    def message(self, orders: str, *, session: str, caller: str = "intern", model: str = "tm-dear") -> int:
        """As Claude Code calls: the messages dialect, a stream, a session."""
        body = {
            "model": model,
            "max_tokens": 300,
            "stream": True,
            "messages": [{"role": "user", "content": f"step {next(_numbers)} of the work [[{orders}]]"}],
        }
        return self.client.post("/v1/messages", json=body, headers=self._headers(caller, session, CLAUDE)).status_code

    def embed(self) -> int:
        body = {"model": UNPRICED, "input": f"words to be embedded {next(_numbers)}"}
        return self.client.post("/v1/embeddings", json=body, headers=self._headers("batch", None, {})).status_code

    def malformed(self) -> int:
        body = {"model": "tm-plain", "messages": "nothing", "max_tokens": -1}
        return self.client.post(
            "/v1/chat/completions", json=body, headers=self._headers("search", None, {})
        ).status_code

    def wave(self, number: int) -> None:
        """Every feature once or more; what is asked of each session is the same in each wave."""
        agent = f"agent-{number}"
        todo: list[Callable[[], object]] = [
            lambda: self.chat("out=40;reason=12;cached=6", caller="checkout"),
            lambda: self.chat("out=60;reason=20", caller="search", model="tm-odd"),
            lambda: self.chat("out=80;tpc=2;chunk_delay=0.02;delay=0.1;cached=4", model="tm-odd", stream=True),
            lambda: self.chat(
                "out=200;tpc=5;chunk_delay=0.01;reason=50", caller="search", model="tm-plain", stream=True
            ),
            lambda: self.chat("out=30", model="tm-half", session=f"codex-{number}", **CODEX),
            lambda: self.chat("out=30;as=tm-half-of-before", model="tm-half"),
            lambda: self.chat("out=50;fault=no_usage", model="tm-plain", stream=True),
            lambda: self.chat("out=50;tpc=2;fault=cut@6", model="tm-plain", stream=True),
            lambda: self.chat("out=300;tpc=1;chunk_delay=0.02", model="tm-plain", stream=True, leave=True),
            lambda: self.chat("out=300;cap=ignore", model="tm-odd", cap=20),
            self.embed,
            self.malformed,
            lambda: self.chat("", caller="sk-nobody-knows"),
            lambda: self.chat("", caller="batch", model=f"made-up-{number}"),
        ]
        if number == 1:
            todo.insert(0, lambda: self.chat("out=30;delay=5", model="tm-half"))  # longer than max_call_s
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(one) for one in todo]:
                done.result()
        for _ in range(4):
            self.chat("out=10", session=f"loop-{number}", text="the same again and again", **CODEX)
        for step in range(4):
            self.message(f"out=120;cached={200 * step};written=200;input={400 + 200 * step};tpc=8", session=agent)

    def until_refused(self, caller: str, model: str = "tm-dear") -> int:
        """Dear calls until one is refused for its budget; how many were let through."""
        for let_through in range(200):
            if self.chat("out=150", caller=caller, model=model, cap=150) == 402:
                return let_through
        raise AssertionError("the budget never refused")
