"""Why a provider ended its answer: found where each API says it, and told where LiteLLM tells an ordinary end."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.translate.ends import MARK, correct, failed, is_end, reason_in


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"finish_reason": "ERROR"}, "ERROR"),
        ({"type": "message-end", "delta": {"finish_reason": "MAX_TOKENS"}}, "MAX_TOKENS"),
        ({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}, "MALFORMED_FUNCTION_CALL"),
        ({"messageStop": {"stopReason": "malformed_tool_use"}}, "malformed_tool_use"),
        ({"choices": [{"finish_reason": "error", "delta": {}}]}, "error"),
        ({"type": "message_delta", "delta": {"stop_reason": "refusal"}}, "refusal"),
        ({"choices": [{"finish_reason": None}]}, ""),
        ({"candidates": [{"content": {"parts": [{"functionCall": {"args": {"finishReason": "ERROR"}}}]}}]}, ""),
        ({"choices": [5], "delta": "x", "candidates": []}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_a_reason_is_where_its_api_has_it(event: Any, reason: str) -> None:
    assert reason_in(event) == reason


def test_what_a_model_writes_is_no_reason() -> None:
    assert MARK.search(rb'{"text": "\"finish_reason\": \"ERROR\""}') is None
    assert MARK.search(b'{"finish_reason": null}') is None


@pytest.mark.parametrize("reason", ["ERROR", "TIMEOUT", "error", "MALFORMED_FUNCTION_CALL", "malformed_model_output"])
def test_a_failure_is_no_end(reason: str) -> None:
    assert failed(reason)


@pytest.mark.parametrize("reason", ["", "COMPLETE", "STOP", "end_turn", "STOP_SEQUENCE", "an_end_of_next_year"])
def test_other_ends_are_told_as_they_were(reason: str) -> None:
    event = {"choices": [{"finish_reason": "stop"}]}
    correct("chat", event, reason)

    assert not failed(reason)
    assert event == {"choices": [{"finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("operation", "fields", "told"),
    [
        ("chat", {"choices": [{"finish_reason": "stop"}]}, {"choices": [{"finish_reason": "length"}]}),
        ("chat", {"choices": [{"finish_reason": "tool_calls"}]}, {"choices": [{"finish_reason": "tool_calls"}]}),
        (
            "responses",
            {"type": "response.completed", "response": {"status": "completed", "output": []}},
            {"type": "response.incomplete", "response": {
                "status": "incomplete", "output": [], "incomplete_details": {"reason": "max_output_tokens"}}},
        ),
        (
            "responses",
            {"status": "completed", "output": []},
            {"status": "incomplete", "output": [], "incomplete_details": {"reason": "max_output_tokens"}},
        ),
        ("messages", {"stop_reason": "end_turn"}, {"stop_reason": "max_tokens"}),
        ("messages", {"delta": {"stop_reason": "end_turn"}}, {"delta": {"stop_reason": "max_tokens"}}),
    ],
)  # fmt: skip
def test_an_answer_that_was_cut_says_so(operation: str, fields: dict[str, Any], told: dict[str, Any]) -> None:
    assert is_end(operation, fields)
    correct(operation, fields, "MAX_TOKENS")

    assert fields == told


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("chat", {"choices": [{"finish_reason": None}]}),
        ("chat", {}),
        ("responses", {"type": "response.created", "response": {"status": "in_progress"}}),
        ("responses", {"type": "response.output_item.done", "item": {"status": "completed"}}),
        ("messages", {"type": "message_start", "message": {"stop_reason": None}}),
    ],
)
def test_what_is_no_end_is_none(operation: str, fields: dict[str, Any]) -> None:
    assert not is_end(operation, fields)
