"""How a dialect is found where nobody names it exactly: by alias, by the path that was called, by provider.

A dialect is `<who defined the format>.<what>`; `.stream` at its end makes no difference. `openai.chat` from a host with
fields of its own (`hosts.py`) is read as that host speaks it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_STREAM = re.compile(r"[._-]stream(?:ing)?$")

PROVIDERS = {
    "azure-openai": "azure",
    "azure-foundry": "azure",
    "claude": "anthropic",
    "bedrock-converse": "bedrock",
    "aws-bedrock": "bedrock",
    "google-gla": "gemini",
    "google-ai": "gemini",
    "google-ai-studio": "gemini",
    "google-genai": "gemini",
    "vertexai": "gemini",
    "grok": "xai",
    "x.ai": "xai",
    "kimi": "moonshot",
    "moonshot-ai": "moonshot",
    "mistralai": "mistral",
    "pplx": "perplexity",
    "alibaba-cloud": "dashscope",
    "z-ai": "zai",
    "fal-ai": "fal",
    "luma-ai": "luma",
    "lumaai": "luma",
    "runwayml": "runway",
    "deep-infra": "deepinfra",
    "cloudflare-workers-ai": "cloudflare",
    "workers-ai": "cloudflare",
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
KINDS = {
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
    "asr": "openai.transcription",
    "audio": "openai.transcription",
    "audio.speech": "openai.speech",
    "audio.transcription": "openai.transcription",
    "audio.translations": "openai.transcription",
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

ALIASES = {
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
    "fal.request": "fal.images",
    "gemini.anthropic": "anthropic.messages",
    "gemini.chat": "gemini",
    "gemini.gemini": "gemini",
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
    "luma": "luma.generation",
    "luma.generations": "luma.generation",
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

# Where nobody names a dialect, the path does; the first that matches. Not compiled: who serves calls names it.
ENDPOINTS = (
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
    (r"/dream-machine/", "luma.generation"),
    (r"/api/(chat|generate|embed)", "ollama.chat"),
    (r"/v[12]/chat$", "cohere.chat"),
    (r"/ai/run/", "cloudflare.run"),
    (r"/services/aigc|/services/embeddings", "dashscope.generation"),
)

# Where not even the path is known: the dialect of a provider's main API.
MAIN_DIALECTS = {
    "anthropic": "anthropic.messages",
    "gemini": "gemini",
    "bedrock": "bedrock.converse",
    "cohere": "cohere.chat",
    "cursor": "cursor.usage-event",
    "replicate": "replicate.prediction",
    "runway": "runway.task",
    "ollama": "ollama.chat",
}


def family_of(provider: str) -> str:
    """The name under which a provider's formats are registered."""
    name = provider.lower()
    return PROVIDERS.get(name, "huggingface" if name.startswith("huggingface") else name)


def candidates(dialect: str | None, provider: str, endpoint: str) -> Iterator[str]:
    """Names of dialects that may be meant, the likeliest first."""
    family = family_of(provider)
    name = _STREAM.sub("", (dialect or "").lower())
    name = name or _from_endpoint(endpoint) or MAIN_DIALECTS.get(family, "openai.chat")
    name = name.replace("llama.cpp", "llamacpp", 1)
    host, _, kind = name.partition(".")
    host = PROVIDERS.get(host, host)
    if host == "openai" and kind and family != "cohere":
        own = f"{family}.{kind}"  # the server that answered may have its own way to speak this
        yield own
        if own == "llamacpp.completions":  # `timings` in every chunk, as in its chat's
            yield ALIASES[own]
    full = f"{host}.{kind}" if kind else host
    yield full
    if full in ALIASES:
        yield ALIASES[full]
    if general := KINDS.get(kind):
        yield f"{host}.{general.partition('.')[2]}"
        yield general
    if by_path := _from_endpoint(endpoint):
        yield by_path


def _from_endpoint(endpoint: str) -> str | None:
    path = endpoint.partition("?")[0]
    return next((dialect for pattern, dialect in ENDPOINTS if re.search(pattern, path)), None)
