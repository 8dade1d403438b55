"""What providers do although no field of a request says so: thinking beside the cap, searches by themselves, names of caps.

Each row has its source. A provider that stands in none of them does as OpenAI does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from proxy.types import Call, Route

_NOTHING: Mapping[str, int] = {}
_MOST_SEARCHES = 10  # by a model that looks for itself as often as it likes

# Providers that know `max_completion_tokens`; all know `max_tokens`, except OpenAI's reasoning models, which refuse it.
# OpenAI, Azure, Groq, Cerebras, xAI and OpenRouter: their API references (chat completions); vLLM and SGLang: the field
# `max_completion_tokens` of ChatCompletionRequest. Ollama 0.17 and 0.33 ignore it (5 asked, 345 came), DeepSeek and Mistral
# do not name it.
_KNOWS_COMPLETION_TOKENS = frozenset({"openai", "azure", "groq", "cerebras", "xai", "openrouter", "vllm", "sglang"})

# docs.x.ai, reasoning: "reasoning tokens … counted separately", and no field caps them, so that only the model's own limit
# bounds them; help.aliyun.com/zh/model-studio/deep-thinking:
# "thinking_budget" caps them and `max_tokens` does not; docs.perplexity.ai, pricing: three things.
_THINKS_BESIDE = frozenset({"xai", "dashscope", "perplexity"})
_NO_THOUGHT = {
    "xai": re.compile(r"grok-(?:[12]|3(?!-mini)|beta|vision)|non-reasoning"),
    "perplexity": re.compile(r"sonar(?:-pro)?\Z|r1-1776\Z"),
}
# Whose thoughts an effort of "none" turns off: all others of xAI's think whatever is asked, or refuse the field
# (docs.x.ai/developers/model-capabilities/text/reasoning, effort levels, 2026-08).
_CAN_BE_QUIET = {"xai": re.compile(r"grok-4\.3(?![0-9])")}
# Models of Alibaba's whose thinking is off unless it is asked for (help.aliyun.com/zh/model-studio/deep-thinking).
_QUIET_QWEN = re.compile(
    r"qwen-(?:plus|turbo|max|flash|long|vl|coder|mt)|qwen(?:1|2)|qwen3-(?:max|coder|vl)|instruct|embedding"
)
_LOUD_QWEN = re.compile(r"thinking|qwq|qvq")

# Their other fields for thinking; and the longest thoughts of any of them, where no field says less (the same page).
_EFFORTS = ("thinking_budget", "reasoning_effort", "thinking", "reasoning")
_QWEN_THOUGHTS = 81_920

# docs.mistral.ai, audio: Voxtral bills what it hears by the minute, beside the tokens of the text.
SOUND_BY_SECOND = frozenset({"mistral"})

# OpenAI's models that search the web in every call (platform.openai.com/docs/guides/tools-web-search: the search models of
# Chat Completions always retrieve before they answer).
_SEARCHES = re.compile(r"-search-(?:preview|api)")


# A picture is made whole or not at all, whatever the cap on text says: 1,290 tokens, or 2,520 in 4K, and there may be two
# (ai.google.dev/gemini-api/docs/pricing, image generation); OpenAI's have up to 6,240
# (platform.openai.com/docs/guides/image-generation, cost).
_PICTURE_TOKENS, _GEMINIS = 12_480, 5_120
_GOOGLE = frozenset({"google", "google-vertex"})
_MAKES_PICTURES, _GEMINI = re.compile(r"-image|nano-banana"), re.compile(r"gemini|nano-banana")
_IN_CHATS = frozenset({"openai.chat", "openai.responses"})


class Habits(NamedTuple):
    """thinks_beside: whether thoughts come on top of the output cap; thinking_cap: the field's that caps them, if there is one.
    fees: what is billed for the call itself. searches: how often the model reads what it finds by itself, at most."""

    thinks_beside: bool = False
    thinking_cap: int | None = None
    fees: Mapping[str, int] = _NOTHING
    searches: int = 0


_PLAIN = Habits()
_NO_UNITS: frozenset[str] = frozenset()
_THOUGHTS = frozenset({"reasoning"})


def habits_of(call: Call, route: Route) -> Habits:
    """What has to be added to the bound of a call at its route."""
    provider, model = route.provider, route.model.lower()
    if provider in ("openai", "azure") and _SEARCHES.search(model):
        searches = 1 if "preview" in model else _MOST_SEARCHES
        return Habits(fees={"web_search": searches}, searches=searches)
    if call.body.get("web_search_options") is not None and provider != "perplexity":
        return Habits(fees={"web_search": _MOST_SEARCHES}, searches=_MOST_SEARCHES)
    thoughts = _thoughts_at_openrouter(call) if provider == "openrouter" else 0
    if (provider in _GOOGLE or call.dialect in _IN_CHATS) and _MAKES_PICTURES.search(model):
        most = _GEMINIS if _GEMINI.search(model) else _PICTURE_TOKENS
        return Habits(thinks_beside=True, thinking_cap=most + thoughts)
    if thoughts:
        return Habits(thinks_beside=True, thinking_cap=thoughts)
    if provider not in _THINKS_BESIDE or call.dialect != "openai.chat":
        return _PLAIN
    if provider == "dashscope":
        thinks, budget = _thinks_at_dashscope(call.body, model)
        return Habits(thinks_beside=thinks, thinking_cap=budget)
    quiet = _NO_THOUGHT[provider].search(model) is not None or (
        call.body.get("reasoning_effort") == "none"
        and (quiet_if := _CAN_BE_QUIET.get(provider)) is not None
        and quiet_if.search(model) is not None
    )
    return Habits(thinks_beside=not quiet)


def _thinks_at_dashscope(body: Mapping[str, Any], model: str) -> tuple[bool, int | None]:
    thinking, budget = body.get("enable_thinking"), body.get("thinking_budget")
    kwargs = body.get("chat_template_kwargs")
    if thinking is None and isinstance(kwargs, dict):
        thinking = kwargs.get("enable_thinking")
    by_itself = not _QUIET_QWEN.search(model) if thinking is None else thinking is not False
    thinks = by_itself or _LOUD_QWEN.search(model) is not None or any(_is_effort(body.get(name)) for name in _EFFORTS)
    return thinks, budget if type(budget) is int and budget > 0 else _QWEN_THOUGHTS


def thoughts_left_out(call: Call, route: Route) -> frozenset[str]:
    """The unit of thoughts, where they are priced apart from the answer and the call turns them off: Alibaba's are, at three
    times the price (help.aliyun.com/zh/model-studio/model-pricing)."""
    if route.provider != "dashscope" or call.dialect != "openai.chat":
        return _NO_UNITS
    thinks = any(_thinks_at_dashscope(call.body, model.lower())[0] for model in route.models)
    return _NO_UNITS if thinks else _THOUGHTS


def _is_effort(value: Any) -> bool:
    """Whether a field that says how much to think says anything but "not at all"."""
    if isinstance(value, dict):
        return value.get("type", value.get("effort")) not in ("disabled", "none", None)
    return value not in (None, False, 0, "", "none")


def _thoughts_at_openrouter(call: Call) -> int:
    """What `reasoning.max_tokens` allows beside an output cap that is smaller; 0 where the cap holds it."""
    reasoning = call.body.get("reasoning")
    most = reasoning.get("max_tokens") if isinstance(reasoning, dict) else None
    return most if type(most) is int and call.output_caps and most > max(call.output_caps) else 0


# anthropic SDK 2.12, `MessageCreateParams.max_tokens`: "Set to `0` to populate the prompt cache without generating a response";
# where the same models answer by the same API.
_WARMS_CACHES = frozenset({"anthropic", "google-vertex", "azure"})


def ignores_cap(call: Call, route: Route) -> bool:
    """Whether the output cap of a call is none where it goes: Ollama takes 0 for "as much as it likes" (0.33, run). At
    Anthropic's API it fills the cache and writes nothing; others that speak it, or are spoken to by a translator, may drop it.
    """
    if call.output_caps != (0,):
        return False
    if call.dialect == "openai.completions":
        return route.provider == "ollama"
    if call.dialect == "bedrock.invoke":
        return "anthropic_version" in call.body and "anthropic." not in route.model
    return call.dialect == "anthropic.messages" and route.provider not in _WARMS_CACHES


def name_cap(call: Call, provider: str) -> dict[str, Any]:
    """Fields that say the output cap under the name that this provider knows, where the client chose one that it ignores."""
    if call.dialect == "openai.chat" and provider not in _KNOWS_COMPLETION_TOKENS:
        cap = call.body.get("max_completion_tokens")
        if cap is not None and call.body.get("max_tokens") is None:
            return {"max_tokens": cap}
    return {}
