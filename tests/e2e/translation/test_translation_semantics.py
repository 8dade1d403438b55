"""What a call asks for beside words, at every provider: it reaches the provider, or is left out by name, or is refused by name.

The fakes say what they got; OpenAI's refuses fields that it does not know, as the real one does.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any

import pytest

from tests.support import clouds
from tests.support.translation_rig import CHAT_TOOL, KEY, MESSAGES_TOOL, MODELS, RESPONSES_TOOL, Rig

PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
CLAUDES = ("anthropic", "bedrock", "bedrock-invoke", "vertex-claude")
GEMINIS = ("vertex", "gemini")
NATIVE = {("chat", "openai"), ("messages", "anthropic"), ("responses", "openai")}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {
    "type": "object",
    "properties": {"animal": {"type": "string"}},
    "required": ["animal"],
    "additionalProperties": False,
}
LONG = "Zebras. " * 1500  # long enough for a prompt cache anywhere


def body_of(caller: str, provider: str, said: str, **more: Any) -> dict[str, Any]:
    cap = {"chat": "max_tokens", "responses": "max_output_tokens", "messages": "max_tokens"}[caller]
    body: dict[str, Any] = {"model": provider, cap: 4000}
    if caller == "responses":
        body |= {"input": said, "store": False}
    else:
        body["messages"] = user(said)
    return body | more


def pairs(*providers: str, callers: Iterable[str] = PATHS, odd: int = 0) -> Any:
    """Half of all pairs of a caller and a provider, as on a chessboard; TRANSLATION=all has them all."""
    every = os.environ.get("TRANSLATION") == "all"
    chosen = [
        (caller, provider)
        for row, caller in enumerate(callers)
        for column, provider in enumerate(providers or MODELS)
        if (caller, provider) not in NATIVE and (every or (row + column) % 2 == odd)
    ]
    return pytest.mark.parametrize(("caller", "provider"), chosen)


def user(content: Any) -> list[Any]:
    return [{"role": "user", "content": content}]


IMAGES = {
    "chat": {"messages": user([{"type": "text", "text": "What?"},
                               {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}])},
    "responses": {"input": user([{"type": "input_text", "text": "What?"},
                                 {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}])},
    "messages": {"messages": user([{"type": "text", "text": "What?"},
                                   {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}])},
}  # fmt: skip


@pairs(*CLAUDES, *GEMINIS, "openai", "azure", "mistral")
def test_a_picture_reaches_every_provider(rig: Rig, caller: str, provider: str) -> None:
    answer = rig.post(PATHS[caller], body_of(caller, provider, "", **IMAGES[caller]))

    assert answer.status_code == 200, answer.text
    assert PNG in json.dumps(rig.asked(provider))
    assert "x-taximeter-dropped-fields" not in answer.headers


TRIED = {
    "chat": {"tools": [CHAT_TOOL], "messages": [
        *user("TOOL"),
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": f"call{i}", "type": "function", "function": {"name": "look", "arguments": f'{{"n": {i}}}'}} for i in (0, 1)
        ]},
        {"role": "tool", "tool_call_id": "call0", "content": "zero"},
        {"role": "tool", "tool_call_id": "call1", "content": "one"},
    ]},
    "responses": {"tools": [RESPONSES_TOOL], "input": [
        *user("TOOL"),
        *({"type": "function_call", "call_id": f"call{i}", "name": "look", "arguments": f'{{"n": {i}}}'} for i in (0, 1)),
        {"type": "function_call_output", "call_id": "call0", "output": "zero"},
        {"type": "function_call_output", "call_id": "call1", "output": "one"},
    ]},
    "messages": {"tools": [MESSAGES_TOOL], "messages": [
        *user("TOOL"),
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": f"call{i}", "name": "look", "input": {"n": i}} for i in (0, 1)
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call0", "content": "zero"},
            {"type": "tool_result", "tool_use_id": "call1", "content": [{"type": "text", "text": "one"}]},
        ]},
    ]},
}  # fmt: skip


@pairs(odd=1)
def test_calls_side_by_side_and_their_results_go_back(rig: Rig, caller: str, provider: str) -> None:
    answer = rig.post(PATHS[caller], body_of(caller, provider, "", **TRIED[caller]))

    assert answer.status_code == 200, answer.text
    sent = json.dumps(rig.asked(provider))
    assert [word in sent for word in ("zero", "one", "look")] == [True] * 3
    assert sent.index("zero") < sent.index('"one"')


# What a call asks for, which providers have it in their request as what, and what the others make of it.
THINKING = {
    "chat": {"reasoning_effort": "low"},
    "responses": {"reasoning": {"effort": "low", "summary": "auto"}},
    "messages": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
}
BUDGETS = {
    **{name: {"type": "enabled", "budget_tokens": 1024} for name in CLAUDES},
    **{name: {"thinkingBudget": 1024, "includeThoughts": True} for name in GEMINIS},
}


def found(value: Any, names: tuple[str, ...]) -> Any:
    """The first value of one of these names, wherever it stands."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in names:
                return inner
            if (deeper := found(inner, names)) is not None:
                return deeper
    for inner in value if isinstance(value, list) else ():
        if (deeper := found(inner, names)) is not None:
            return deeper
    return None


