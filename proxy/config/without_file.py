"""The configuration without a file: every provider whose key is in the environment, else the local model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# name -> (environment variables, base_url, provider, patterns of the models that it serves under their own names)
_PROVIDERS: dict[str, tuple[tuple[str, ...], str, str, tuple[str, ...]]] = {
    "openai": (("OPENAI_API_KEY",), "https://api.openai.com/v1", "openai", (
        "gpt-*", "o1*", "o3*", "o4*", "chatgpt-*", "text-embedding-*", "whisper-*", "tts-*", "dall-e-*", "omni-moderation-*",
    )),
    "anthropic": (("ANTHROPIC_API_KEY",), "https://api.anthropic.com", "anthropic", ("claude-*",)),
    "gemini": (("GEMINI_API_KEY", "GOOGLE_API_KEY"), "https://generativelanguage.googleapis.com", "google", (
        "gemini-*", "gemma-*",
    )),
    "mistral": (("MISTRAL_API_KEY",), "https://api.mistral.ai/v1", "mistral", (
        "mistral-*", "ministral-*", "magistral-*", "codestral-*", "devstral-*", "pixtral-*", "voxtral-*",
    )),
    "groq": (("GROQ_API_KEY",), "https://api.groq.com/openai/v1", "groq", ()),
    "cerebras": (("CEREBRAS_API_KEY",), "https://api.cerebras.ai/v1", "cerebras", ()),
    "together": (("TOGETHER_API_KEY",), "https://api.together.xyz/v1", "together", ()),
    "fireworks": (("FIREWORKS_API_KEY",), "https://api.fireworks.ai/inference/v1", "fireworks", ()),
    "deepseek": (("DEEPSEEK_API_KEY",), "https://api.deepseek.com/v1", "deepseek", ("deepseek-*",)),
    "xai": (("XAI_API_KEY",), "https://api.x.ai/v1", "xai", ("grok-*",)),
    "openrouter": (("OPENROUTER_API_KEY",), "https://openrouter.ai/api/v1", "openrouter", ()),
    "perplexity": (("PERPLEXITY_API_KEY",), "https://api.perplexity.ai", "perplexity", ("sonar*",)),
}  # fmt: skip

LOCAL = "local"
_SERVER = "llama.cpp"  # the embedded model's
# What the embedded model is billed at: invented, so that a first call shows a cost. Not a claim about your hardware.
_LOCAL_PRICES = {"input": "0.10", "cache_read": "0.01", "output": "0.40"}


def needs_local_model(environ: Mapping[str, str]) -> bool:
    """Whether no provider's key is set, so that the embedded model has to stand in."""
    return not any(environ.get(name) for names, *_ in _PROVIDERS.values() for name in names)


def provider_tree(environ: Mapping[str, str]) -> dict[str, Any]:
    """A configuration tree with the providers whose keys are set. `NAME/…` reaches any model of provider NAME."""
    upstreams: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for name, (variables, base_url, provider, patterns) in _PROVIDERS.items():
        key = next((environ[variable] for variable in variables if environ.get(variable)), None)
        if key is None:
            continue
        upstreams[name] = {"base_url": base_url, "api_key": key, "provider": provider}
        models |= {pattern: {"upstream": name} for pattern in patterns}
        models[f"{name}/*"] = {"upstream": name, "model": "*"}
    return {"upstreams": upstreams, "models": models}


def local_tree(base_url: str, model: str, context_tokens: int, api_key: str) -> dict[str, Any]:
    """A configuration tree with the embedded model alone. `base_url` ends in /v1."""
    upstream = {"base_url": base_url, "api_key": api_key, "provider": _SERVER}
    row = {"upstream": LOCAL, "model": model, "context_tokens": context_tokens}
    return {
        "upstreams": {LOCAL: upstream},
        "models": {model: row, LOCAL: row},
        "prices": [{"provider": _SERVER, "model": "*", **_LOCAL_PRICES}],
    }
