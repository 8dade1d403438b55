"""LiteLLM, and all that is known of it: the one file that imports it, run in the translator's process alone.

Public calls: `acompletion`, `aresponses`, `anthropic_messages`, `aembedding`, `get_supported_openai_params`, its settings and
its exceptions. What it does on its own and is not promised: it asks through httpx (`hook.py`), and imports two modules of its
proxy (`stand_ins.py`); tests/e2e/translation/test_translation.py says what a new version broke.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, MutableMapping
from typing import Any

from proxy.translate import hook, internals, sdk, stand_ins
from proxy.translate.accepted import without_unsupported
from proxy.translate.providers import Target

# Read when LiteLLM is imported: prices are not fetched, no `.env` is read, no tokenizer is downloaded, and no log is written.
_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "CRITICAL",
    "LITELLM_TELEMETRY": "False",
    "DISABLE_AIOHTTP_TRANSPORT": "True",
    "HF_HUB_OFFLINE": "1",
}
_SETTINGS = {
    "telemetry": False,
    "suppress_debug_info": True,
    "turn_off_message_logging": True,
    "disable_streaming_logging": True,
    "disable_aiohttp_transport": True,
    "disable_hf_tokenizer_download": True,
    "drop_params": True,
    "modify_params": False,
    "use_chat_completions_url_for_anthropic_messages": True,
    "num_retries": 0,
    "callbacks": [],
    "success_callback": [],
    "failure_callback": [],
}
_TIMEOUT_S = 86_400.0  # the data plane's time-outs end a call
_MODELS = 4096  # of which it is remembered what they know


class Adapter:
    """LiteLLM, imported and made quiet."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """environ: the process's own, for LiteLLM reads it."""
        self.environ = environ
        environ.update(_ENVIRONMENT)
        hook.install()
        stand_ins.install()
        import litellm  # noqa: PLC0415 - seconds, and 200 MB: nobody but this process may have it

        for name, value in _SETTINGS.items():
            setattr(litellm, name, value)
        internals.install()
        sdk.install()
        for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router", "httpx", "openai", "botocore", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._litellm: Any = litellm
        self._known: dict[tuple[str, str, str], frozenset[str]] = {}  # by model, provider and kind

    async def warm(self) -> None:
        """Have LiteLLM import what it imports at its first calls: answers of its own making, sent nowhere."""
        messages = [{"role": "user", "content": "x"}]
        for model in (
            "anthropic/claude-sonnet-4-5",
            "openai/gpt-4o-mini",
            "bedrock/anthropic.claude-3-haiku-20240307-v1:0",
        ):
            arguments = {"model": model, "messages": messages, "max_tokens": 1, "api_key": "none", "mock_response": "x"}
            with contextlib.suppress(Exception):  # a call that cannot be warmed is only slower the first time
                await self._litellm.acompletion(**arguments)
                await self._litellm.anthropic_messages(**arguments)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What is set of LiteLLM's own settings, as it stands."""
        return {name: getattr(self._litellm, name) for name in _SETTINGS}

    async def call(self, operation: str, target: Target, passed: dict[str, Any]) -> tuple[Any, list[str]]:
        """Make a call: LiteLLM's answer (an async iterator where it streams), and the fields that the provider does not know.

        Raises `Refused` where one of these was needed, and whatever LiteLLM raises.
        """
        dropped: list[str] = []
        if operation in ("chat", "embeddings"):
            dropped = without_unsupported(passed, self._supported(target, operation))
        arguments = {
            **target.options, **passed, "model": target.model, "timeout": _TIMEOUT_S, "max_retries": 0, "num_retries": 0,
        }  # fmt: skip
        if operation == "chat":
            if passed.get("stream"):
                arguments["stream_options"] = {"include_usage": True}
            return await self._litellm.acompletion(**arguments), dropped
        if operation == "responses":
            return await self._litellm.aresponses(**arguments), dropped
        if operation == "messages":
            return await self._litellm.anthropic_messages(**arguments), dropped
        return await self._litellm.aembedding(**arguments), dropped

    def _supported(self, target: Target, operation: str) -> frozenset[str]:
        kind = "embeddings" if operation == "embeddings" else "chat_completion"
        key = (target.model, target.provider, kind)
        supported = self._known.get(key)
        if supported is None:
            name = target.model.removeprefix(f"{target.provider}/")
            listed = self._litellm.get_supported_openai_params(
                model=name, custom_llm_provider=target.provider, request_type=kind
            )
            if len(self._known) >= _MODELS:
                self._known.clear()
            supported = self._known[key] = frozenset(listed or ())
        return supported


def fields_of(value: Any) -> dict[str, Any]:
    """An answer of LiteLLM's, or an event of one, as plain values."""
    if isinstance(value, Mapping):
        return dict(value)
    plain: dict[str, Any] = value.model_dump(mode="json", exclude_none=True)
    return plain


async def close(stream: AsyncIterator[Any]) -> None:
    """End a stream before its end, and with it the provider's connection."""
    for name in ("aclose", "close"):
        if callable(end := getattr(stream, name, None)):
            result = end()
            if hasattr(result, "__await__"):
                await result
            return