@pairs(*(name for name in MODELS if name != "bedrock-invoke"))
def test_a_budget_for_thoughts_is_the_providers_or_is_named(rig: Rig, caller: str, provider: str) -> None:
    """And thoughts come back where each dialect has them, apart from the answer."""
    answer = rig.post(PATHS[caller], body_of(caller, provider, "THINK", **THINKING[caller]))

    assert answer.status_code == 200, answer.text
    thought = found(rig.asked(provider), ("thinking", "thinkingConfig", "reasoning", "reasoning_effort"))
    dropped = answer.headers.get("x-taximeter-dropped-fields", "")
    told = answer.json()
    if provider in BUDGETS:
        assert (thought, dropped) == (BUDGETS[provider], "")
        place = {
            "chat": lambda: told["choices"][0]["message"]["reasoning_content"],
            "responses": lambda: told["output"][0]["summary"][0]["text"],
            "messages": lambda: told["content"][0]["thinking"],
        }[caller]
        assert place() == clouds.THOUGHT
        assert text_of(caller, told) == clouds.TEXT
    else:
        assert (thought is None) == (dropped == next(iter(THINKING[caller])))


def text_of(caller: str, told: dict[str, Any]) -> str:
    if caller == "chat":
        return str(told["choices"][0]["message"]["content"])
    if caller == "responses":
        return "".join(part["text"] for item in told["output"] if item["type"] == "message" for part in item["content"])
    return "".join(block["text"] for block in told["content"] if block["type"] == "text")


MARK = {"type": "ephemeral", "ttl": "1h"}
MARKED = {
    "chat": {"messages": [{"role": "system", "content": [{"type": "text", "text": LONG, "cache_control": MARK}]},
                          *user([{"type": "text", "text": "Hello.", "cache_control": {"type": "ephemeral"}}])]},
    "messages": {"system": [{"type": "text", "text": LONG, "cache_control": MARK}], "tools": [MESSAGES_TOOL | {"cache_control": MARK}],
                 "messages": user([{"type": "text", "text": "Hello.", "cache_control": {"type": "ephemeral"}}])},
}  # fmt: skip


@pairs(callers=MARKED)
def test_marks_of_a_prompts_cache_reach_who_has_them_and_stop_nobody(rig: Rig, caller: str, provider: str) -> None:
    """LiteLLM would ask Gemini to make a cache of its own first; OpenAI's hosts refuse a field that they do not know."""
    answer = rig.post(PATHS[caller], body_of(caller, provider, "", **MARKED[caller]))

    assert answer.status_code == 200, answer.text
    sent = json.dumps(rig.asked(provider))
    marks = sent.count('"ttl": "1h"')
    if (caller, provider) == (
        "messages",
        "bedrock-invoke",
    ):  # an old model there has no other lifetime than five minutes
        assert answer.headers["x-taximeter-dropped-fields"] == "cache_control.ttl"
        assert "ephemeral" in sent
    elif provider in CLAUDES:
        assert marks == (1 if caller == "chat" else 2), sent[-500:]
    else:
        assert "ephemeral" not in sent
        assert answer.headers["x-taximeter-dropped-fields"] == "cache_control"


