"""A usage in another place, or by another dialect's names, is read as if it stood where it should: whole, and in a stream."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pricing.usage import Reading
from proxy.meters import Context, reader
from proxy.meters.places import in_openais_words, states_counts
from proxy.wire import lenient
from tests.support.rows import each_row

COUNTS = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
CAMEL = {"promptTokens": 20, "completionTokens": 10, "totalTokens": 30}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
CHAT: dict[str, Any] = {"id": "c", "object": "chat.completion", "model": "m", "choices": [CHOICE]}
MESSAGE = {"type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "hello"}]}
GENERATED = {"candidates": [{"content": {"parts": [{"text": "hello"}]}, "finishReason": "STOP"}]}
GEMINIS = {"promptTokenCount": 20, "candidatesTokenCount": 10, "totalTokenCount": 30}

PLACES = [
    ("openai.chat", CHAT | {"usage": CAMEL}),
    ("openai.chat", CHAT | {"usage": {"inputTokens": 20, "outputTokens": 10}}),
    ("openai.chat", CHAT | {"usage": {}, "x_groq": {"id": "r", "usage": COUNTS}}),
    ("openai.chat", CHAT | {"usage": None, "x_acme": {"usage": CAMEL}}),
    ("openai.chat", CHAT | {"metrics": {"latency": 1.5, "usage": COUNTS}}),
    ("openai.chat", CHAT | {"token_usage": COUNTS}),
    ("openai.chat", CHAT | {"tokenUsage": CAMEL}),
    ("openai.chat", CHAT | {"Usage": COUNTS}),
    ("openai.chat", CHAT | {"usageMetadata": GEMINIS}),
    ("openai.chat", CHAT | {"choices": [{**CHOICE, "message": {**CHOICE["message"], "usage": COUNTS}}]}),  # type: ignore[dict-item]
    ("openai.chat", CHAT | {"choices": [{"index": 0, "delta": {"content": "hello", "usage": COUNTS}}]}),
    ("openai.chat", {"type": "message_start", "message": MESSAGE | {"usage": COUNTS}}),
    ("anthropic.messages", MESSAGE | {"usage": COUNTS}),
    ("anthropic.messages", MESSAGE | {"usage": {"input_tokens": 0, "output_tokens": 0} | COUNTS}),
    ("anthropic.messages", MESSAGE | {"usage": CAMEL}),
    ("anthropic.messages", MESSAGE | {"usage": {"inputTokens": 20, "outputTokens": 10}}),
    ("anthropic.messages", CHAT | {"usage": COUNTS}),
    ("anthropic.messages", MESSAGE | {"x_gateway": {"usage": COUNTS}}),
    ("openai.responses", {"object": "response", "status": "completed", "output": [], "usage": CAMEL}),
    ("openai.responses", {"object": "response", "status": "completed", "output": [], "usage": {"inputTokens": 20, "outputTokens": 10}}),
    ("gemini", GENERATED | {"usage": COUNTS}),
    ("gemini", GENERATED | {"usage": CAMEL}),
    ("gemini", {"response": GENERATED | {"usageMetadata": GEMINIS}}),
    ("gemini", {"response": GENERATED | {"usage_metadata": {"prompt_token_count": 20, "candidates_token_count": 10}}}),
]  # fmt: skip


def _read(dialect: str, body: bytes) -> Reading:
    return reader(dialect, "acme").answer(lenient.answer(body), Context(provider="acme", model="m"))


@each_row(("dialect", "answer"), PLACES)
@each_row("form", ["whole", "event", "events"])
def test_a_usage_is_found(dialect: str, answer: dict[str, Any], form: str) -> None:
    event = b"data: " + orjson.dumps(answer) + b"\n\n"
    body = {"whole": orjson.dumps(answer), "event": event, "events": event + b"data: [DONE]\n\n"}[form]
    reading = _read(dialect, body)
    assert (reading.source, dict(reading.usage)) == ("provider", {"input": 20, "output": 10})


def test_a_usage_beside_its_delta_ends_a_message() -> None:
    start = {"type": "message_start", "message": MESSAGE | {"usage": {"input_tokens": 20, "output_tokens": 1}}}
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "usage": {"output_tokens": 10}}}
    body = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in (start, delta, {"type": "message_stop"}))
    assert dict(_read("anthropic.messages", body).usage) == {"input": 20, "output": 10}


def test_a_usage_beside_its_response_is_that_responses() -> None:
    response = {"object": "response", "status": "completed", "output": []}
    event = {"type": "response.completed", "response": response, "usage": {"input_tokens": 20, "output_tokens": 10}}
    assert dict(_read("openai.responses", b"data: " + orjson.dumps(event) + b"\n\n").usage) == {
        "input": 20,
        "output": 10,
    }


@pytest.mark.parametrize("place", ["metadata", "request", "arguments", "input", "error", "errors", "detail"])
def test_what_a_client_or_a_model_made_up_is_no_usage(place: str) -> None:
    assert _read("openai.chat", orjson.dumps(CHAT | {place: {"usage": COUNTS}})).source == "none"


@pytest.mark.parametrize("place", ["delta", "arguments"])
def test_the_arguments_of_a_tools_call_are_no_usage(place: str) -> None:
    """Of a stream that breaks off behind them."""
    events = [
        {"type": "response.created", "response": {"object": "response", "status": "in_progress", "output": []}},
        {"type": f"response.mcp_call.arguments.{place}", place: {"usage": {"total_tokens": 1}}},
    ]
    body = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)
    assert _read("openai.responses", body).source == "none"


def test_others_counts_of_a_message_that_broke_off_are_not_the_last_word() -> None:
    start = {
        "type": "message_start",
        "message": MESSAGE | {"usage": COUNTS | {"completion_tokens": 1, "total_tokens": 21}},
    }
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello " * 100}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": COUNTS}
    body = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in (start, text))
    assert _read("anthropic.messages", body).source == "partial"
    reading = _read("anthropic.messages", body + b"data: " + orjson.dumps(end) + b"\n\n")
    assert (reading.source, dict(reading.usage)) == ("provider", {"input": 20, "output": 10})


@pytest.mark.parametrize("usage", [{}, {"queueTime": 1}, {"prompt": 20}, {f"prompt_tokens_{n}": 1 for n in range(100)}])
def test_what_states_no_counts_is_left_as_it_is(usage: dict[str, Any]) -> None:
    assert in_openais_words(usage) is usage
    assert not states_counts(usage)


def test_details_are_named_too() -> None:
    usage = CAMEL | {"promptTokensDetails": {"cachedTokens": 5}, "completionTokensDetails": {"reasoningTokens": 4}}
    reading = _read("openai.chat", orjson.dumps(CHAT | {"usage": usage}))
    assert dict(reading.usage) == {"cache_read": 5, "input": 15, "reasoning": 4, "output": 6}
