"""What of a caller's body is passed on, and what becomes of the rest: dropped by name, or refused by name. Pure.

Only fields that stand here reach LiteLLM: it takes its own settings (hosts, keys, callbacks, mock answers) by the same way as a
call's fields. A field is dropped where an answer without it is what was asked for, only less so; it is refused where the answer
would be another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proxy.errors import invalid_request

# OpenAI's API reference, chat completions; anthropic SDK 2.12, messages; OpenAI's API reference, responses.
_CHAT = frozenset({
    "messages", "stream", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "temperature", "top_p",
    "n", "stop", "max_tokens", "max_completion_tokens", "presence_penalty", "frequency_penalty", "logit_bias", "seed",
    "logprobs", "top_logprobs", "response_format", "user", "reasoning_effort", "verbosity", "thinking", "service_tier",
    "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
})  # fmt: skip
_EMBEDDINGS = frozenset({"input", "dimensions", "encoding_format", "user"})
_RESPONSES = frozenset({
    "input", "instructions", "stream", "tools", "tool_choice", "parallel_tool_calls", "temperature", "top_p",
    "max_output_tokens", "reasoning", "text", "user", "service_tier", "prompt_cache_key", "prompt_cache_retention",
    "safety_identifier", "top_logprobs", "truncation", "include",
})  # fmt: skip
_MESSAGES = frozenset({
    "messages", "system", "stream", "tools", "tool_choice", "temperature", "top_p", "top_k", "stop_sequences", "max_tokens",
    "thinking", "output_config", "output_format", "context_management",
})  # fmt: skip
PASSED = {"chat": _CHAT, "embeddings": _EMBEDDINGS, "responses": _RESPONSES, "messages": _MESSAGES}

# They say how an answer is kept, routed or watched, not what it is.
_SILENTLY = frozenset({"model", "stream_options", "store", "max_tool_calls"})
# Without these the answer would be another one, or cost another price.
_NEEDED = frozenset({
    "previous_response_id", "conversation", "prompt", "background", "audio", "web_search_options", "mcp_servers", "container",
    "speed", "inference_geo", "fallbacks", "prediction",
})  # fmt: skip
# In `PASSED`, and needed even where the provider does not know them.
_NEEDED_OF_THE_PROVIDER = frozenset({"tools", "functions", "n", "response_format", "logprobs", "logit_bias"})

# Tools that the caller runs itself; the rest runs at one provider alone.
_CLIENT_TOOLS = ("function", "custom")
_ANTHROPIC_CLIENT_TOOLS = ("custom", "bash_", "text_editor_", "computer_", "memory_")


def accepted(operation: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The fields that are passed on, and the names of those that are dropped. Raises `Refused` (400), by name."""
    passed_names = PASSED[operation]
    passed: dict[str, Any] = {}
    dropped: list[str] = []
    for name, value in body.items():
        if value is None or name in _SILENTLY:
            continue
        if name in passed_names:
            passed[name] = value
        elif name in _NEEDED and value not in (False, [], {}, ""):
            raise refused(name)
        elif not (name == "modalities" and value == ["text"]):
            dropped.append(name)
    dropped += _drop_hosted_tools(operation, passed)
    return passed, dropped


def without_unsupported(passed: dict[str, Any], supported: Iterable[str]) -> list[str]:
    """Take out what the provider does not know; the names. Raises `Refused` (400) where the answer would be another one."""
    kept_names = {*supported, "messages", "stream", "input"}
    dropped = []
    for name in [name for name in passed if name not in kept_names]:
        value = passed[name]
        if name in _NEEDED_OF_THE_PROVIDER and not (name == "n" and value == 1) and value not in (False, [], {}):
            raise refused(name)
        del passed[name]
        if not (name == "n" and value == 1):
            dropped.append(name)
    return dropped


def refused(name: str) -> Exception:
    """The refusal of a field that the provider cannot be told."""
    return invalid_request(f"The field {name!r} cannot be expressed in this provider's API; leave it out.", name)


def _drop_hosted_tools(operation: str, passed: dict[str, Any]) -> list[str]:
    """Tools that run at one provider alone are left out: a model that does not have them answers without."""
    tools = passed.get("tools")
    if not isinstance(tools, list):
        return []
    fine = _ANTHROPIC_CLIENT_TOOLS if operation == "messages" else _CLIENT_TOOLS
    kept, dropped = [], []
    for tool in tools:
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind is None or (isinstance(kind, str) and kind.startswith(fine)):
            kept.append(tool)
        else:
            dropped.append(f"tools.{str(kind)[:40]}")
    if kept:
        passed["tools"] = kept
    else:
        passed.pop("tools")
        passed.pop("tool_choice", None)
        passed.pop("parallel_tool_calls", None)
    return dropped