JSON_SCHEMA = {"name": "animals", "schema": SCHEMA, "strict": True}
SCHEMAS = {
    "chat": {"response_format": {"type": "json_schema", "json_schema": JSON_SCHEMA}},
    "responses": {"text": {"format": {"type": "json_schema", **JSON_SCHEMA}}},
    "messages": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
}


@pairs(odd=0)
def test_an_answers_schema_reaches_the_provider_or_the_call_is_refused(rig: Rig, caller: str, provider: str) -> None:
    billed = rig.bill()

    answer = rig.post(PATHS[caller], body_of(caller, provider, "Name one.", **SCHEMAS[caller]))

    if provider == "cohere" or (caller, provider) == ("messages", "bedrock-invoke"):
        assert answer.status_code == 400, answer.text
        assert {"chat": "response_format", "responses": "text.format", "messages": "output_config.format"}[
            caller
        ] in answer.text
        assert rig.bill() == billed
    else:
        assert answer.status_code == 200, answer.text
        assert "additionalProperties" in json.dumps(rig.asked(provider))


@pytest.mark.parametrize("provider", MODELS)
def test_any_json_is_asked_for_or_named(rig: Rig, provider: str) -> None:
    if provider in ("openai", "cohere"):
        return
    answer = rig.post(
        PATHS["chat"], body_of("chat", provider, "JSON, please.", response_format={"type": "json_object"})
    )

    assert answer.status_code == 200, answer.text
    asked = found(rig.asked(provider), ("response_format", "response_mime_type")) is not None
    assert asked == (provider not in CLAUDES)
    assert answer.headers.get("x-taximeter-dropped-fields") == (None if asked else "response_format")


CHOICES = {
    "chat": {
        "tools": [CHAT_TOOL],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": False,
    },
    "responses": {
        "tools": [RESPONSES_TOOL],
        "tool_choice": {"type": "function", "name": "look"},
        "parallel_tool_calls": False,
    },
    "messages": {
        "tools": [MESSAGES_TOOL],
        "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
    },
}


@pairs(odd=1)
def test_a_tool_that_must_be_called_is_said_to_the_provider_or_the_call_is_refused(
    rig: Rig, caller: str, provider: str
) -> None:
    answer = rig.post(PATHS[caller], body_of(caller, provider, "TOOL", **CHOICES[caller]))

    if provider == "cohere":
        assert answer.status_code == 400, answer.text
        assert "tool_choice" in answer.text
        return
    assert answer.status_code == 200, answer.text
    sent = rig.asked(provider)
    choice = found(sent.get("toolConfig", sent), ("tool_choice", "toolChoice", "functionCallingConfig"))
    assert "look" in json.dumps(choice), sent
    alone = found(sent, ("parallel_tool_calls", "disable_parallel_tool_use"))
    name = "tool_choice.disable_parallel_tool_use" if caller == "messages" else "parallel_tool_calls"
    assert answer.headers.get("x-taximeter-dropped-fields") == (name if alone is None else None)


STOPS = {
    "LENGTH": {"chat": "length", "responses": "incomplete", "messages": "max_tokens"},
    "REFUSE": {"chat": "content_filter", "responses": "incomplete", "messages": "refusal"},
}


@pairs(odd=1)
@pytest.mark.parametrize("why", STOPS)
def test_why_an_answer_ends_is_told_in_the_callers_words(rig: Rig, caller: str, provider: str, why: str) -> None:
    if (provider, why) == ("cohere", "REFUSE"):
        return  # it has no word for that
    told = rig.post(PATHS[caller], body_of(caller, provider, why)).json()
    streamed = rig.post(PATHS[caller], body_of(caller, provider, why, stream=True)).text

    stop = {
        "chat": lambda: told["choices"][0]["finish_reason"],
        "responses": lambda: told["status"],
        "messages": lambda: told["stop_reason"],
    }[caller]
    assert stop() == STOPS[why][caller], told
    name = {"chat": "finish_reason", "responses": "status", "messages": "stop_reason"}[caller]
    assert re.findall(rf'"{name}": ?"(\w+)"', streamed)[-1] == STOPS[why][caller], streamed
    assert clouds.TEXT.split()[-1] in streamed


