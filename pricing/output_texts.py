"""The text that a model wrote, found in parsed JSON of any dialect: chunks, events, whole responses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import orjson

Kind = Literal["output", "reasoning"]


def output_texts(event: object) -> Iterator[tuple[Kind, str]]:
    """The text that a model wrote in one event or response, and whether it was visible or reasoning."""
    if isinstance(event, list):
        for part in event:
            yield from output_texts(part)
    if not isinstance(event, dict):
        return
    yield from _chat(event)
    yield from _responses(event)
    yield from _anthropic(event)
    yield from _gemini(event)
    yield from _others(event)
    for name in ("data", "body"):  # a gateway's envelope
        if isinstance(inner := event.get(name), dict) and "choices" in inner:
            yield from _chat(inner)


def _texts(kind: Kind, *values: object) -> Iterator[tuple[Kind, str]]:
    for value in values:
        if isinstance(value, str) and value:
            yield kind, value


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _json(value: object) -> str:
    if isinstance(value, str) or not value:
        return value if isinstance(value, str) else ""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # half a surrogate, a number of a hundred digits
        return json.dumps(value, default=str)


def _chat(event: dict[str, Any]) -> Iterator[tuple[Kind, str]]:
    """OpenAI chat and completions, and Ollama's `message`."""
    for choice in _dicts(event.get("choices")):
        yield from _texts("output", choice.get("text"))
        yield from _message(_dict(choice.get("delta")) or _dict(choice.get("message")))
    if not isinstance(event.get("type"), str):
        yield from _message(_dict(event.get("message")))
        if event.get("role") == "assistant":
            yield from _message(event)


def _message(message: dict[str, Any]) -> Iterator[tuple[Kind, str]]:
    yield from _texts(
        "reasoning", message.get("reasoning_content") or message.get("reasoning") or message.get("thinking")
    )
    if not any(isinstance(message.get(name), str) for name in ("reasoning_content", "reasoning", "thinking")):
        # OpenRouter's; elsewhere they repeat the text beside them.
        for detail in _dicts(message.get("reasoning_details")):
            yield from _texts("reasoning", detail.get("text") or detail.get("summary"))
    yield from _texts("output", message.get("content"), message.get("refusal"))
    for part in _dicts(message.get("content")):
        yield from _texts("output", part.get("text"))
    calls = [*_dicts(message.get("tool_calls")), {"function": message.get("function_call")}]
    for call in calls:
        function = _dict(call.get("function"))
        yield from _texts("output", function.get("name"), _json(function.get("arguments")))


def _responses(event: dict[str, Any]) -> Iterator[tuple[Kind, str]]:
    """OpenAI Responses: `….delta` events, and the items of a whole response."""
    name = event.get("type")
    if isinstance(name, str) and name.startswith("response.") and name.endswith(".delta"):
        yield from _texts("reasoning" if "reasoning" in name else "output", event.get("delta"))
    if name == "response.output_item.added":
        yield from _texts("output", _dict(event.get("item")).get("name"))
    if event.get("object") == "response":
        for item in _dicts(event.get("output")):
            yield from _texts("output", item.get("name"), item.get("arguments"), item.get("input"))
            for part in _dicts(item.get("content")):
                yield from _texts("output", part.get("text"), part.get("refusal"))
            for part in _dicts(item.get("summary")):
                yield from _texts("reasoning", part.get("text"))
        if not _dicts(event.get("output")):  # as SDKs show it
            yield from _texts("output", event.get("output_text"), event.get("output"))


def _anthropic(event: dict[str, Any]) -> Iterator[tuple[Kind, str]]:
    """Anthropic: block deltas, and the blocks of a whole message."""
    delta = _dict(event.get("delta"))
    if event.get("type") == "content_block_delta":
        yield from _texts("output", delta.get("text"), delta.get("partial_json"))
        yield from _texts("reasoning", delta.get("thinking"))
    blocks = _dicts(event.get("content")) if event.get("type") == "message" else []
    if event.get("type") == "content_block_start":
        blocks = [_dict(event.get("content_block"))]
    if event.get("type") == "message":
        yield from _texts("output", event.get("content"))
    if event.get("type") in (None, "completion"):  # Anthropic's Text Completions
        yield from _texts("output", event.get("completion"))
    for block in blocks:
        yield from _texts("output", block.get("text"), block.get("name"), _json(block.get("input")))
        yield from _texts("reasoning", block.get("thinking"))


