"""Why a provider ended its answer, in its own word. LiteLLM takes a failure, and any word that it does not know, for an
ordinary end, and overlooks Cohere's in streams (1.110.2). Pure.

Words: docs.cohere.com, chat v2 (`finish_reason`); ai.google.dev/api/generate-content (`FinishReason`); Bedrock Runtime API
reference (`StopReason`); docs.mistral.ai and cloud.ibm.com/apidocs/watsonx-ai, chat; docs.claude.com, stop reasons (2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Before a reason that is one, and no null.
MARK = re.compile(rb'"(?:finish_?[rR]eason|stop_?[rR]eason)"\s*:\s*"')
_NAMES = ("finish_reason", "stop_reason", "finishReason", "stopReason")

_FAILED = frozenset({
    "ERROR", "TIMEOUT", "error", "network_error", "time_limit", "cancelled", "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE",
    "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE", "malformed_model_output", "malformed_tool_use",
})  # fmt: skip
_LENGTH = frozenset({"MAX_TOKENS", "max_tokens", "length", "model_length", "model_context_window_exceeded"})
_FILTERED = frozenset({
    "content_filter", "content_filtered", "refusal", "guardrail_intervened", "ERROR_TOXIC", "SAFETY", "RECITATION", "BLOCKLIST",
    "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
})  # fmt: skip
# For an end that LiteLLM takes for an ordinary one: OpenAI's word in chats, in Responses, and Anthropic's.
_WORDS_OF = {"length": ("max_output_tokens", "max_tokens"), "content_filter": ("content_filter", "refusal")}


def reason_in(value: Any) -> str:
    """The reason that an event, or a whole answer, has; "" where it has none."""
    for place in _places(value):
        for name in _NAMES:
            if isinstance(reason := place.get(name), str) and reason:
                return reason
    return ""


def _places(value: Any) -> Iterator[Mapping[str, Any]]:
    if not isinstance(value, dict):
        return
    inner = [value.get(name) for name in ("delta", "messageStop")]
    inner += [pieces[0] for name in ("choices", "candidates") if isinstance(pieces := value.get(name), list) and pieces]
    yield from (place for place in (value, *inner) if isinstance(place, dict))


def failed(reason: str) -> bool:
    """Whether it says that the answer is none."""
    return reason in _FAILED


def is_end(operation: str, fields: Mapping[str, Any]) -> bool:
    """Whether a translated answer, or an event of one, says that it has ended, and why."""
    if operation == "chat":
        return any(isinstance(one, dict) and one.get("finish_reason") for one in fields.get("choices") or ())
    if operation == "responses":
        return _response_in(fields).get("status") == "completed" and fields.get("type") in (None, "response.completed")
    return any(isinstance(place, dict) and place.get("stop_reason") for place in (fields, fields.get("delta")))


def _response_in(fields: Mapping[str, Any]) -> Any:
    response = fields.get("response", fields)
    return response if isinstance(response, dict) else {}


def correct(operation: str, fields: dict[str, Any], reason: str) -> None:
    """Tell the reason in an end (`is_end`) that is told as one that is as it should be."""
    word = "length" if reason in _LENGTH else "content_filter" if reason in _FILTERED else ""
    if not word:
        return
    of_responses, of_messages = _WORDS_OF[word]
    if operation == "responses":
        _response_in(fields).update(status="incomplete", incomplete_details={"reason": of_responses})
        if "response" in fields:
            fields["type"] = "response.incomplete"
        return
    for choice in fields.get("choices") or ():
        if isinstance(choice, dict) and choice.get("finish_reason") == "stop":
            choice["finish_reason"] = word
    for place in (fields, fields.get("delta")):
        if isinstance(place, dict) and place.get("stop_reason") == "end_turn":
            place["stop_reason"] = of_messages
