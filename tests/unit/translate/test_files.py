"""Files by URL: refused by name before anybody looks for them, where they would be fetched from here or are of no web."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import Refused
from proxy.translate.files import require_data
from tests.support.rows import each_row

CLAUDE, GEMINI = "claude-sonnet-4-5@20250929", "gemini-2.5-flash"


def asked(operation: str, url: str) -> list[dict[str, Any]]:
    part: dict[str, Any] = {
        "chat": {"type": "image_url", "image_url": {"url": url}},
        "responses": {"type": "input_image", "image_url": url},
        "messages": {"type": "image", "source": {"type": "url", "url": url}},
    }[operation]
    parts = [{"type": "text", "text": "x"}, part]
    if operation == "messages":
        parts = [{"type": "tool_result", "tool_use_id": "t", "content": parts}]
    return [{"role": "user", "content": parts}]


def is_refused(operation: str, messages: Any, provider: str, model: str = "m") -> bool:
    name = "input" if operation == "responses" else "messages"
    try:
        require_data(operation, {name: messages}, provider, model)
    except Refused as refused:
        return (refused.refusal.status, refused.refusal.param) == (400, "url")
    else:
        return False


@each_row("operation", ["chat", "responses", "messages"])
@each_row("url", ["file:///etc/passwd", "ftp://x/y", "azure://x", "//127.0.0.1/x", "/etc/passwd", "", " FILE:/x"])
def test_what_is_no_address_of_the_web_goes_nowhere(operation: str, url: str) -> None:
    for provider in ("bedrock", "azure", "mistral", "anthropic", "cohere_chat"):
        assert is_refused(operation, asked(operation, url), provider)


@pytest.mark.parametrize("operation", ["chat", "responses", "messages"])
def test_the_webs_addresses_are_for_providers_that_fetch_them(operation: str) -> None:
    for url in ("https://example.com/x.png", "HTTP://example.com/x.png"):
        messages = asked(operation, url)
        assert is_refused(operation, messages, "bedrock")
        assert is_refused(operation, messages, "gemini", GEMINI)
        assert is_refused(operation, messages, "vertex_ai", CLAUDE)
        assert not is_refused(operation, messages, "vertex_ai", GEMINI)
        assert not is_refused(operation, messages, "anthropic")
    assert not is_refused(operation, asked(operation, "data:image/png;base64,eA=="), "bedrock")


@pytest.mark.parametrize(
    ("part", "refused"),
    [
        ({"type": "file", "file": {"file_id": "https://example.com/x.pdf"}}, True),
        ({"type": "file", "file": {"file_data": "file:///etc/passwd"}}, True),
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,eA=="}}, False),
        ({"type": "input_audio", "input_audio": {"data": "eA==", "format": "wav"}}, False),
        ({"type": "video_url", "video_url": {"url": "file:///x.mp4"}}, True),
        ({"type": "tool_use", "name": "open", "input": {"url": "file:///x", "source": {"url": "file:///x"}}}, False),
        ({"type": "text", "text": "file:///etc/passwd"}, False),
        (5, False),
    ],
)
def test_a_file_by_any_name_is_one_and_a_tools_arguments_are_none(part: Any, refused: bool) -> None:
    assert (
        is_refused("chat", [{"role": "user", "content": [part]}, "x", {"content": "file:///x"}], "bedrock") == refused
    )
