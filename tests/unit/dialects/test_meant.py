"""What somebody meant whose base URL has a part too many, or one too few."""

from __future__ import annotations

import pytest

from proxy.dialects.meant import meant_path, other_api


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("//v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/api/v1/responses", "/v1/responses"),
        ("/v1/v1/messages", "/v1/messages"),
        ("/messages", "/v1/messages"),
        ("/v1/messages/count_tokens/", "/v1/messages/count_tokens"),
        ("/v1/openai/deployments/my-gpt/chat/completions", "/openai/deployments/MODEL/chat/completions"),
        ("/deployments/my-gpt/audio/speech", "/openai/deployments/MODEL/audio/speech"),
        ("/v1/engines/my-gpt/chat/completions", "/v1/chat/completions"),
        ("/v1/models/", "/v1/models"),
        ("/models/gemini-2.5-flash:generateContent", "/v1beta/models/MODEL:generateContent"),
        ("/v1/v1beta/models/x:streamGenerateContent", "/v1beta/models/MODEL:streamGenerateContent"),
        ("/", None),
        ("", None),
        ("/v1", None),
        ("/metrics", None),
        ("/v1/vector_stores", None),
        ("/" * 5000, None),
        ("/a" * 5000, None),
        ("/a" * 5000 + "/chat/completions", "/v1/chat/completions"),
    ],
)
def test_the_path_with_the_same_end_is_meant(path: str, meant: str | None) -> None:
    assert meant_path(path) == meant


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/api/chat", "Ollama"),
        ("/v2/chat", "Cohere"),
        ("/v1/tokenize", "input_tokens"),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/claude:rawPredict", "Vertex"),
        ("/v1/vector_stores/vs_1/files", "not metered"),
        ("/openai/v1/fine_tuning/jobs", "not metered"),
        ("/v1/chat/completions/chatcmpl-1", "not metered"),
        ("/threads", "not metered"),
    ],
)
def test_an_api_that_is_not_served_is_known_by_its_paths(path: str, word: str) -> None:
    advice = other_api(path)

    assert advice is not None
    assert word in advice


@pytest.mark.parametrize("path", ["", "/", "/v1", "/metrics", "/api/spend", "/v1/chats", "/x/api/chat", "/a" * 5000])
def test_of_any_other_path_nothing_is_said(path: str) -> None:
    assert other_api(path) is None
