"""Data planes in front of a provider of a given name, for the attacks that go in by a body."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from tests.flow.house import KEY, Answer, House, Told

OTHERS_KEY = "sk-other-0123456789abcdef"
PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "moderations": "/v1/moderations",
    "speech": "/v1/audio/speech",
    "images": "/v1/images/generations",
    "responses": "/v1/responses",
    "compact": "/v1/responses/compact",
    "input_tokens": "/v1/responses/input_tokens",
    "messages": "/v1/messages",
    "count_tokens": "/v1/messages/count_tokens",
    "generate": "/v1beta/models/m:generateContent",
    "count": "/v1beta/models/m:countTokens",
    "embed": "/v1beta/models/m:embedContent",
}
_LEAST: dict[str, dict[str, Any]] = {
    "chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    "completions": {"model": "m", "prompt": "hi", "max_tokens": 9},
    "embeddings": {"model": "m", "input": "hi"},
    "moderations": {"model": "m", "input": "hi"},
    "speech": {"model": "m", "input": "hi", "voice": "alloy"},
    "images": {"model": "m", "prompt": "hi"},
    "responses": {"model": "m", "input": "hi", "max_output_tokens": 9},
    "compact": {"model": "m", "input": "hi"},
    "input_tokens": {"model": "m", "input": "hi"},
    "messages": {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    "count_tokens": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "generate": {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 9}},
    "count": {"contents": [{"parts": [{"text": "hi"}]}]},
    "embed": {"content": {"parts": [{"text": "hi"}]}},
}


def family_of(operation: str) -> str:
    if operation in ("messages", "count_tokens"):
        return "anthropic"
    return "gemini" if operation in ("generate", "count", "embed") else "openai"


def house_of(folder: Path, operation: str, provider: str = "acme", **changes: Any) -> House:
    """A house whose upstream speaks what `operation` needs, with a key of another team beside the usual one."""
    base = {
        "base_url": "http://127.0.0.1:1/v1",
        "api_key": "sk-up",
        "provider": provider,
        "dialect": family_of(operation),
    }
    settings = {
        "upstreams": {"up": base},
        "prices": [{"provider": provider, "model": "*", "input": "1", "output": "2"}],
        "keys": [{"name": "k", "key": KEY, "team": "t"}, {"name": "o", "key": OTHERS_KEY, "team": "others"}],
    }
    folder.mkdir(exist_ok=True)
    return House(folder, **(settings | changes))


async def ask(
    house: House, operation: str, answer: dict[str, Any] | None = None, key: str = KEY, **fields: Any
) -> Told:
    """One call with the least that its path needs, and `fields`."""
    body = _LEAST[operation] | fields
    reply = Answer(orjson.dumps(answer or {"usage": {"input_tokens": 1, "output_tokens": 1}}))
    return await house.ask(reply, path=PATHS[operation], chat=False, key=key, **body)
