"""The client-facing side of every wire format that is proxied: one file a format, one line here for each path.

A dialect parses requests, shapes refusals and ends cut streams; it does no I/O and never sees money.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proxy.dialects import openai
from proxy.errors import Refusal
from proxy.types import Call


@dataclass(frozen=True, slots=True)
class Family:
    """What all paths of one vendor's API share. `name` is the word of `upstreams.*.dialects`."""

    name: str
    refusal_body: Callable[[Refusal], bytes]
    stream_end: Callable[[Refusal], bytes]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One proxied path: how its body is parsed, and the path below the upstream's `base_url`."""

    family: Family
    operation: str
    target: str
    parse: Callable[[bytes], Call]
    cap_output: Callable[[dict[str, Any], int, str], None]


OPENAI = Family("openai", openai.refusal_body, openai.stream_end)

_OPENAI_ENDPOINTS = (
    Endpoint(OPENAI, "chat", "/chat/completions", openai.parse_chat, openai.cap_chat),
    Endpoint(OPENAI, "completions", "/completions", openai.parse_completions, openai.cap_completions),
    Endpoint(OPENAI, "embeddings", "/embeddings", openai.parse_embeddings, openai.cap_nothing),
)


def _paths() -> dict[str, Endpoint]:
    """OpenAI's paths stand with and without /v1, and with the prefix /openai."""
    return {
        prefix + version + endpoint.target: endpoint
        for endpoint in _OPENAI_ENDPOINTS
        for prefix in ("", "/openai")
        for version in ("/v1", "")
    }


ENDPOINTS: dict[str, Endpoint] = _paths()
MODELS_PATHS = frozenset({"/v1/models", "/models", "/openai/v1/models", "/openai/models"})


def family_of_path(path: str) -> Family:
    """Whose error shape a refusal of this path wears."""
    endpoint = ENDPOINTS.get(path)
    return endpoint.family if endpoint else OPENAI