def _gemini(event: dict[str, Any]) -> Iterator[tuple[Kind, str]]:
    for candidate in _dicts(event.get("candidates")):
        for part in _dicts(_dict(candidate.get("content")).get("parts")):
            yield from _texts("reasoning" if part.get("thought") is True else "output", part.get("text"))
            call = _dict(part.get("functionCall"))
            yield from _texts("output", call.get("name"), _json(call.get("args")))


def _others(event: dict[str, Any]) -> Iterator[tuple[Kind, str]]:
    """Bedrock, Cohere v2, DashScope, Cloudflare, Ollama's generate, llama.cpp's native completion."""
    delta = _dict(_dict(event.get("contentBlockDelta")).get("delta"))
    yield from _texts("output", delta.get("text"), _dict(delta.get("toolUse")).get("input"))
    yield from _texts("reasoning", _dict(delta.get("reasoningContent")).get("text"))
    if event.get("type") == "content-delta":
        yield from _texts("output", _dict(_dict(_dict(event.get("delta")).get("message")).get("content")).get("text"))
    if "done" in event or "stop" in event:
        yield from _texts("output", event.get("response"), event.get("content"))
        yield from _texts("reasoning", event.get("thinking"))
    output = _dict(event.get("output"))
    yield from _message(_dict(output.get("message")))
    yield from _texts("output", output.get("text"))
    for choice in _dicts(output.get("choices")):
        yield from _message(_dict(choice.get("message")))
    result = _dict(event.get("result"))
    yield from _texts("output", result.get("response"), event.get("generation"), event.get("generated_text"))
    for answer in (*_dicts(event.get("results")), *_dicts(event.get("outputs"))):
        yield from _texts("output", answer.get("outputText"), answer.get("text"))


def final_texts(event: object) -> Iterator[tuple[Kind, str]]:
    """The text in the last event of a stream that repeats the whole answer; for streams whose deltas did not come."""
    if isinstance(event, dict) and isinstance(response := event.get("response"), dict):
        yield from _responses({**response, "object": "response"})


# Names under which somebody's answer has what was written, and under which it repeats what was asked, or says other things.
_WRITTEN = frozenset({
    "text", "content", "output", "response", "answer", "reply", "completion", "generated_text", "output_text",
    "outputText", "generation", "generations", "delta", "refusal", "arguments", "partial_json", "parts", "choices",
    "candidates", "outputs", "results", "result", "transcript", "",
})  # fmt: skip
_THOUGHT = frozenset({"reasoning", "reasoning_content", "thinking", "thoughts"})
_NOT_WRITTEN = frozenset({
    "usage", "usageMetadata", "error", "errors", "prompt", "messages", "input", "inputs", "instructions", "request",
    "metadata", "system", "tools", "texts",
})  # fmt: skip


def any_texts(answer: object) -> Iterator[tuple[Kind, str]]:
    """What is probably the text of an answer in a shape that nobody knows: by the names of its fields, in order."""
    stack: list[tuple[str, object]] = [("", answer)]
    while stack:
        name, value = stack.pop()
        if isinstance(value, str):
            if value and (name in _WRITTEN or name in _THOUGHT):
                yield ("reasoning" if name in _THOUGHT else "output"), value
        elif isinstance(value, list):
            stack += [(name, part) for part in reversed(value)]
        elif isinstance(value, dict) and value.get("type") != "error" and not value.get("error"):
            for inner, part in reversed(value.items()):
                if inner == "message" and name == "choices":  # anywhere else it is what somebody says about the call
                    stack.append(("content", part))
                elif inner not in _NOT_WRITTEN:
                    stack.append((inner, part))
