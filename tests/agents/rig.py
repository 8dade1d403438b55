"""A live Taximeter with the playing provider behind it, and the real agent programs to point at it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.support.gateway import ADMIN_KEY, gateway, server
from tests.support.marks import kill_marked
from tests.support.processes import ROOT, module_running
from tests.support.waiting import eventually

KEY, POOR_KEY = "sk-agents-rich-0000000001", "sk-agents-poor-0000000001"
CLIENTS = ROOT / ".clients"  # `make agents` fills it
BUDGET = "small-change"
CLAUDE_MODEL, GPT_MODEL, CHAT_MODEL = "claude-sonnet-4-6", "gpt-5.4", "gpt-4o-mini"


class Ran(NamedTuple):
    """How a program ended, and all that it printed."""

    code: int
    output: str


@dataclass(frozen=True, slots=True)
class AgentRig:
    url: str
    admin_url: str
    folder: Path

    def api(self, path: str, **params: str) -> Any:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        return httpx.get(f"{self.admin_url}{path}", params=params, headers=headers).raise_for_status().json()

    def session(self, calls: int) -> dict[str, Any]:
        """The latest session's tree, once it has so many calls."""

        def look() -> dict[str, Any]:
            items = self.api("/api/sessions", limit="1")["items"]
            return dict(self.api(f"/api/sessions/{items[0]['session']}")) if items else {"requests": 0}

        return eventually(look, lambda seen: seen["requests"] >= calls)

    def refusals(self) -> int:
        """How many requests the budget has refused so far; refusals are told once a second."""
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        text = httpx.get(f"{self.admin_url}/metrics", headers=headers).raise_for_status().text
        found = re.findall(rf'^taximeter_refusals_total\{{.*budget="{BUDGET}".*\}} (\d+)', text, re.MULTILINE)
        return sum(map(int, found))

    def run(self, *command: str | Path, env: dict[str, str], timeout_s: float = 90) -> Ran:
        """A program in a home and a folder of its own, with nothing of ours in its environment."""
        home, work = self.folder / "home", self.folder / "work"
        home.mkdir(exist_ok=True)
        work.mkdir(exist_ok=True)
        try:
            done = subprocess.run(
                [str(part) for part in command], cwd=work, env={"PATH": os.environ["PATH"], "HOME": str(home)} | env,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s, check=False,
            )  # fmt: skip
        finally:
            kill_marked(f"HOME={home}")
        return Ran(done.returncode, done.stdout)

    # The agents, each with the one setting that points it here.

    def claude_code(self, task: str, key: str) -> Ran:
        env = {
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": key,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
        program = CLIENTS / "python" / "claude_agent_sdk" / "_bundled" / "claude"
        return self.run(program, "-p", task, "--model", CLAUDE_MODEL, env=env)

    def codex(self, task: str, key: str) -> Ran:
        provider = (
            f'model_providers.tm={{name="tm",base_url="{self.url}/v1",env_key="OPENAI_API_KEY",wire_api="responses"}}'
        )
        options = ("--skip-git-repo-check", "-c", "model_provider=tm", "-c", provider, "-m", GPT_MODEL)
        return self.run(CLIENTS / "node_modules/.bin/codex", "exec", *options, task, env={"OPENAI_API_KEY": key})

    def opencode(self, task: str, key: str) -> Ran:
        options = {"baseURL": f"{self.url}/v1", "apiKey": key}
        provider = {"npm": "@ai-sdk/openai-compatible", "name": "tm", "options": options, "models": {CHAT_MODEL: {}}}
        config = {"provider": {"tm": provider}, "autoupdate": False, "share": "disabled"}
        env = {"OPENCODE_CONFIG_CONTENT": json.dumps(config)}
        return self.run(CLIENTS / "node_modules/.bin/opencode", "run", "-m", f"tm/{CHAT_MODEL}", task, env=env)


def _config(folder: Path, provider_url: str) -> dict[str, Any]:
    def upstream(provider: str, suffix: str) -> dict[str, Any]:
        return {"base_url": provider_url + suffix, "api_key": "sk-real", "provider": provider}

    models = {CLAUDE_MODEL: "anthropic", GPT_MODEL: "openai", CHAT_MODEL: "openai"}
    prices = {"input": "1", "cache_read": "0.1", "cache_write_5m": "2", "output": "10"}
    return {
        "server": server(),
        "upstreams": {"openai": upstream("openai", "/v1"), "anthropic": upstream("anthropic", "")},
        "models": {
            m: {"upstream": u, "context_tokens": 400_000, "max_output_tokens": 32_000} for m, u in models.items()
        },
        "prices": [{"provider": provider, "model": "*", **prices} for provider in ("openai", "anthropic")],
        "keys": [{"name": "rich", "key": KEY, "team": "rich"}, {"name": "poor", "key": POOR_KEY, "team": "poor"}],
        "budgets": [
            {"name": "every-session", "per": ["session"], "limit_usd": 1000, "window": "total"},
            {"name": BUDGET, "match": {"team": "poor"}, "limit_usd": "0.0001", "window": "day"},
        ],
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    }


@contextlib.contextmanager
def running(folder: Path) -> Iterator[AgentRig]:
    with module_running(folder, "tests.agents.provider") as port:
        config = _config(folder, f"http://127.0.0.1:{port}")
        with gateway(folder, config) as made:
            yield AgentRig(made.url, made.admin_url, folder)
