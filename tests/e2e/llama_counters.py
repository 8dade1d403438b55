"""llama.cpp's own token counters: an invoice that the product did not write."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class LlamaCounters:
    """Tokens that the server has counted since it started. A call's prompt is `prompt` plus `cached`."""

    prompt: int
    cached: int
    predicted: int

    def __add__(self, other: LlamaCounters) -> LlamaCounters:
        return LlamaCounters(self.prompt + other.prompt, self.cached + other.cached, self.predicted + other.predicted)

    def __sub__(self, other: LlamaCounters) -> LlamaCounters:
        return LlamaCounters(self.prompt - other.prompt, self.cached - other.cached, self.predicted - other.predicted)


def read_counters(base_url: str, api_key: str) -> LlamaCounters:
    """The counters of the server whose OpenAI base URL (`…/v1`) is `base_url`."""
    headers = {"authorization": f"Bearer {api_key}"}
    text = httpx.get(base_url.removesuffix("/v1") + "/metrics", headers=headers).raise_for_status().text
    values = dict(re.findall(r"^llamacpp:(\w+) (\d+)$", text, re.MULTILINE))
    return LlamaCounters(
        int(values["prompt_tokens_total"]),
        int(values["prompt_tokens_cached_total"]),
        int(values["tokens_predicted_total"]),
    )
