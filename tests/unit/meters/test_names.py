"""Which reader is found for a dialect's name, a path, a provider; and what a response's shape gives away."""

from __future__ import annotations

import re
from typing import Any

import pytest

from proxy.meters import names, reader, registry
from tests.support.rows import each_row


@each_row(
    ("dialect", "provider", "endpoint", "found"),
    [
        ("openai.chat.stream", "openai", "", "openai.chat"),
        ("openai.chat", "x-ai", "", "xai.chat"),
        ("openai.chat", "google", "/v1beta/openai/chat/completions", "openai.chat"),
        ("openai.responses", "xai", "", "xai.responses"),
        ("azure.responses.stream", "azure", "", "openai.responses"),
        ("anthropic.messages", "deepseek", "", "anthropic.messages"),
        ("mistral.audio.transcriptions", "mistral", "", "mistral.transcription"),
        ("bedrock.converse_stream", "aws", "", "bedrock.converse"),
        ("gemini.generateContent", "google", "", "gemini"),
        ("llama.cpp.chat", "llama.cpp", "", "llamacpp.chat"),
        ("acme.chat", "acme", "", "openai.chat"),
        ("foo", "openai", "/v1/embeddings", "openai.embeddings"),
        (None, "groq", "/openai/v1/chat/completions", "groq.chat"),
        (None, "google", "/v1beta/models/x:streamGenerateContent?alt=sse", "gemini"),
        (None, "aws", "/model/x/converse-stream", "bedrock.converse"),
        (None, "xai", "GET /v1/videos/abc", "xai.video"),
        (None, "perplexity", "/v1/responses", "perplexity.responses"),
        (None, "openai", "wss /v1/realtime", "openai.realtime"),
        (None, "anthropic", "", "anthropic.messages"),
        (None, "nobody", "", "openai.chat"),
    ],
)
def test_found(dialect: str | None, provider: str, endpoint: str, found: str) -> None:
    assert reader(dialect, provider, endpoint).dialect == found


def test_an_unknown_dialect_is_named() -> None:
    with pytest.raises(LookupError, match=re.escape("unknown dialect 'foo.bar'")):
        reader("foo.bar")


@pytest.mark.parametrize("table", [names.ALIASES, names.KINDS, dict(names.ENDPOINTS), names.MAIN_DIALECTS])
def test_every_name_leads_to_a_reader(table: dict[Any, str]) -> None:
    assert set(table.values()) <= {one.dialect.lower() for one in registry.all_readers()}


@pytest.mark.parametrize(
    ("response", "found"),
    [
        ({"usageMetadata": {}}, "gemini"),
        ({"usage": {"billed_units": {}}}, "cohere.chat"),
        ({"usage": {"inputTokens": 1}}, "bedrock.converse"),
        ({"usage": {"input_tokens": 1, "cache_read_input_tokens": 0}}, "anthropic.messages"),
        ({"usage": {"input_tokens": 1}}, "openai.responses"),
        ({"usage": {"prompt_tokens": 1}}, "openai.chat"),
        ({"eval_count": 1}, "ollama.chat"),
        ({"usage_info": {}}, "mistral.ocr"),
        ({"metrics": {}}, "replicate.prediction"),
        ({"duration": 3}, "openai.transcription"),
    ],
)
def test_a_shape_gives_its_dialect_away(response: dict[str, Any], found: str) -> None:
    one = registry.guess(response)
    assert one is not None
    assert one.dialect == found


def test_a_strange_shape_gives_nothing_away() -> None:
    assert registry.guess({"hello": 1, "usage": "x"}) is None
