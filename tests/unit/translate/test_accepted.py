"""What of a body is passed on to LiteLLM, and what becomes of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import Refused
from proxy.translate.accepted import PASSED, accepted, without_unsupported

# LiteLLM takes these by the same way as a call's fields; the list is of its own documentation of `completion`.
LITELLMS_OWN = [
    "api_base", "api_key", "api_version", "base_url", "custom_llm_provider", "mock_response", "fallbacks", "num_retries",
    "extra_headers", "extra_body", "metadata", "callbacks", "model_list", "input_cost_per_token", "aws_role_name",
    "vertex_credentials", "litellm_params", "caching", "headers", "organization", "deployment_id", "client",
    "aws_bedrock_runtime_endpoint", "guardrails", "context_window_fallback_dict", "timeout", "drop_params",
    "allowed_openai_params", "mock_tool_calls", "no-log", "logger_fn", "shared_session", "max_retries",
]  # fmt: skip


@pytest.mark.parametrize("operation", sorted(PASSED))
def test_nothing_of_litellms_own_is_a_clients_to_say(operation: str) -> None:
    assert PASSED[operation].isdisjoint(LITELLMS_OWN)


@pytest.mark.parametrize("operation", sorted(PASSED))
def test_an_unknown_field_is_dropped_by_name(operation: str) -> None:
    passed, dropped = accepted(operation, {"model": "m", "invented": 1, "api_base": "http://elsewhere"})

    assert passed == {}
    assert dropped == ["invented", "api_base"]


def test_nothing_is_said_of_a_null() -> None:
    assert accepted("chat", {"model": "m", "messages": [], "seed": None, "audio": None}) == ({"messages": []}, [])


@pytest.mark.parametrize(
    ("operation", "field", "value"),
    [
        ("chat", "audio", {"voice": "alloy", "format": "wav"}),
        ("chat", "web_search_options", {"search_context_size": "low"}),
        ("responses", "previous_response_id", "resp_1"),
        ("responses", "background", True),
        ("messages", "container", "c"),
        ("messages", "speed", "fast"),
    ],
)
def test_a_field_that_makes_another_answer_is_refused(operation: str, field: str, value: Any) -> None:
    with pytest.raises(Refused, match="invalid_request_error") as refused:
        accepted(operation, {"model": "m", field: value})

    assert refused.value.refusal.param == field


@pytest.mark.parametrize(
    ("operation", "hosted", "own"),
    [
        ("responses", {"type": "web_search"}, {"type": "function", "name": "f"}),
        ("messages", {"type": "web_search_20250305", "name": "web_search"}, {"name": "f", "input_schema": {}}),
        ("messages", {"type": "code_execution_20250825", "name": "c"}, {"type": "bash_20250124", "name": "bash"}),
        ("chat", {"type": "mcp", "server_url": "https://example.com"}, {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_a_providers_own_tools_are_left_out(operation: str, hosted: dict[str, Any], own: dict[str, Any]) -> None:
    both, dropped = accepted(operation, {"model": "m", "tools": [hosted, own]})
    alone, _ = accepted(operation, {"model": "m", "tools": [hosted], "tool_choice": "auto"})

    assert both["tools"] == [own]
    assert dropped == [f"tools.{hosted['type']}"]
    assert alone == {}


def test_what_the_provider_does_not_know_is_dropped_or_refused() -> None:
    passed: dict[str, Any] = {"messages": [], "seed": 1, "n": 1, "temperature": 0.5}

    assert without_unsupported(passed, ["temperature"]) == ["seed"]
    assert passed == {"messages": [], "temperature": 0.5}
    with pytest.raises(Refused):
        without_unsupported({"messages": [], "response_format": {"type": "json_object"}}, ["temperature"])
