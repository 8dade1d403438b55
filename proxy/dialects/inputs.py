"""All of a call that a model reads, byte for byte: bounds on money recognise an input by it, so nothing in it is a guess."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.dialects.bedrock_turns import DIALECTS
from proxy.dialects.turns import FIELDS, messages_of
from proxy.types import Call

_MARKED_DEPTH = 16
# What adds no token to what the model reads, whatever it says.
_UNREAD = frozenset({
    "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens", "metadata", "user",
    "safety_identifier", "prompt_cache_key", "store", "temperature", "top_p", "seed", "stop", "n", "service_tier",
})  # fmt: skip
_UNREAD_CONFIG = frozenset(
    {"maxOutputTokens", "candidateCount", "temperature", "topP", "topK", "seed", "stopSequences"}
)
_MARKS = ({"type": "ephemeral"}, {"type": "ephemeral", "ttl": "5m"}, {"type": "ephemeral", "ttl": "1h"})


def read_by_model(call: Call) -> tuple[bytes, list[bytes]] | None:
    """All that the model reads, byte for byte but for cache marks: what stands round the messages, and each message.

    Anthropic's short form of a content, a string, reads as the one block that it stands for: Claude Code writes the message
    that it marks as a block, and as a string once the mark has moved on.
    None where it nests deeper than can be written, and of Bedrock's, which nobody here has compared with what it counts.
    """
    if call.dialect in DIALECTS:
        return None
    messages = FIELDS[call.dialect]
    rest = {name: value for name, value in call.body.items() if name != messages and name not in _UNREAD}
    shown = messages_of(call)
    if call.dialect == "anthropic.messages":
        shown = [_in_blocks(message) for message in shown]
    for name in ("system", "tools"):
        if isinstance(rest.get(name), list):
            rest[name] = [_unmarked_block(block) for block in rest[name]]
    if isinstance(config := rest.get("generationConfig"), dict):
        rest["generationConfig"] = {name: value for name, value in config.items() if name not in _UNREAD_CONFIG}
    try:
        return orjson.dumps(rest), [_unmarked_bytes(message) for message in shown]
    except TypeError:
        return None


def _unmarked_bytes(message: Any) -> bytes:
    written = orjson.dumps(message)
    return orjson.dumps(_unmarked_blocks(message)) if b'"cache_control"' in written else written


def _in_blocks(message: Any) -> Any:
    content = message.get("content") if isinstance(message, dict) else None
    return {**message, "content": [{"type": "text", "text": content}]} if isinstance(content, str) else message


def _unmarked_blocks(message: Any, depth: int = 0) -> Any:
    """A message without the cache marks of its blocks and of those in tool results; anything else of that name stays."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list) or depth > _MARKED_DEPTH:
        return _unmarked_block(message)
    blocks = [_unmarked_blocks(one, depth + 1) if _is_result(one) else _unmarked_block(one) for one in content]
    return _unmarked_block({**message, "content": blocks})


def _is_result(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "tool_result" and isinstance(block.get("content"), list)


def _unmarked_block(block: Any) -> Any:
    if isinstance(block, dict) and block.get("cache_control") in _MARKS:
        return {name: value for name, value in block.items() if name != "cache_control"}
    return block
