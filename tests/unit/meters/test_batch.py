"""A line of a batch is read as the call that it is, at half the price of its tokens: searches and tools are billed as ever."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pricing.load import load_book
from proxy.meters import Context, reader

BOOK = load_book()
COUNTS = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
TOLD = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
SEARCH = {"type": "web_search_call", "status": "completed", "action": {"type": "search"}}


def _cost(dialect: str, provider: str, model: str, line: dict[str, Any]) -> Decimal | None:
    reading = reader(dialect, provider).whole(line, Context(provider=provider, model=model, from_client=True))
    assert reading.source == "provider"
    return BOOK.cost(reading, provider=provider, model=model, at_s=1_795_000_000).cost_usd


def _line(body: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": "a", "response": {"status_code": 200, "body": body}, "error": None}


@pytest.mark.parametrize(
    ("model", "body", "usd"),
    [
        # gpt-4o-search-preview: $2.50 and $10 a million, halved, and $25 for a thousand searches
        ("gpt-4o-search-preview", {"object": "chat.completion", "choices": [], "usage": COUNTS}, "0.02675"),
        # gpt-5: $1.25 and $10, halved; two searches at $10 a thousand, a container at $0.03
        ("gpt-5", {"object": "response", "status": "completed", "usage": TOLD,
                   "output": [SEARCH, SEARCH, {"type": "code_interpreter_call", "container_id": "c"}]}, "0.051125"),
        ("omni-moderation-latest", {"id": "m", "results": [{"flagged": False}]}, "0"),
        ("text-embedding-3-small", {"object": "list", "data": [], "usage": {"prompt_tokens": 1000, "total_tokens": 1000}}, "0.00001"),
    ],
)  # fmt: skip
def test_a_line_of_openais(model: str, body: dict[str, Any], usd: str) -> None:
    assert _cost("openai.batch", "openai", model, _line(body | {"model": model})) == Decimal(usd)


def test_the_model_that_searches_is_that_of_the_line() -> None:
    body = {"object": "chat.completion", "model": "gpt-4o-search-preview-2025-03-11", "choices": [], "usage": COUNTS}
    reading = reader("openai.batch", "openai").whole(_line(body), Context(provider="openai", model="gpt-4o"))
    assert reading.usage["web_search"] == 1


def test_pictures_are_output_of_their_own_kind() -> None:
    usage = {"input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210}
    body = {"created": 1, "data": [{"b64_json": ""}], "usage": usage}
    reading = reader("openai.batch", "openai").whole(_line(body), Context(provider="openai", model="gpt-image-1"))
    assert dict(reading.usage) == {"input": 50, "image_out": 4160}


def test_searches_of_anthropics_and_googles_lines() -> None:
    usage = {"input_tokens": 1000, "output_tokens": 100, "server_tool_use": {"web_search_requests": 3}}
    message = {"type": "message", "model": "claude-sonnet-4-5", "usage": usage}
    line = {"custom_id": "a", "result": {"type": "succeeded", "message": message}}
    # $3 and $15 a million, halved, and three searches at $10 a thousand
    assert _cost("anthropic.batch", "anthropic", "claude-sonnet-4-5", line) == Decimal("0.03225")
    grounded = {
        "candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "b"]}}],
        "usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 100, "totalTokenCount": 1100},
    }
    # $2 and $12 a million, halved, and two queries at $14 a thousand
    assert _cost("gemini.batch", "google", "gemini-3-pro-preview", {"response": grounded}) == Decimal("0.0296")
