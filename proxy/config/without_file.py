"""What is served without a file, or with one that names no upstream: every provider whose key is in the environment, else the
local model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
BASE_URLS = {provider: base_url for _, base_url, provider, _ in _PROVIDERS.values()}

# Some of each provider's models, the one to begin with first: /v1/models has nothing to list of patterns. All have prices.
_KNOWN_MODELS: dict[str, tuple[str, ...]] = {
    "openai": ("gpt-5-mini", "gpt-5", "gpt-5.1", "gpt-5-nano", "gpt-4.1-mini", "gpt-4o-mini", "text-embedding-3-small"),
    "anthropic": ("claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5"),
    "gemini": ("gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro"),
    "mistral": ("mistral-small-latest", "mistral-medium-latest", "mistral-large-latest", "codestral-latest"),
    "groq": ("openai/gpt-oss-20b", "openai/gpt-oss-120b", "llama-3.1-8b-instant", "llama-3.3-70b-versatile"),
    "cerebras": ("gpt-oss-120b", "llama3.1-8b"),
    "together": ("openai/gpt-oss-20b", "openai/gpt-oss-120b"),
    "fireworks": ("accounts/fireworks/models/gpt-oss-20b", "accounts/fireworks/models/gpt-oss-120b"),
    "deepseek": ("deepseek-chat", "deepseek-reasoner"),
    "xai": ("grok-4-fast", "grok-4", "grok-code-fast-1"),
    "openrouter": ("openai/gpt-4o-mini", "openai/gpt-5-mini", "anthropic/claude-sonnet-4.5"),
    "perplexity": ("sonar", "sonar-pro"),
}  # fmt: skip
_OUR_KEYS = "sk-tx-"  # a key that Taximeter made: pasting its own export lines puts one where a provider's would be

LOCAL = "local"
_SERVER = "llama.cpp"  # the embedded model's
# What the embedded model is billed at: invented, so that a first call shows a cost. Not a claim about your hardware.
_LOCAL_PRICES = {"input": "0.10", "cache_read": "0.01", "output": "0.40"}


def needs_local_model(environ: Mapping[str, str]) -> bool:
    """Whether no provider's key is set, so that the embedded model has to stand in."""
    return not any(_provider_key(environ, names) for names, *_ in _PROVIDERS.values())


def keys_of_ours(environ: Mapping[str, str]) -> list[str]:
    """The variables that hold one of Taximeter's own keys instead of a provider's: they are passed over."""
    names = [name for names, *_ in _PROVIDERS.values() for name in names]
    return [name for name in names if environ.get(name, "").startswith(_OUR_KEYS)]


def _provider_key(environ: Mapping[str, str], names: Sequence[str]) -> str | None:
    keys = [environ.get(name, "") for name in names]
    return next((key for key in keys if key and not key.startswith(_OUR_KEYS)), None)


def provider_tree(environ: Mapping[str, str]) -> dict[str, Any]:
    """A configuration tree with the providers whose keys are set. `NAME/…` reaches any model of provider NAME."""
    upstreams: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for name, (variables, base_url, provider, patterns) in _PROVIDERS.items():
        key = _provider_key(environ, variables)
        if key is None:
            continue
        upstreams[name] = {"base_url": base_url, "api_key": key, "provider": provider}
        prefix = "" if patterns else f"{name}/"
        models |= {f"{prefix}{model}": {"upstream": name, "model": model} for model in _KNOWN_MODELS[name]}
        models |= {pattern: {"upstream": name} for pattern in patterns}
        models[f"{name}/*"] = {"upstream": name, "model": "*"}
    return {"upstreams": upstreams, "models": models}


def complete(tree: dict[str, Any], otherwise: Mapping[str, Any]) -> None:
    """Put these upstreams, models and prices into the tree of a file that names neither upstreams nor models."""
    own = tree.get("prices", [])
    tree |= otherwise
    tree["prices"] = own
    if isinstance(own, list):
        named = [row.get("provider") for row in own if isinstance(row, dict)]
        tree["prices"] = [*own, *(row for row in otherwise.get("prices", ()) if row["provider"] not in named)]


def names_none(tree: Mapping[str, Any]) -> bool:
    """Whether a file names neither upstreams nor models."""
    return not tree.keys() & {"upstreams", "models"}


def local_prices(model: str) -> list[dict[str, str]]:
    """Rows as of `prices`: what the embedded model, called `model`, is billed at under both of its names."""
    return [{"provider": _SERVER, "model": name, **_LOCAL_PRICES} for name in (model, LOCAL)]


def local_tree(base_url: str, model: str, context_tokens: int, api_key: str) -> dict[str, Any]:
    """A configuration tree with the embedded model alone. `base_url` ends in /v1."""
    upstream = {"base_url": base_url, "api_key": api_key, "provider": _SERVER}
    row = {"upstream": LOCAL, "model": model, "context_tokens": context_tokens}
    return {
        "upstreams": {LOCAL: upstream},
        "models": {model: row, LOCAL: row},
        "prices": [{"provider": _SERVER, "model": "*", **_LOCAL_PRICES}],
    }
