"""Calls of a conversation, in each dialect that has conversations."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.dialects import find
from proxy.types import Call

PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "gemini": "/v1beta/models/m:generateContent",
}


def call_of(kind: str, messages: list[Any], **more: Any) -> Call:
    name = {"chat": "messages", "messages": "messages", "responses": "input", "gemini": "contents"}[kind]
    endpoint = find("POST", PATHS[kind], b"")
    assert endpoint is not None
    body = (
        {name: messages}
        | ({} if kind == "gemini" else {"model": "m"})
        | ({"max_tokens": 9} if kind == "messages" else {})
    )
    return endpoint.parse(orjson.dumps(body | more))