@pairs(*(name for name in MODELS if name not in ("anthropic", "bedrock-invoke", "vertex-claude")), odd=1)
@pytest.mark.parametrize("stream", [False, True])
def test_an_end_that_is_a_failure_is_an_error_and_is_billed(rig: Rig, caller: str, provider: str, stream: bool) -> None:
    """LiteLLM takes a provider's word for it for an ordinary end (Claude has none; OpenAI's Responses say it by their status)."""
    if (caller == "responses" and provider in ("azure", "openai")) or (caller, provider) == ("messages", "bedrock"):
        return  # Claude's messages go to Bedrock as they are
    billed = rig.bill().get(provider, {"nanousd": 0})["nanousd"]

    answer = rig.post(PATHS[caller], body_of(caller, provider, "FAILURE", stream=stream))

    assert "ended its answer with" in answer.text
    assert not re.search(r'"(?:stop|end_turn)"|response.completed', answer.text), answer.text
    entry = rig.entry(answer.headers["x-taximeter-request-id"])
    assert entry["outcome"] == "upstream_error"
    assert round(float(entry["cost_usd"]) * 1e9) == rig.bill()[provider]["nanousd"] - billed > 0
    if stream:
        assert clouds.TEXT.split()[0] in answer.text
    else:
        assert answer.status_code == 502


@pairs(odd=0)
def test_no_field_of_litellms_own_is_in_an_answer(rig: Rig, caller: str, provider: str) -> None:
    for more in ({}, {"stream": True}):
        answer = rig.post(PATHS[caller], body_of(caller, provider, "THINK", **more, **THINKING[caller]))

        assert answer.status_code == 200, answer.text
        for word in ("provider_specific_fields", "vertex_ai_", '"cost"', "_hidden_params", "litellm"):
            assert word not in answer.text, (word, answer.text)


@pairs(odd=1)
def test_a_no_is_the_providers_own_in_the_callers_dialect(rig: Rig, caller: str, provider: str) -> None:
    billed = rig.bill()
    for text, status, words in (("BUSY", 429, "Too many requests, said the"), ("WRONG", 400, "does not like this")):
        for stream in (False, True):
            answer = rig.post(PATHS[caller], body_of(caller, provider, text, stream=stream))

            assert answer.status_code == status, answer.text
            assert words in answer.json()["error"]["message"]
            assert answer.json().get("type") == ("error" if caller == "messages" else None)
            assert answer.headers.get("retry-after") == ("7" if status == 429 else None)
    assert rig.bill() == billed


@pytest.mark.parametrize("provider", [*CLAUDES, *GEMINIS])
def test_no_cap_is_sent_that_is_higher_than_the_ceiling(rig: Rig, provider: str) -> None:
    """Thinking that needs more room than its cap leaves: what is sent asks for no more than was reserved."""
    body = body_of("chat", provider, "THINK", thinking={"type": "enabled", "budget_tokens": 20_000}) | {
        "max_tokens": 1000
    }

    answer = rig.post(PATHS["chat"], body)

    if answer.status_code == 200:
        cap = found(rig.asked(provider), ("max_tokens", "maxTokens", "max_output_tokens", "maxOutputTokens"))
        assert cap is not None
        assert cap <= 1000
    else:
        assert answer.json()["error"]["code"] == "unbounded_cost", answer.text


def test_thoughts_of_another_model_are_no_field_that_openai_does_not_know(rig: Rig) -> None:
    """Claude Code sends back what a model thought with its tools' results."""
    content = [{"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk"}, {"type": "text", "text": "Zebras."}]
    messages = [*user("Hello."), {"role": "assistant", "content": content}, *user("Again.")]
    for provider in ("openai", "azure", "mistral"):
        for more in ({}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}):
            answer = rig.post(PATHS["messages"], body_of("messages", provider, "", messages=messages, **more))

            assert answer.status_code == 200, answer.text
            assert "messages.thinking" in answer.headers["x-taximeter-dropped-fields"]
            assert "Hm." not in json.dumps(rig.asked(provider))


def test_a_header_names_what_was_left_out_of_a_stream_too(rig: Rig) -> None:
    body = body_of("messages", "openai", "Hello.", stop_sequences=["zz"], stream=True)

    answer = rig.post(PATHS["messages"], body)

    assert answer.headers["x-taximeter-dropped-fields"] == "stop_sequences"
    assert clouds.TEXT.split()[0] in answer.text
    assert KEY not in answer.text
