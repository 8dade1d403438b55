"""How much a local server's models read and write, as its list of models says.

vLLM and SGLang: `max_model_len`. llama.cpp: `meta.n_ctx`, of one call. Ollama does not say.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from typing import Any

import orjson

from pricing.values import slotted
from proxy.upstream.response import UpstreamError

_TIMEOUT_S = 2.0
_GOOD_FOR_S, _SILENCE_FOR_S = 60.0, 10.0
_MOST_TOKENS = 2**31
_NOTHING: Mapping[str, int] = {}


@slotted
class ServerLimits:
    """What servers said, by upstream: tokens of context by model. One question at a time to each, and a short wait for it."""

    _known: dict[str, tuple[float, Mapping[str, int]]] = field(default_factory=dict)
    _asked: dict[str, asyncio.Task[Mapping[str, int]]] = field(default_factory=dict)

    async def of(self, upstream: str, ask: Callable[[], Awaitable[Mapping[str, int]]]) -> Mapping[str, int]:
        """{} where the server does not say, or not in time."""
        until_s, limits = self._known.get(upstream, (0.0, _NOTHING))
        if time.monotonic() < until_s:
            return limits
        task = self._asked.get(upstream)
        if task is None:
            task = self._asked[upstream] = asyncio.create_task(self._ask(upstream, ask))
        return await asyncio.shield(task)

    def note(self, upstream: str, limits: Mapping[str, int]) -> None:
        """What an upstream says; {}: nothing, and it is asked again sooner."""
        self._known[upstream] = (time.monotonic() + (_GOOD_FOR_S if limits else _SILENCE_FOR_S), limits)

    async def _ask(self, upstream: str, ask: Callable[[], Awaitable[Mapping[str, int]]]) -> Mapping[str, int]:
        limits = _NOTHING
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                limits = await ask()
        except (UpstreamError, TimeoutError):
            pass
        finally:
            self.note(upstream, limits)
            del self._asked[upstream]
        return limits


def limits_in(answer: bytes) -> Mapping[str, int]:
    """Tokens of context by model, from a list of models."""
    try:
        value = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return _NOTHING
    listed = value.get("data") if isinstance(value, dict) else None
    limits = {}
    for model in listed if isinstance(listed, list) else ():
        if isinstance(model, dict) and isinstance(name := model.get("id"), str) and (tokens := _context(model)):
            limits[name] = tokens
    return limits


def _context(model: Mapping[str, Any]) -> int | None:
    meta = model.get("meta")
    for stated in (model.get("max_model_len"), meta.get("n_ctx") if isinstance(meta, dict) else None):
        if type(stated) is int and 0 < stated < _MOST_TOKENS:
            return stated
    return None
