"""Usage in other places than its dialect's own, or under another dialect's names.

Gateways translate an answer and leave its usage as it was: OpenAI's counts in a message of Anthropic's, a usage beside the
message or the chunk that it is of (Groq's `x_groq` at whoever passes it on), camelCase as SDKs write it (Vercel's AI SDK
`LanguageModelUsage`, Bedrock's `TokenUsage`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from proxy.meters.reading_builder import items, mapping

_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")
_RENAMED = {
    "prompt_token_count": "prompt_tokens", "input_token_count": "input_tokens", "candidates_token_count": "completion_tokens",
    "output_token_count": "output_tokens", "total_token_count": "total_tokens", "thoughts_token_count": "reasoning_tokens",
    "cached_content_token_count": "cached_tokens", "cached_input_tokens": "cached_tokens",
}  # fmt: skip
_COUNTS = frozenset({"prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens"})
_MOST_NAMES = 64
_INSIDE = ("message", "delta")
_USAGES = ("usage", "usage_metadata")
_MADE_UP = frozenset({"metadata", "request", "arguments", "args", "input", "delta", "error", "errors", "detail"})


def in_openais_words(usage: Mapping[str, Any]) -> Mapping[str, Any]:
    """The usage as OpenAI would name its counts; the very same where it does, or where nothing in it is known."""
    if not _COUNTS.isdisjoint(usage) or len(usage) > _MOST_NAMES:
        return usage
    named = {_named(name): value for name, value in usage.items()}
    if _COUNTS.isdisjoint(named):
        return usage
    for name, value in named.items():
        if isinstance(value, dict) and len(value) <= _MOST_NAMES:
            named[name] = {_named(inner): count for inner, count in value.items()}
    return named


def _named(name: str) -> str:
    snake = _HUMP.sub(r"_\1", name).lower()
    return _RENAMED.get(snake, snake)


def usage_nearby(response: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first usage that a response has under another name, in an object of it, or in a message or delta of its choices.

    Not in an error, nor in what a client made up (`metadata`, a request sent back), nor in what a model did (the arguments
    of a tool's call, which Responses have as an object, whole or as the `delta` of an event).
    """
    return next((usage for usage in _candidates(response) if states_counts(usage)), None)


def _candidates(response: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name, value in response.items():
        if isinstance(value, dict) and name not in _MADE_UP:
            yield value if _named(name).endswith(_USAGES) else mapping(value.get("usage"))
    for choice in items(response.get("choices")):
        for name in _INSIDE:
            yield mapping(mapping(mapping(choice).get(name)).get("usage"))


def states_counts(usage: Mapping[str, Any]) -> bool:
    """Whether any count is in it, by whatever name."""
    return any(usage.get(name) for name in _COUNTS) or in_openais_words(usage) is not usage
