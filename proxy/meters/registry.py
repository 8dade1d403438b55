"""Which reader reads which dialect: one line each. How a dialect is found by other names: `names.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.meters import (
    anthropic,
    batch,
    bedrock,
    cohere,
    gemini,
    hosts,
    jobs,
    local,
    names,
    openai,
    openai_media,
    openai_realtime,
    openai_responses,
    perplexity,
)
from proxy.meters.reader import Reader

_READERS: dict[str, Reader] = {
    one.dialect.lower(): one
    for one in (
        openai.chat,
        openai.completions,
        openai.embeddings,
        openai.moderations,
        openai.count_tokens,
        openai_responses.responses,
        openai_responses.decisions,
        openai_media.images,
        openai_media.transcription,
        openai_media.speech,
        openai_media.video,
        openai_realtime.realtime,
        openai_realtime.realtime_transcription,
        openai_realtime.live,
        anthropic.messages,
        batch.openai_batch,
        batch.anthropic_batch,
        batch.gemini_batch,
        anthropic.count_tokens,
        gemini.generate,
        gemini.live,
        gemini.embed,
        gemini.cached_contents,
        gemini.count_tokens,
        jobs.veo,
        jobs.imagen,
        bedrock.converse,
        bedrock.invoke,
        *(hosts.host_reader(name) for name in hosts.HOSTS),
        hosts.groq_chat,
        hosts.fireworks_chat,
        hosts.mistral_chat,
        hosts.xai_responses,
        hosts.openrouter_responses,
        hosts.dashscope_native,
        hosts.cloudflare,
        hosts.cursor,
        perplexity.chat,
        perplexity.responses,
        cohere.chat,
        cohere.embed,
        cohere.rerank,
        local.llama_chat,
        local.ollama_chat,
        jobs.replicate,
        jobs.runway,
        jobs.xai_images,
        jobs.xai_video,
        jobs.ocr,
        jobs.mistral_transcription,
        jobs.deepgram,
        jobs.fal,
        jobs.luma,
        openai.chat,  # last, so that the row `openai` of the hosts' table does not stand in its place
    )
}


def reader(dialect: str | None, provider: str = "", endpoint: str = "") -> Reader:
    """The reader of `dialect`; without one, of what `provider` speaks at `endpoint`.

    Raises LookupError, naming the dialect, if there is none.
    """
    for name in names.candidates(dialect, provider, endpoint):
        if named := _READERS.get(name):
            return named
    raise LookupError(
        f"unknown dialect {dialect!r}: name one that is known (for example openai.chat, anthropic.messages, gemini), "
        f"or leave it out and give provider and endpoint"
    )


def all_readers() -> list[Reader]:
    """Every registered reader."""
    return list(_READERS.values())


# A field that only one format has, at the top of a response.
_TELLTALES = {
    "eval_count": local.ollama_chat,
    "timings": local.llama_chat,
    "usage_info": jobs.ocr,
    "tokenUsage": hosts.cursor,
    "metrics": jobs.replicate,
    "result": hosts.cloudflare,
    "duration": openai_media.transcription,
    "data": openai_media.images,
}


def guess(response: Mapping[str, Any]) -> Reader | None:
    """A reader for a response of unknown dialect, by its shape; None where nothing about it is familiar."""
    usage = response.get("usage")
    stated = set(usage) if isinstance(usage, dict) else set()
    if "usageMetadata" in response:
        return gemini.generate
    if "billed_units" in stated or "meta" in response:
        return cohere.chat
    if "inputTokens" in stated:
        return bedrock.converse
    if stated & {"cache_creation_input_tokens", "cache_read_input_tokens"} or response.get("type") == "message":
        return anthropic.messages
    if "input_tokens" in stated:
        return openai_responses.responses
    if stated & {"prompt_tokens", "completion_tokens", "total_tokens"}:
        return openai.chat
    for name, kind in _TELLTALES.items():
        if name in response:
            return kind
    return None
