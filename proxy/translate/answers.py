"""LiteLLM's answers as they go to the caller, in its dialect, beside what was read of the provider's own usage. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from pricing.units import INPUT_SIDE
from pricing.usage import Reading

_DONE = b"data: [DONE]\n\n"
_LITELLMS = ("_", "vertex_ai_", "provider_specific_fields")  # beginnings of fields that are no dialect's


def whole(operation: str, fields: dict[str, Any]) -> bytes:
    """One whole answer."""
    return _json(_tidy(operation, fields))


def event(operation: str, fields: dict[str, Any], number: int, *, wants_usage: bool) -> bytes:
    """One event of a stream, of chat completions and Responses; b"" where it is nothing to the caller."""
    if operation == "responses":
        fields.pop("sequence_number", None)  # so that it stands last
        for name in ("response", "item"):
            if isinstance(inner := fields.get(name), dict):
                fields[name] = _tidy(operation, inner)
        fields["sequence_number"] = number
        return b"event: %b\ndata: %b\n\n" % (str(fields.get("type")).encode(), _json(fields))
    if not fields.get("choices") and not wants_usage:
        return b""
    if fields.get("choices") and not wants_usage:
        fields.pop("usage", None)
    return b"data: %b\n\n" % _json(_tidy(operation, fields))


def anthropic_event(fields: Mapping[str, Any]) -> bytes:
    """One event of a stream of Anthropic's messages."""
    return b"event: %b\ndata: %b\n\n" % (str(fields.get("type")).encode(), _json(fields))


_LAST_RESPONSES = (b"event: response.completed", b"event: response.incomplete", b"event: response.failed")


def ends(operation: str, block: bytes) -> bool:
    """Whether this event is a stream's last one."""
    if operation == "responses":
        return block.startswith(_LAST_RESPONSES)
    return operation == "messages" and block.startswith(b"event: message_stop")


def stream_end(operation: str) -> bytes:
    """What follows the last event."""
    return _DONE if operation == "chat" else b""


def _json(fields: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields, default=str)
    except TypeError:  # half of a character that stands in two pieces, or a number of more than 64 bits
        return json.dumps(fields, default=str, separators=(",", ":")).encode()


def _tidy(operation: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Without LiteLLM's own additions, and with the nulls that the dialect's clients look for."""
    usage = fields.get("usage")
    if isinstance(usage, dict):
        usage.pop("cost", None)  # by LiteLLM's price list, not by the operator's
    if operation == "chat":
        for choice in fields.get("choices") or ():
            choice.setdefault("finish_reason", None)
            choice.pop("provider_specific_fields", None)
            for part in ("message", "delta"):
                if isinstance(content := choice.get(part), dict):
                    content.pop("provider_specific_fields", None)
                    for name in ("images", "thinking_blocks", "annotations"):
                        if content.get(name) == []:
                            del content[name]
            if isinstance(message := choice.get("message"), dict):
                message.setdefault("content", None)
        fields.pop("citations", None)
    elif operation == "responses":
        for item in (fields, *(fields.get("output") or ())):
            if isinstance(item, dict) and item.get("type") == "reasoning":
                _as_openai_has_it(item)
    elif operation == "messages":
        for block in fields.get("content") or ():
            if isinstance(block, dict) and block.get("type") == "thinking" and block.get("signature") is None:
                block["signature"] = ""  # a string to every SDK
    for name in [name for name in fields if name.startswith(_LITELLMS)]:
        del fields[name]
    return fields


def _as_openai_has_it(item: dict[str, Any]) -> None:
    """An item of reasoning: what was thought is its summary (openai SDK, `ResponseReasoningItem`), which LiteLLM makes a
    message's content."""
    content = [part for part in item.get("content") or () if isinstance(part, dict)]
    if item.pop("role", None) is not None:
        item.pop("content", None)
    item.setdefault("summary", [{"type": "summary_text", "text": part.get("text") or ""} for part in content])


def usage_in(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The usage that an answer, or an event, states in the caller's dialect."""
    for value in (fields.get("usage"), _get(fields.get("response"), "usage"), _get(fields.get("message"), "usage")):
        if isinstance(value, dict) and value:
            return value
    return None


def _get(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def settled(operation: str, native: Reading, stated: Mapping[str, Any] | None) -> Reading:
    """What is charged: the provider's own word; LiteLLM's, flagged, where no meter could read that.

    stated: the translated answer's usage, None where it has none.
    """
    if native.source == "none":
        return _translated(operation, stated)._replace(conditions=native.conditions)
    theirs = _totals(operation, stated)
    if theirs is None or theirs == _sides(native):
        return native
    return native._replace(flags=tuple(dict.fromkeys((*native.flags, "translation_differs"))))


def _sides(reading: Reading) -> tuple[int, int, int]:
    """Input, output and cached input tokens of a reading."""
    cached = sum(int(count) for unit, count in reading.usage.items() if unit.startswith("cache_read"))
    input_tokens = sum(int(count) for unit, count in reading.usage.items() if unit in INPUT_SIDE)
    output_tokens = sum(
        int(count) for unit, count in reading.usage.items() if unit in ("output", "reasoning", "audio_out", "image_out")
    )
    return input_tokens, output_tokens, cached


def _totals(operation: str, stated: Mapping[str, Any] | None) -> tuple[int, int, int] | None:
    if not stated:
        return None
    if operation in ("chat", "embeddings"):
        details = stated.get("prompt_tokens_details")
        cached = _count(details, "cached_tokens")
        return _count(stated, "prompt_tokens"), _count(stated, "completion_tokens"), cached
    if operation == "responses":
        cached = _count(stated.get("input_tokens_details"), "cached_tokens")
        return _count(stated, "input_tokens"), _count(stated, "output_tokens"), cached
    cached = _count(stated, "cache_read_input_tokens")
    written = _count(stated, "cache_creation_input_tokens")
    return _count(stated, "input_tokens") + cached + written, _count(stated, "output_tokens"), cached


def _count(value: object, name: str) -> int:
    count = value.get(name) if isinstance(value, dict) else None
    return count if type(count) is int and count > 0 else 0


def _translated(operation: str, stated: Mapping[str, Any] | None) -> Reading:
    """LiteLLM's own word of the usage."""
    totals = _totals(operation, stated)
    if totals is None:
        return Reading()
    input_tokens, output_tokens, cached = totals
    cached = min(cached, input_tokens)
    usage = {
        unit: count
        for unit, count in (("input", input_tokens - cached), ("cache_read", cached), ("output", output_tokens))
        if count
    }
    return Reading(usage=usage, source="provider", flags=("translated_usage",))
