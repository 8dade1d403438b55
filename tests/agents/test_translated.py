"""Claude Code on a host that speaks OpenAI's chat alone, and Codex on one that speaks Anthropic's messages alone: a tool call each.

The model's tool call reaches the program, the program's result reaches the model, and what it all cost is in the ledger.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.agents.note_reader import FOUND
from tests.agents.rig import CLAUDE_MODEL, GPT_MODEL, KEY, AgentRig
from tests.support.gateway import gateway, server
from tests.support.processes import module_running

pytestmark = pytest.mark.agents

# The host of each program, its path there, and what a call costs there in nano-USD by the prices below: its own arithmetic.
OPENAI = {"suffix": "/v1", "translate": ["anthropic"], "model": "gpt-4o-mini"}
ANTHROPIC = {"suffix": "", "translate": ["responses"], "model": "claude-sonnet-4-6"}


def config(folder: Path, port: int, provider: str, host: dict[str, Any], asked: str) -> dict[str, Any]:
    row = {
        "base_url": f"http://127.0.0.1:{port}{host['suffix']}", "api_key": "sk-real-0123456789", "provider": provider,
        "translate": host["translate"],
    }  # fmt: skip
    return {
        "server": server(),
        "upstreams": {provider: row},
        "models": {
            # Claude Code asks a small model as well.
            name: {"upstream": provider, "model": host["model"], "context_tokens": 400_000, "max_output_tokens": 64_000}
            for name in (asked, "*")
        },
        "prices": [{"provider": provider, "model": "*", "input": "1", "cache_read": "1", "cache_write_5m": "1", "cache_write_1h": "1", "output": "1"}],
        "keys": [{"name": "agent", "key": KEY}],
        "budgets": [{"name": "all", "limit_usd": 1000, "window": "total"}],
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("agent", "provider", "host", "asked", "path"),
    [
        (AgentRig.claude_code, "openai", OPENAI, CLAUDE_MODEL, "/v1/chat/completions"),
        (AgentRig.codex, "anthropic", ANTHROPIC, GPT_MODEL, "/v1/messages"),
    ],
    ids=["claude-code", "codex"],
)
def test_an_agent_calls_a_tool_on_a_host_of_another_dialect(
    tmp_path: Path, agent: Any, provider: str, host: dict[str, Any], asked: str, path: str
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "note.txt").write_text("zebra-4711\n")
    with (
        module_running(tmp_path, "tests.agents.note_reader", str(work / "note.txt")) as port,
        gateway(tmp_path, config(tmp_path, port, provider, host, asked), timeout_s=90) as made,
    ):
        rig = AgentRig(made.url, made.admin_url, tmp_path)
        ran = agent(rig, "Read note.txt and say what is in it.", KEY)
        seen = httpx.get(f"http://127.0.0.1:{port}/_seen").json()
        session = rig.session(2)

    assert (ran.code, f"{FOUND}zebra-4711" in ran.output) == (0, True), ran.output
    assert {one.partition("?")[0] for one in seen} == {path}
    assert session["requests"] == len(seen)
    assert session["client"] == {"anthropic": "codex", "openai": "claude-code"}[provider]
    assert round(float(session["cost_usd"]) * 1e9) == len(seen) * {"openai": 150, "anthropic": 190}[provider] * 1000
