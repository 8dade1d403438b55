"""Whatever a request asks for, what a provider that keeps its own rules can bill for it is within its ceiling.

The bill is the dearest that the rules allow: every byte a token, every cap used up, thoughts beside it where the provider has
them there, any tier where the request leaves it open, everything written to a cache.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attack.random_bodies import Tally
from tests.flow.house import Answer, House, Told

MODELS = {
    "openai": "gpt-4o", "azure": "gpt-4o", "xai": "grok-4", "dashscope": "qwen-plus", "deepseek": "deepseek-chat",
    "groq": "llama-3.3-70b-versatile", "mistral": "mistral-large-latest", "perplexity": "sonar-pro", "moonshot": "kimi-k2-0905-preview",
    "openrouter": "openai/gpt-4o-mini", "ollama": "llama3", "llama.cpp": "mine",
}  # fmt: skip
LOCAL = ("ollama", "llama.cpp", "groq", "openrouter", "mistral", "moonshot")
OLD_CAP_ONLY = ("deepseek", "mistral", "ollama", "moonshot", "perplexity", "dashscope", "llama.cpp")
CONTEXT, MOST_OUTPUT = 64_000, 8_000

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=200)
FIELDS = st.fixed_dictionaries(
    {"messages": st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": TEXTS}), min_size=1, max_size=4)},
    optional={
        "max_tokens": st.integers(1, 9000),
        "max_completion_tokens": st.integers(1, 9000),
        "service_tier": st.sampled_from(["auto", "default", "flex", "priority"]),
        "prediction": st.fixed_dictionaries({"type": st.just("content"), "content": TEXTS}),
        "enable_thinking": st.booleans(),
        "thinking_budget": st.integers(1, 5000),
        "reasoning_effort": st.sampled_from(["low", "high"]),
        "logprobs": st.booleans(),
        "metadata": st.dictionaries(st.sampled_from(["a", "b"]), st.just("x")),
        "web_search_options": st.just({"search_context_size": "high"}),
        "prompt_cache_key": st.just("k"),
        "seed": st.integers(0, 9),
    },
)
CHOICES = st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from([None, "default", "priority", "flex"]))


def _house(folder: Path, provider: str) -> House:
    prices = (
        [{"provider": provider, "model": "*", "input": "1", "output": "2", "request": "0.001"}]
        if provider in LOCAL
        else []
    )
    model = {"upstream": "up", "model": MODELS[provider], "context_tokens": CONTEXT, "max_output_tokens": MOST_OUTPUT}
    return House(
        folder,
        upstreams={"up": {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-up", "provider": provider, "dialect": "openai"}},
        models={"m": model},
        prices=prices,
        budgets=[{"name": "b", "limit_usd": 100_000, "window": "total", "clamp": False}],
    )  # fmt: skip


def _bill(provider: str, body: dict[str, Any], cached: float, used: float, tier: str | None) -> dict[str, Any]:
    """By the provider's rules, of the body that reached it."""
    prompt = min(len(orjson.dumps(body["messages"])), CONTEXT)
    names = ("max_tokens",) if provider in OLD_CAP_ONLY else ("max_completion_tokens", "max_tokens")
    caps = [body[name] for name in names if body.get(name) is not None]
    written = int(used * min(max(caps, default=MOST_OUTPUT), MOST_OUTPUT))
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}
    usage["prompt_tokens_details"] = {"cached_tokens": int(prompt * cached)}
    thoughts = int(used * MOST_OUTPUT)
    if provider == "xai":
        usage["completion_tokens_details"] = {"reasoning_tokens": thoughts}
        usage["total_tokens"] += thoughts
    elif provider == "dashscope" and body.get("enable_thinking"):
        usage["completion_tokens"] = written + min(thoughts, body.get("thinking_budget", thoughts))
        usage["total_tokens"] = prompt + usage["completion_tokens"]
    elif body.get("prediction") and provider in ("openai", "azure"):
        usage["completion_tokens"] = written + len(body["prediction"]["content"].encode())
        usage["total_tokens"] = prompt + usage["completion_tokens"]
    elif provider == "perplexity":
        usage["search_context_size"] = "high"
    asked = body.get("service_tier")
    served = tier if asked in (None, "auto") else asked if provider in ("openai", "azure") else None
    return {"model": MODELS[provider], "choices": [], "usage": usage} | ({"service_tier": served} if served else {})


def any_bill(folder: Path, examples: int, tally: Tally, *, provider: str, same: bool = False) -> int:
    """So many random requests to one provider; how many were answered. same: the same ones each time."""
    house = _house(folder, provider)
    answered = 0

    async def once(request: dict[str, Any], chosen: tuple[float, float, str | None]) -> Told:
        async def answer(body: dict[str, Any]) -> Answer:
            tier = chosen[2] if provider == "openai" else None
            return Answer(orjson.dumps(_bill(provider, body, chosen[0], chosen[1], tier)))

        house.answering = answer
        return await house.ask(chat=False, model="m", **request)

    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=same
    )
    @given(FIELDS, CHOICES)
    def some(request: dict[str, Any], chosen: tuple[float, float, str | None]) -> None:
        nonlocal answered
        told = asyncio.run(once(request, chosen))
        tally.note(told, request)
        tally.note_records(house, request)
        answered += told.status == 200

    some()
    house.plane.spool.close()
    return answered
