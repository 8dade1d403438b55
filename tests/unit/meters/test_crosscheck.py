"""Our readers against genai-prices' extractors, over the fixtures that both can read. Every difference has its reason."""

from __future__ import annotations

from typing import Any

from pricing.units import INPUT_SIDE
from pricing.usage import Quantity
from tests.support.fixtures import Fixture, load, total_usage
from tests.support.rows import each_row

# Our dialect -> their provider and flavour.
THEIRS = {
    "openai.chat": ("openai", "chat"),
    "openai.responses": ("openai", "responses"),
    "openai.embeddings": ("openai", "embeddings"),
    "openai.images": ("openai", "images"),
    "anthropic.messages": ("anthropic", "default"),
    "gemini": ("google", "default"),
    "bedrock.converse": ("aws", "default"),
    "mistral.chat": ("mistral", "default"),
    "groq.chat": ("groq", "default"),
    "cerebras.chat": ("cerebras", "chat"),
    "deepseek.chat": ("deepseek", "chat"),
    "xai.chat": ("x-ai", "chat"),
    "xai.responses": ("x-ai", "responses"),
    "openrouter.chat": ("openrouter", "chat"),
    "perplexity.chat": ("perplexity", "default"),
    "perplexity.responses": ("perplexity", "responses"),
    "cohere.chat": ("cohere", "default"),
    "moonshot.chat": ("moonshotai", "chat"),
    "zai.chat": ("zai", "chat"),
    "cursor.usage-event": ("cursor", "usage-event"),
    "cloudflare.run": ("cloudflare", "default"),
}
USAGE_KEYS = {"gemini": "usageMetadata", "cursor.usage-event": "tokenUsage"}

KNOWN = {
    "anthropic.messages/advisor-at-its-own-model": "they ignore usage.iterations",
    "anthropic.messages/compaction-and-1h-write": "they ignore usage.iterations",
    "gemini/thoughts-within-candidates": "they always add thoughts",
    "gemini/thoughts-only-in-the-total": "they do not look at the total",
    "mistral.chat/cached-at-the-top": "they do not know num_cached_tokens",
    "deepseek.chat/hit-without-details": "they do not know prompt_cache_hit_tokens",
    "xai.chat/total-says-within": "they always add reasoning",
    "xai.chat/native-names": "that is another of their flavours",
    "openai.chat/cached-larger-than-prompt": "they keep the contradiction",
    "openai.chat/reasoning-beside-by-the-total": "they do not look at the total",
    "openai.responses/image-tool-at-its-own-model": "they do not read tool_usage",
    "deepseek.chat/hit-and-miss-do-not-add-up": "they do not know prompt_cache_hit_tokens",
    "bedrock.converse/details-without-total": "they want cacheWriteInputTokens",
    "openai.images/cached-images": "they do not read the cached tokens of images",
}


def theirs(fixture: Fixture) -> dict[str, Any] | None:
    """What genai-prices reads; None where it does not read this at all."""
    from genai_prices import extract_usage  # noqa: PLC0415 - slow to import: for the worker that runs these tests

    found, line = THEIRS[fixture.reader.dialect], fixture.line
    key = USAGE_KEYS.get(fixture.reader.dialect, "usage")
    body = line.get("response") or {"model": line["model"], key: line.get("usage")}
    try:
        usage = extract_usage(body, provider_id=found[0], api_flavor=found[1]).usage
    except (ValueError, LookupError, TypeError):
        return None
    return {
        "input": usage.input_tokens or 0,
        "cache_read": usage.cache_read_tokens or 0,
        "output": usage.output_tokens or 0,
    }


def ours(fixture: Fixture) -> dict[str, Quantity]:
    usage = total_usage(fixture.read())
    tokens_out = ("output", "reasoning", "audio_out", "image_out", "video_out", "citation")
    return {
        "input": sum(quantity for unit, quantity in usage.items() if unit in INPUT_SIDE),
        "cache_read": sum(quantity for unit, quantity in usage.items() if unit.startswith("cache_read")),
        "output": sum(usage.get(unit, 0) for unit in tokens_out),
    }


def of_a_kind_that_they_read(fixture: Fixture) -> bool:
    line = fixture.line
    if line["dialect"] == "session" or fixture.reader.dialect not in THEIRS:
        return False
    return "events" not in line and not isinstance(line.get("response"), list)


BOTH = {one.name: one for one in load() if of_a_kind_that_they_read(one)}


@each_row("name", BOTH)
def test_same_as_genai_prices_or_known_why_not(name: str) -> None:
    expected = theirs(BOTH[name])
    if expected is None:
        assert name not in KNOWN
        return
    same = ours(BOTH[name]) == expected
    assert same != (name in KNOWN), (ours(BOTH[name]), expected, KNOWN.get(name))


def test_enough_is_compared() -> None:
    assert set(KNOWN) <= set(BOTH)
    assert sum(theirs(fixture) is not None for fixture in BOTH.values()) >= 80
