"""Which reader reads which dialect: one line each, and how a dialect is found where nobody names it exactly.

A dialect is `<who defined the format>.<what>`; `.stream` at its end makes no difference. `openai.chat` from a host with
fields of its own (`hosts.py`) is read as that host speaks it.
"""

from __future__ import annotations

import re
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
        openai.chat,  # last, so that the row `openai` of the hosts' table does not stand in its place
    )
}

_PROVIDERS = {
    "x-ai": "xai",
    "moonshotai": "moonshot",
    "togetherai": "together",
    "together-ai": "together",
    "fireworks-ai": "fireworks",
    "alibaba": "dashscope",
    "qwen": "dashscope",
    "z.ai": "zai",
    "zhipuai": "zai",
    "zhipu": "zai",
    "hf": "huggingface",
    "llama.cpp": "llamacpp",
    "llama-cpp": "llamacpp",
    "llama_cpp": "llamacpp",
    "tensorrt-llm": "tensorrt",
    "trtllm": "tensorrt",
    "nvidia-nim": "tensorrt",
    "google": "gemini",
    "google-vertex": "gemini",
    "vertex": "gemini",
    "vertex_ai": "gemini",
    "vertex-ai": "gemini",
    "aws": "bedrock",
    "amazon": "bedrock",
    "amazon-bedrock": "bedrock",
    "assemblyai": "deepgram",
    "elevenlabs": "deepgram",
}

# What a format's second word may be called, and the dialect that reads it where its first word has none of its own.
_KINDS = {
    "chat": "openai.chat",
    "chat.completions": "openai.chat",
    "chat_completions": "openai.chat",
    "generate": "openai.chat",
    "completion": "openai.completions",
    "completions": "openai.completions",
    "embed": "openai.embeddings",
    "embeddings": "openai.embeddings",
    "moderation": "openai.moderations",
    "moderations": "openai.moderations",
    "response": "openai.responses",
    "responses": "openai.responses",
    "agent": "openai.responses",
    "messages": "anthropic.messages",
    "anthropic": "anthropic.messages",
    "image": "openai.images",
    "images": "openai.images",
    "images.edits": "openai.images",
    "images.generations": "openai.images",
    "image_edit": "openai.images",
    "image_generation": "openai.images",
    "audio.transcription": "openai.transcription",
    "audio.transcriptions": "openai.transcription",
    "transcription": "openai.transcription",
    "transcriptions": "openai.transcription",
    "transcribe": "openai.transcription",
    "stt": "openai.transcription",
    "translation": "openai.transcription",
    "translations": "openai.transcription",
    "speech": "openai.speech",
    "tts": "openai.speech",
    "video": "openai.video",
    "videos": "openai.video",
    "rerank": "cohere.rerank",
    "realtime": "openai.realtime",
    "voice": "openai.realtime",
    "live": "openai.live",
    "decisions": "openai.decisions",
    "batch": "openai.batch",
    "ocr": "mistral.ocr",
    "count_tokens": "openai.count_tokens",
    "input_tokens": "openai.count_tokens",
}

_ALIASES = {
    "anthropic.count": "anthropic.count_tokens",
    "anthropic.message_batch": "anthropic.batch",
    "anthropic.messages.batch": "anthropic.batch",
    "bedrock.anthropic": "bedrock.invoke",
    "bedrock.invoke_model": "bedrock.invoke",
    "bedrock.invokemodel": "bedrock.invoke",
    "cloudflare.ai": "cloudflare.run",
    "cloudflare.chat": "cloudflare.run",
    "cloudflare.workers-ai": "cloudflare.run",
    "cohere.chat.v1": "cohere.chat",
    "cohere.chat.v2": "cohere.chat",
    "cohere.embeddings": "cohere.embed",
    "cursor": "cursor.usage-event",
    "cursor.usage": "cursor.usage-event",
    "cursor.usage_event": "cursor.usage-event",
    "dashscope": "dashscope.generation",
    "dashscope.native": "dashscope.generation",
    "fal": "fal.images",
    "gemini.anthropic": "anthropic.messages",
    "gemini.cache": "gemini.cachedcontents",
    "gemini.cached_contents": "gemini.cachedcontents",
    "gemini.counttokens": "gemini.count_tokens",
    "gemini.embedcontent": "gemini.embed",
    "gemini.embeddings": "gemini.embed",
    "gemini.generate": "gemini",
    "gemini.generate_content": "gemini",
    "gemini.generatecontent": "gemini",
    "gemini.imagen": "gemini.images",
    "gemini.image": "gemini.images",
    "gemini.openai": "openai.chat",
    "gemini.streamgeneratecontent": "gemini",
    "gemini.veo": "gemini.video",
    "gemini.videos": "gemini.video",
    "groq.transcription": "mistral.transcription",
    "groq.transcriptions": "mistral.transcription",
    "groq.translation": "mistral.transcription",
    "huggingface": "huggingface.chat",
    "imagen": "gemini.images",
    "llamacpp": "llamacpp.chat",
    "llamacpp.completion": "llamacpp.chat",
    "llamacpp.completions": "llamacpp.chat",
    "ollama": "ollama.chat",
    "ollama.embed": "ollama.chat",
    "ollama.embeddings": "ollama.chat",
    "ollama.generate": "ollama.chat",
    "openai": "openai.chat",
    "openai.responses.compact": "openai.responses",
    "openai.responses.input_tokens": "openai.count_tokens",
    "openai.realtime.transcriptions": "openai.realtime.transcription",
    "perplexity.agent": "perplexity.responses",
    "replicate": "replicate.prediction",
    "replicate.predictions": "replicate.prediction",
    "runway": "runway.task",
    "runway.tasks": "runway.task",
    "veo": "gemini.video",
    "xai.image": "xai.images",
    "xai.videos": "xai.video",
    "xai.voice": "openai.realtime",
    "xai.native": "xai.chat",
    "xai.grpc": "xai.chat",
}

