"""What somebody meant whose base URL has a part too many, or one too few."""

from __future__ import annotations

import pytest

from proxy.dialects.meant import meant_path


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
        ("/openai/deployments/my-gpt/chat/completions", "/v1/chat/completions"),
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
