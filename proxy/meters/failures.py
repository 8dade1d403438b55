"""Whether an answer is an error, whatever its status, by the shapes that providers and gateways use for errors.

A gateway that has begun a stream can only say in an event that its upstream failed; some answer 200 with an error in the
body. What failed before anything was written is not billed by anybody.
Shapes: OpenAI and what imitates it `error`; Anthropic and OpenAI's streams `type: error` (openai SDK
`types/responses/response_error_event.py`); OpenRouter `error` beside or in `choices` (openrouter.ai/docs/api-reference/errors);
old vLLM `object: error`; MiniMax `base_resp.status_code` (platform.minimax.io); DashScope and Cohere `code`/`message`;
FastAPI servers `detail`; Bedrock's streams `…Exception` (ConverseStreamOutput). Beside pictures `error` says that some of them
were kept back (Amazon Nova Canvas, Titan).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pricing.output_texts import final_texts, output_texts
from proxy.meters.reading_builder import items, mapping, number, text

_BEDROCK = frozenset({
    "internalServerException", "modelStreamErrorException", "modelTimeoutException", "serviceUnavailableException",
    "throttlingException", "validationException",
})  # fmt: skip
# What only an answer has: beside one of these, `code` or `message` mean something else.
_CODES = ("code", "status", "status_code", "error_code", "__type", "type")
_FINE = (None, 0, "0", 200, "200", "")
_ANSWERS = ("choices", "output", "content", "candidates", "usage", "usageMetadata", "data", "id", "done", "response")


# Of what most answers of chats are made: none of these says that anything failed, where there are choices.
_CHATS = frozenset({"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"})


def is_failure(event: Mapping[str, Any]) -> bool:
    """Whether one event, or a whole response, says that the call failed."""
    if _CHATS.issuperset(event) and event.get("object") != "error" and (choices := event.get("choices")):
        for choice in items(choices):
            if _failed(choice):
                return True
        return False
    if (
        (event.get("error") and not event.get("images"))
        or event.get("type") == "error"
        or event.get("object") == "error"
    ):
        return True
    if any(map(_failed, items(event.get("choices")))):
        return True
    response = mapping(event.get("response")) if "type" in event else event
    if response.get("object") == "response" and response.get("status") == "failed":
        return True
    if "base_resp" in event and number(mapping(event["base_resp"]).get("status_code")):
        return True
    if not _BEDROCK.isdisjoint(event):
        return True
    return _bare_failure(event)


def _failed(choice: Any) -> bool:
    return isinstance(choice, dict) and bool(choice.get("error") or choice.get("finish_reason") == "error")


def _bare_failure(event: Mapping[str, Any]) -> bool:
    """An object that has a reason and nothing of an answer: `{"code": …, "message": …}`, `{"detail": …}`."""
    for name in _ANSWERS:
        if event.get(name) is not None:
            return False
    if event.get("detail") or event.get("errors") or event.get("error_msg"):
        return True
    if text(event.get("message")) is None and text(event.get("msg")) is None:
        return False
    return event.get("success") is False or any(event.get(name) not in _FINE for name in _CODES)


def wrote(event: object) -> bool:
    """Whether a model wrote something in one event or response."""
    return any(True for _ in output_texts(event)) or any(True for _ in final_texts(event))
