"""Anthropic's betas (the header `anthropic-beta`), as far as they change what a call can cost.

Names: anthropic SDK 2.12, `types/anthropic_beta_param.py`; those of Claude Code as it sends them. What a beta allows stands in
fields of the request, which are bounded there; only a longer context stands nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# By the beginning of a name: tokens of context.
WIDER_CONTEXTS: Mapping[str, int] = {"context-1m": 1_000_000}

_KNOWN = (
    "advisor-tool", "agent-memory", "cache-diagnosis", "claude-code", "code-execution", "compact", "computer-use",
    "context-1m", "context-management", "dev-full-thinking", "effort", "extended-cache-ttl", "fallback-credit", "fast-mode",
    "files-api", "fine-grained-tool-streaming", "inline-tools", "interleaved-thinking", "mcp-client", "mcp-tunnels",
    "message-batches", "mid-conversation-output-config", "mid-conversation-system-clear-at",
    "mid-conversation-tool-changes", "model-context-window-exceeded", "oauth", "output-128k", "output-300k", "pdfs",
    "prompt-caching", "server-side-fallback", "skills", "structured-outputs", "task-budgets", "thinking-binding-controls",
    "thinking-display-updates", "thinking-token-count", "token-counting", "token-efficient-tools", "tool-search-tool",
    "tool-examples", "user-profiles", "web-fetch", "web-search",
)  # fmt: skip


def betas_in(header: bytes | None) -> tuple[str, ...]:
    """The betas that a header names."""
    if not header:
        return ()
    return tuple(name for one in header.decode("latin-1").split(",") if (name := one.strip().lower()))


def betas_within(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The betas that a body names: some hosts of Anthropic's models take them there (docs: Bedrock, `anthropic_beta`)."""
    stated = [body.get(name) for name in ("betas", "anthropic_beta")]
    names = [name for one in stated for name in (one if isinstance(one, list) else [one]) if isinstance(name, str)]
    return tuple([beta for name in names for beta in betas_in(name.encode("latin-1", "replace"))])


def knows_betas(betas: Iterable[str]) -> bool:
    """Whether all of them are known not to change the context, or how it does."""
    return all(beta.startswith(_KNOWN) for beta in betas)
