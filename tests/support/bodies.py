"""Bodies with something in every field that a dialect reads, and the same with anything else in its place."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

_TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
_SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
_PNG = "data:image/png;base64,iVBORw0KGgo="
_CACHE = {"type": "ephemeral", "ttl": "5m"}

FULL: dict[str, dict[str, Any]] = {
    "chat": {
        "messages": [
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "hi"},
                    {"type": "image_url", "image_url": {"url": _PNG, "detail": "low"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "r"},
        ],
        "max_tokens": 9, "max_completion_tokens": 9, "n": 1, "stream": False, "stream_options": {"include_usage": True},
        "temperature": 1, "top_p": 1, "stop": ["x"], "logprobs": True, "top_logprobs": 2, "logit_bias": {"1": 1},
        "tools": [_TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": True,
        "functions": [{"name": "g", "parameters": {}}], "function_call": "auto", "response_format": _SCHEMA,
        "service_tier": "default", "reasoning_effort": "low", "verbosity": "low", "modalities": ["text"], "user": "u",
        "metadata": {"a": "b"}, "store": False, "seed": 1, "prediction": {"type": "content", "content": "p"},
        "prompt_cache_key": "k", "prompt_cache_retention": "in_memory", "prompt_cache_options": {"ttl": "5m"},
        "safety_identifier": "s", "reasoning": {"effort": "low"}, "thinking": {"type": "enabled", "budget_tokens": 1},
        "audio": {"voice": "alloy", "format": "mp3"}, "frequency_penalty": 0, "presence_penalty": 0,
    },
    "completions": {
        "prompt": ["a", [1, 2]], "max_tokens": 9, "n": 1, "best_of": 1, "echo": False, "logprobs": 1, "suffix": "x",
        "stream": False, "stream_options": {"include_usage": True}, "stop": "x", "logit_bias": {}, "user": "u",
    },
    "embeddings": {"input": ["a", [1, 2]], "dimensions": 8, "encoding_format": "float", "user": "u"},
    "moderations": {"input": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": _PNG}}]},
    "speech": {"input": "hi", "voice": "alloy", "speed": 1, "response_format": "mp3", "stream_format": "sse", "instructions": "i"},
    "images": {
        "prompt": "hi", "n": 1, "size": "1024x1024", "quality": "low", "stream": False, "partial_images": 0, "user": "u",
        "response_format": "b64_json", "output_compression": 1, "background": "auto", "moderation": "low", "style": "vivid",
    },
    "responses": {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": _PNG}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "o"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "t"}], "encrypted_content": "e"},
        ],
        "instructions": "i", "max_output_tokens": 9, "max_tool_calls": 1, "stream": False, "store": False, "background": False,
        "tools": [
            {"type": "function", "name": "f", "parameters": {}, "strict": True},
            {"type": "web_search", "search_context_size": "low", "filters": {"allowed_domains": ["a"]}},
        ],
        "tool_choice": "auto", "reasoning": {"effort": "low", "summary": "auto"}, "text": {"format": {"type": "text"}},
        "include": ["reasoning.encrypted_content"], "truncation": "auto", "service_tier": "default", "metadata": {"a": "b"},
        "temperature": 1, "top_logprobs": 1, "parallel_tool_calls": True, "prompt_cache_key": "k", "user": "u",
        "stream_options": {"include_obfuscation": False}, "context_management": [{"type": "compaction", "compact_threshold": 1}],
    },
    "compact": {"input": [{"role": "user", "content": "hi"}], "instructions": "i"},
    "input_tokens": {"input": [{"role": "user", "content": "hi"}], "tools": [], "instructions": "i", "text": {}},
    "messages": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "hi", "cache_control": _CACHE},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}, "title": "t"},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "t", "signature": "s"},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "r"}]}],
            },
        ],
        "system": [{"type": "text", "text": "s", "cache_control": _CACHE}], "max_tokens": 9, "stream": False,
        "tools": [
            {"name": "f", "description": "d", "input_schema": {"type": "object"}, "cache_control": _CACHE},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 1, "allowed_domains": ["a"]},
        ],
        "tool_choice": {"type": "auto"}, "thinking": {"type": "enabled", "budget_tokens": 1}, "service_tier": "auto",
        "stop_sequences": ["x"], "metadata": {"user_id": "u"}, "temperature": 1, "top_k": 1, "top_p": 1, "speed": "standard",
        "inference_geo": "us", "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "output_config": {"effort": "low"}, "cache_control": _CACHE,
    },
    "count_tokens": {"messages": [{"role": "user", "content": "hi"}], "system": "s", "tools": [], "thinking": {"type": "disabled"}},
    "generate": {
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "hi"},
                    {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                    {"functionResponse": {"name": "f", "response": {"a": 1}}},
                ],
            },
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}, {"thought": True, "text": "t"}]},
        ],
        "systemInstruction": {"parts": [{"text": "s"}]},
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": {}}]}, {"googleSearch": {}}],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "maxOutputTokens": 9, "candidateCount": 1, "thinkingConfig": {"thinkingBudget": 1, "includeThoughts": False},
            "responseModalities": ["TEXT"], "responseSchema": {}, "responseMimeType": "application/json", "stopSequences": ["x"],
            "speechConfig": {}, "mediaResolution": "MEDIA_RESOLUTION_LOW", "temperature": 1, "imageConfig": {"aspectRatio": "1:1"},
        },
        "safetySettings": [{"category": "c", "threshold": "t"}], "serviceTier": "standard", "labels": {"a": "b"},
    },
    "count": {
        "contents": [{"parts": [{"text": "hi"}]}],
        "generateContentRequest": {"contents": [{"parts": [{"text": "hi"}]}], "model": "models/m", "tools": []},
    },
    "embed": {"content": {"parts": [{"text": "hi"}]}, "taskType": "RETRIEVAL_QUERY", "title": "t", "outputDimensionality": 8},
}  # fmt: skip

WRONG: tuple[Any, ...] = (
    None, True, 0, 1, -1, 1.5, 2**63, 1e308, "", "x", "1", "\ud7ff\x00", [], [None], [1], [[]], ["x"], [{}], {}, {"type": []},
    {"type": {}}, {"a": None}, {"content": 1}, {"parts": 1}, {"text": []}, [{"type": "x", "text": 1}],
)  # fmt: skip


def paths(value: Any, before: Path = ()) -> Iterator[Path]:
    """Every place in a body, the deeper ones after those that hold them."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield (*before, name)
        yield from paths(inner, (*before, name))


def with_value(body: Any, path: Path, value: Any) -> Any:
    """The body with another value in one place; what lies beside the path there is shared, not copied."""
    name, *inner = path
    made = copy.copy(body)
    made[name] = with_value(body[name], tuple(inner), value) if inner else value
    return made