# Where nobody names a dialect, the path does; the first that matches.
_ENDPOINTS = [
    (re.compile(pattern), dialect)
    for pattern, dialect in (
        (r"/messages/count_tokens", "anthropic.count_tokens"),
        (r"/messages/batches", "anthropic.batch"),
        (r"/messages", "anthropic.messages"),
        (r":countTokens", "gemini.count_tokens"),
        (r":(batchE|e)mbedContents?", "gemini.embed"),
        (r":(streamG|g)enerateContent", "gemini"),
        (r":predictLongRunning|/operations/", "gemini.video"),
        (r"/cachedContents", "gemini.cachedcontents"),
        (r"BidiGenerateContent", "gemini.live"),
        (r"/converse(-stream)?", "bedrock.converse"),
        (r"/model/.*/invoke|invoke-with-response-stream", "bedrock.invoke"),
        (r"/responses/input_tokens", "openai.count_tokens"),
        (r"/responses", "openai.responses"),
        (r"/chat/completions", "openai.chat"),
        (r"/completions", "openai.completions"),
        (r"/v[12]/embed$", "cohere.embed"),
        (r"/embeddings", "openai.embeddings"),
        (r"/rerank", "cohere.rerank"),
        (r"/moderations", "openai.moderations"),
        (r"/images", "openai.images"),
        (r"/audio/(transcriptions|translations)", "openai.transcription"),
        (r"/audio/speech", "openai.speech"),
        (r"/videos", "openai.video"),
        (r"/decisions", "openai.decisions"),
        (r"/batches", "openai.batch"),
        (r"/realtime", "openai.realtime"),
        (r"/ocr", "mistral.ocr"),
        (r"/predictions", "replicate.prediction"),
        (r"/tasks/", "runway.task"),
        (r"/api/(chat|generate|embed)", "ollama.chat"),
        (r"/v[12]/chat$", "cohere.chat"),
        (r"/ai/run/", "cloudflare.run"),
        (r"/services/aigc|/services/embeddings", "dashscope.generation"),
    )
]

# Where even the path is not told: what a provider's main API speaks.
_MAIN_DIALECT = {
    "anthropic": "anthropic.messages",
    "gemini": "gemini",
    "bedrock": "bedrock.converse",
    "cohere": "cohere.chat",
    "cursor": "cursor.usage-event",
    "replicate": "replicate.prediction",
    "runway": "runway.task",
    "ollama": "ollama.chat",
}


def provider_family(provider: str) -> str:
    """The name under which a provider's formats are registered."""
    name = provider.lower()
    return _PROVIDERS.get(name, "huggingface" if name.startswith("huggingface") else name)


def reader(dialect: str | None, provider: str = "", endpoint: str = "") -> Reader:
    """The reader of `dialect`; without one, of what `provider` speaks at `endpoint`.

    Raises LookupError, naming the dialect, if there is none.
    """
    family = provider_family(provider)
    name = (
        (dialect or "").lower().removesuffix(".stream")
        or _from_endpoint(endpoint)
        or _MAIN_DIALECT.get(family, "openai.chat")
    )
    host, _, kind = name.partition(".")
    if name.startswith("llama.cpp"):
        host, kind = "llamacpp", name.removeprefix("llama.cpp").removeprefix(".")
    host = _PROVIDERS.get(host, host)
    if host == "openai" and kind and (own := _READERS.get(f"{family}.{kind}")) and family != "cohere":
        return own  # the server that answered has its own way to speak this
    for candidate in (
        f"{host}.{kind}" if kind else host,
        _ALIASES.get(f"{host}.{kind}" if kind else host),
        _KINDS.get(kind),
    ):
        if candidate and (found := _READERS.get(candidate)):
            return found
    raise LookupError(
        f"unknown dialect {dialect!r}: name one that is known (for example openai.chat, anthropic.messages, gemini), "
        f"or leave it out and give provider and endpoint"
    )


def all_readers() -> list[Reader]:
    """Every registered reader."""
    return list(_READERS.values())


def _from_endpoint(endpoint: str) -> str | None:
    path = endpoint.partition("?")[0]
    return next((dialect for pattern, dialect in _ENDPOINTS if pattern.search(path)), None)


def guess(response: Mapping[str, Any]) -> Reader | None:
    """A reader for a response of unknown dialect, by its shape; None where nothing about it is familiar."""
    usage = response.get("usage")
    names = set(usage) if isinstance(usage, dict) else set()
    if "usageMetadata" in response:
        return gemini.generate
    if "billed_units" in names or "meta" in response:
        return cohere.chat
    if "inputTokens" in names:
        return bedrock.converse
    if names & {"cache_creation_input_tokens", "cache_read_input_tokens"} or response.get("type") == "message":
        return anthropic.messages
    if "input_tokens" in names:
        return openai_responses.responses
    if names & {"prompt_tokens", "completion_tokens", "total_tokens"}:
        return openai.chat
    if "eval_count" in response:
        return local.ollama_chat
    return None
