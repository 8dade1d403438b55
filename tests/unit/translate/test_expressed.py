"""What was asked for and has left no trace in a provider's request, and what is taken out before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.errors import Refused
from proxy.translate.expressed import missing, prepared, wishes
from tests.support.rows import each_row

TOOL = {"tools": [{"type": "function", "function": {"name": "f"}}]}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}
BARE: dict[str, Any] = {
    "messages": [{"role": "user", "content": 'say "temperature": 1, \\"tool_choice\\": and "format": {}'}]
}


def lost(operation: str, passed: dict[str, Any], sent: dict[str, Any]) -> list[tuple[str, bool]]:
    asked = wishes(operation, passed)
    return [(wish.name, wish.needed) for wish in missing(asked, json.dumps(sent).encode(), sent)]


@each_row(
    ("operation", "passed", "wish"),
    [
        ("chat", {"response_format": SCHEMA}, ("response_format", True)),
        ("chat", {"response_format": {"type": "json_object"}}, ("response_format", False)),
        ("chat", {**TOOL, "tool_choice": "required"}, ("tool_choice", True)),
        ("chat", {**TOOL, "tool_choice": "none"}, ("tool_choice", False)),
        ("chat", {**TOOL, "parallel_tool_calls": False}, ("parallel_tool_calls", False)),
        ("chat", {"reasoning_effort": "low"}, ("reasoning_effort", False)),
        ("chat", {"stop": ["x"]}, ("stop", False)),
        ("chat", {"temperature": 0}, ("temperature", False)),
        ("chat", {"service_tier": "flex"}, ("service_tier", False)),
        ("responses", {"text": {"format": SCHEMA}}, ("text.format", True)),
        ("responses", {"reasoning": {"effort": "high"}}, ("reasoning", False)),
        ("responses", {"truncation": "x"}, ("truncation", False)),
        ("messages", {"output_config": {"format": SCHEMA}}, ("output_config.format", True)),
        ("messages", {"output_config": {"effort": "low"}}, ("output_config.effort", False)),
        ("messages", {**TOOL, "tool_choice": {"type": "any"}}, ("tool_choice", True)),
        ("messages", {"thinking": {"type": "adaptive"}}, ("thinking", False)),
        ("messages", {"stop_sequences": ["x"]}, ("stop_sequences", False)),
        ("messages", {"top_k": 3}, ("top_k", False)),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"cache_control": {"ttl": "1h"}}]}]},
            ("cache_control.ttl", False),
        ),
    ],
)
def test_what_left_no_trace_is_named(operation: str, passed: dict[str, Any], wish: tuple[str, bool]) -> None:
    """Words of a text are no trace: a quote in one has a backslash before it."""
    assert lost(operation, passed, BARE) == [wish]


OWN = {
    "format": {"type": "string", "enum": ["celsius"]}, "temperature": {"type": "number"}, "stop": {"type": "string"},
    "tool_choice": {"type": "string"}, "response_format": {}, "effort": {}, "thinking": {}, "p": {}, "service_tier": {},
}  # fmt: skip
ASKED = {
    "response_format": SCHEMA, "tool_choice": "required", "temperature": 0.5, "top_p": 0.5, "stop": ["x"],
    "reasoning_effort": "low", "service_tier": "flex",
}  # fmt: skip


@pytest.mark.parametrize(
    "sent",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": OWN}}}]},
        {"tools": [{"name": "f", "input_schema": {"properties": OWN}}]},
        {"tools": [{"function_declarations": [{"name": "f", "parameters": {"properties": OWN}}]}]},
        {"toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"properties": OWN}}}}]}},
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": OWN}]}]},
        {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": OWN}}]}]},
        {"metadata": dict.fromkeys(OWN, "x"), 'x","temperature': 1, "\ud800": 1},
    ],
)
def test_names_that_a_caller_chose_are_no_trace(sent: dict[str, Any]) -> None:
    """A tool for the weather has a `format` and a `temperature`."""
    assert {name for name, _ in lost("chat", {**TOOL, **ASKED}, sent)} == set(ASKED)


def test_a_schema_of_the_answer_hides_nothing_beside_it() -> None:
    for where in (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"properties": OWN}}}},
        {"text": {"format": {"type": "json_schema", "schema": {"properties": OWN}}}},
        {"generationConfig": {"responseJsonSchema": {"properties": OWN}}},
        {"format": {"properties": OWN}},
    ):
        assert lost("chat", {"response_format": SCHEMA, "temperature": 1}, where) == [("temperature", False)]


@each_row(
    ("operation", "passed", "sent"),
    [
        ("chat", {"stop": ["x"], "temperature": 1}, {"parameters": {"stop": ["x"], "temperature": 1}}),
        ("chat", {"stop": ["x"], "temperature": 1}, {"options": {"stop": ["x"], "temperature": 1}}),
        ("chat", {"temperature": 1}, {"requests": [{"body": {"temperature": 1}}]}),
        ("messages", {"top_k": 3}, {"additionalModelRequestFields": {"top_k": 3}}),
        ("chat", {"response_format": SCHEMA}, {"output_format": {}}),
        ("chat", {"response_format": SCHEMA}, {"generationConfig": {"response_json_schema": {}}}),
        ("chat", {"response_format": SCHEMA}, {"tools": [{"name": "json_tool_call"}]}),
        ("chat", {"response_format": SCHEMA}, {"text": {"format": {"type": "json_schema"}}}),
        ("chat", {**TOOL, "tool_choice": "required"}, {"toolConfig": {"toolChoice": {"any": {}}}}),
        ("chat", {**TOOL, "tool_choice": "required"}, {"toolConfig": {"functionCallingConfig": {}}}),
        ("chat", {"reasoning_effort": "low"}, {"generationConfig": {"thinkingConfig": {}}}),
        ("chat", {"reasoning_effort": "low"}, {"output_config": {"effort": "low"}}),
        ("messages", {"stop_sequences": ["x"]}, {"inferenceConfig": {"stopSequences": ["x"]}}),
        ("messages", {"top_k": 3, "top_p": 0.5}, {"k": 3, "p": 0.5}),
    ],
)
def test_what_another_api_calls_it_is_a_trace(operation: str, passed: dict[str, Any], sent: dict[str, Any]) -> None:
    assert lost(operation, passed, sent) == []


@pytest.mark.parametrize(
    ("operation", "passed"),
    [
        (
            "chat",
            {"response_format": {"type": "text"}, "reasoning_effort": "none", "service_tier": "auto", "stop": None},
        ),
        ("chat", {"tool_choice": "required", "parallel_tool_calls": False}),
        ("chat", {**TOOL, "tool_choice": "auto", "parallel_tool_calls": True}),
        ("messages", {**TOOL, "tool_choice": {"type": "auto"}, "thinking": {"type": "disabled"}}),
        ("messages", {"messages": [{"role": "user", "content": [{"cache_control": {"type": "ephemeral"}}]}]}),
        (
            "responses",
            {"text": {"format": {"type": "text"}}, "reasoning": {"effort": "none"}, "truncation": "disabled"},
        ),
        ("embeddings", {"input": "x"}),
        ("chat", {"response_format": "odd", "tool_choice": 5, "thinking": [], "tools": None}),
    ],
)
def test_what_nobody_asked_for_is_not_missed(operation: str, passed: dict[str, Any]) -> None:
    assert lost(operation, passed, BARE) == []


def marked() -> dict[str, Any]:
    mark = {"cache_control": {"type": "ephemeral"}}
    return {
        "system": [{"type": "text", "text": "s", **mark}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x", **mark}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "content": [{"type": "text", "text": "y", **mark}], **mark}],
            },
        ],
        "tools": [{"name": "f", "input_schema": {"properties": {"cache_control": {"type": "string"}}}, **mark}],
    }


@pytest.mark.parametrize(
    ("provider", "model", "kept"),
    [
        ("anthropic", "claude-x", True),
        ("bedrock", "us.amazon.nova-pro-v1:0", True),
        ("vertex_ai", "vertex_ai/claude-x", True),
        ("vertex_ai", "vertex_ai/gemini-x", False),
        ("gemini", "gemini-x", False),
        ("azure", "gpt-x", False),
    ],
)
def test_marks_go_to_who_has_them(provider: str, model: str, kept: bool) -> None:
    before, passed = marked(), marked()

    dropped = prepared("messages", passed, provider, model)

    assert (passed == before) is kept
    assert dropped == ([] if kept else ["cache_control"])
    assert "cache_control" in passed["tools"][0]["input_schema"]["properties"]
    assert kept or "ephemeral" not in json.dumps(passed)


def test_thoughts_of_other_models_are_taken_out_of_a_conversation_alone() -> None:
    thoughts = [
        {"type": "thinking", "thinking": "t"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "text", "text": "x"},
    ]
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": thoughts}]
    asked: dict[str, Any] = {"messages": messages, "thinking": {"type": "enabled"}}
    told: dict[str, Any] = {
        "messages": [{"role": "assistant", "content": "x", "reasoning_content": "t", "thinking_blocks": []}]
    }

    assert prepared("messages", asked, "openai", "gpt-x") == ["messages.thinking"]
    assert asked["messages"] == [messages[0], {"role": "assistant", "content": [thoughts[2]]}]
    assert asked["thinking"] == {"type": "enabled"}
    assert prepared("chat", told, "azure", "gpt-x") == ["messages.thinking"]
    assert told["messages"] == [{"role": "assistant", "content": "x"}]
    assert prepared("messages", {"messages": messages}, "gemini", "gemini-x") == []


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"tools": [{"type": "function", "function": {"name": "json_tool_call"}}]}, True),
        ({"tools": [{"name": "json_tool_call", "input_schema": {}}]}, True),
        ({"toolConfig": {"tools": [{"toolSpec": {"name": "json_tool_call"}}]}}, True),
        ({"messages": [{"role": "user", "content": "json_tool_call"}]}, False),
        ({"tools": [{"name": "f", "description": "json_tool_call"}], "user": "json_tool_call"}, False),
    ],
)
def test_a_form_is_asked_for_by_a_tool_and_by_no_word(sent: dict[str, Any], told: bool) -> None:
    assert (lost("chat", {"response_format": SCHEMA}, sent) == []) == told


def test_a_callers_own_tool_hides_no_lost_form_and_no_call() -> None:
    own = {"tools": [{"type": "function", "function": {"name": "json_tool_call"}}]}
    with pytest.raises(Refused) as refused:
        prepared("chat", {**own, "response_format": SCHEMA}, "cohere_chat", "command-a-03-2025")

    assert refused.value.refusal.status == 400
    assert prepared("chat", dict(own), "cohere_chat", "command-a-03-2025") == []
