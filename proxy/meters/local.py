"""Local servers whose counts are their own: llama.cpp's `timings`, Ollama's counters.

llama.cpp (PR 15827): `prompt_n` was processed, `cache_n` taken from the cache, `predicted_n` put out.
Ollama (api/types.go `Metrics`): counters stand in the last object and are left out when 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from proxy.meters.openai import fold_chunk, read_envelope, usage_in
from proxy.meters.openai_usage import Host, read_usage
from proxy.meters.reader import Context, Reader
from proxy.meters.reading_builder import ReadingBuilder, mapping, text

LLAMA_MARKS = re.compile(rb'"(?:usage|timings)"\s*:\s*\{|"tokens_evaluated"')
OLLAMA_MARKS = re.compile(rb'"(?:done"\s*:\s*true|prompt_eval_count|eval_count)|"usage"\s*:\s*\{')


def read_llama(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """llama.cpp, OpenAI-like or native. With usage, `timings` only adds what of the prompt was cached."""
    read_envelope(response, builder)
    timings = mapping(response.get("timings"))
    usage = mapping(usage_in(response))
    if usage:
        details = {"prompt_tokens_details": {"cached_tokens": timings.get("cache_n")}}
        read_usage({**details, **{k: v for k, v in usage.items() if v}}, context, builder, Host())
    elif "prompt_n" in timings or "predicted_n" in timings:
        builder.has_usage = True
        builder.add("input", builder.count(timings, "prompt_n"))
        builder.add("cache_read", builder.count(timings, "cache_n"))
        builder.add("output", builder.count(timings, "predicted_n"))
    elif "tokens_evaluated" in response or "tokens_predicted" in response:
        builder.has_usage = True
        builder.add("input", builder.count(response, "tokens_evaluated"))
        builder.add("output", builder.count(response, "tokens_predicted"))


def fold_llama(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """A chunk; `timings` comes with the last one."""
    fold_chunk(state, event)
    for name in ("timings", "tokens_evaluated", "tokens_predicted"):
        if event.get(name) is not None:
            state[name] = event[name]


def read_ollama(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Ollama's last object. Without `prompt_eval_count` the prompt came from the cache: its length is not known."""
    builder.model = text(response.get("model"))
    usage = mapping(response.get("usage"))
    if "prompt_tokens" in usage or "completion_tokens" in usage:  # the OpenAI-compatible endpoint
        read_usage(usage, context, builder, Host())
        return
    response = usage or response
    input_tokens, output_tokens = builder.maybe(response, "prompt_eval_count"), builder.maybe(response, "eval_count")
    if input_tokens is None and output_tokens is None:
        return
    builder.has_usage = True
    if input_tokens is None:
        builder.flag("input_unknown")
        builder.partial = True
    builder.add("input", input_tokens or 0)
    builder.add("output", output_tokens or 0)


def fold_ollama(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """A line of NDJSON (or a chunk of the OpenAI-compatible endpoint)."""
    for name in ("model", "prompt_eval_count", "eval_count", "usage"):
        if event.get(name) is not None:
            state[name] = event[name]


llama_chat = Reader("llamacpp.chat", read_llama, fold_llama, marks=LLAMA_MARKS, hint=b"")
ollama_chat = Reader("ollama.chat", read_ollama, fold_ollama, marks=OLLAMA_MARKS)
