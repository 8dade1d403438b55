"""Fields and models whose cost has no bound: under a budget that blocks, a call with one is refused, and the refusal names it.

`_FIELDS` says, for each field that is known to cost at some provider, who bounds it and how; at any other provider it is not
known what it does, so that nobody guesses. Names that no table has, but that sound like searches, agents or plug-ins, are
taken for such fields too; every other unknown field passes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from proxy.dialects.fields import PlainNames
from proxy.dialects.responses import CLIENT_TOOLS, tools_of
from proxy.types import Call, Route


class _Costly(NamedTuple):
    """A field that costs. bounded: at these providers the ceiling holds its bill. at: only these bill it; None: who knows.
    has_mode: `{"mode": "off"}` turns it off; in any other field nobody reads that."""

    why: str
    bounded: frozenset[str] = frozenset()
    at: frozenset[str] | None = None
    has_mode: bool = False


_ANOTHER_MODEL = _Costly("another model has another price")
_SEARCHES = _Costly("a search is billed, and so is what it brings in")

_FIELDS: Mapping[str, _Costly] = {
    # docs.x.ai, live search: $25 per 1,000 sources, as many as the model likes to read
    "search_parameters": _Costly("live search bills every source", has_mode=True),
    # help.aliyun.com/zh/model-studio/web-search, …/code-interpreter
    "enable_search": _SEARCHES,
    "search_options": _SEARCHES,
    "enable_code_interpreter": _Costly("the interpreter's rounds are billed"),
    # docs.x.ai, openrouter.ai/docs/features/web-search: by the source or the result. Elsewhere it is bounded: see `habits`.
    "web_search_options": _Costly("searches are billed by what they find", at=frozenset({"xai", "openrouter"})),
    # learn.microsoft.com, Azure OpenAI on your data: hidden prompts, and another service
    "data_sources": _Costly("what is found there becomes input"),
    # openrouter.ai/docs: the web plug-in by the result, PDF engines by the page
    "plugins": _Costly("plug-ins are billed"),
    "models": _ANOTHER_MODEL,
    "route": _ANOTHER_MODEL,
    "fallbacks": _ANOTHER_MODEL,
    "preset": _Costly("a preset brings its own model and prompt"),
    # console.groq.com/docs/compound
    "compound_custom": _Costly("each tool and model is billed"),
    "search_settings": _SEARCHES,
    # docs.cohere.com, v1 chat: connectors search the web
    "connectors": _SEARCHES,
    # docs.z.ai, platform.minimaxi.com
    "web_search": _SEARCHES,
    # docs.anthropic.com, MCP connector: bounded by the turns of the tool loop
    "mcp_servers": _Costly("tools at the provider are billed", bounded=frozenset({"anthropic"})),
    # aws.amazon.com/bedrock/pricing: a guardrail by the text unit, of what goes in and of what comes out
    "guardrailConfig": _Costly("a guardrail is billed by the text unit"),
    # docs.mistral.ai/studio/safety-moderation, docs.together.ai (chat completions): a model beside, at its own price
    "guardrails": _Costly("the model that screens the call is billed", at=frozenset({"mistral"})),
    "safety_model": _Costly("the model that screens the call is billed"),
    # docs.mistral.ai/agents and others
    "agent_id": _Costly("an agent brings its own prompt and tools"),
    "assistant_id": _Costly("an assistant brings its own prompt and tools"),
}
_SOUNDS_COSTLY = re.compile(
    r"(?:web|live|online|deep|enable|internet)_?(?:search|research|brows|retriev)|grounding|deep_?research|(?:\A|_)plugins?(?:\Z|_)"
    r"|connector|browser_use|code_?interpreter|knowledge_?base|(?:\A|_)rag(?:\Z|_)|retrieval|(?:\A|_)agents?(?:\Z|_)|mcp|online\Z"
)

_UNKNOWN = _Costly("nobody here knows what it costs")
_KNOWN_HARMLESS = frozenset({"agent", "agent_name", "enable_search_classifier"})
_ONE_SEARCH = (None, "fast")  # docs.perplexity.ai, Pro Search: `pro`, and `auto` where the provider likes
_OFF: tuple[Any, ...] = (None, False, [], {}, "", "none", "off")

# Tools of Chat Completions that the client runs; every other type runs, and is billed, at the provider.
_CLIENTS_CHAT_TOOLS = frozenset({"function", "custom", None})

# openai SDK 3.54, `types/responses/tool_param.py`: those whose calls are billed as `extra` says, and those that are refused.
_HOSTED_TOOLS = ("web_search", "file_search", "code_interpreter", "shell", "image_generation", "mcp")
# docs.x.ai/docs/guides/tools and openrouter.ai: `max_tool_calls` is not theirs
_CALLS_AS_IT_LIKES = frozenset({"xai", "openrouter", "perplexity", "groq"})

# Models whose searches, thoughts or other models nothing bounds, at these providers.
_MODELS: tuple[tuple[frozenset[str], re.Pattern[str], str], ...] = (
    (frozenset({"perplexity"}), re.compile(r"deep-research"), "it searches, thinks and cites as much as it likes"),
    (frozenset({"openrouter"}), re.compile(r":online\b"), "`:online` adds searches, billed by the result"),
    (frozenset({"openrouter"}), re.compile(r"\A(?:openrouter/)?(?:auto|fusion|bodybuilder)\b"), "it answers with other models"),
    (frozenset({"openrouter"}), re.compile(r"deep-research|\Aperplexity/"), "its searches are billed"),
    # learn.microsoft.com/azure/ai-foundry/openai/concepts/model-router: a fee, and the price of whichever model it chooses
    (frozenset({"azure"}), re.compile(r"model[-_]router"), "it answers with other models, at their prices"),
    # docs.x.ai/developers/model-capabilities/text/multi-agent: 4 or 16 agents, each billed
    (frozenset({"xai", "openrouter"}), re.compile(r"grok.*multi-agent"), "each of its agents is billed"),
    (frozenset({"groq"}), re.compile(r"compound"), "each tool and model that it uses is billed"),
)  # fmt: skip
# What OpenRouter's models make beside text (openrouter.ai/docs, image generation, audio): billed by the token, at prices that
# its list of models has not got. One of the operator's own for that unit bounds it.
_MAKE_MEDIA: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("image_out", re.compile(r"-image(?:-|\Z|:)|nano-banana"), "pictures have a price of their own"),
    ("audio_out", re.compile(r"gpt-audio|-audio-preview|lyria"), "sound has a price of its own"),
    ("video_out", re.compile(r"gemini-omni"), "films have a price of their own"),
)
# Whose models bill sound at many times the text (Qwen-Omni 9 to 60, Voxtral some 20), where the book may have the text's price
# alone: a router's (Google's sound has a price wherever it is not the text's), these of makers'.
_SOUND_APART: Mapping[str, re.Pattern[str]] = {
    "openrouter": re.compile(r"\A(?!.*gemini)"), "dashscope": re.compile("omni"), "stepfun-ai": re.compile("audio"),
}  # fmt: skip
# To whom a film has no sound (help.aliyun.com/zh/model-studio/vision: "cannot understand the audio of a video"; docs.z.ai,
# GLM-V).
_SEE_ONLY = re.compile(r"-vl(?![a-z])|glm-[0-9.]+v(?![a-z])")
_HEARD_AS, _SPOKEN_AS = frozenset({"audio_in", "audio_second"}), frozenset({"audio_out"})
_WITH_SUCH_MODELS = frozenset(provider for providers, _, _ in _MODELS for provider in providers)


# Other names of an output cap (Hugging Face, MiniMax, FasterTransformer, llama.cpp, Ollama), and where some servers keep them.
# Who reads them may write more than the cap that we count on.
_CAP = re.compile(
    r"(?:max|min)(?:new|output|completion|gen|generated|generation|decode|response)?(?:tokens?|len|length|steps)"
    r"|n(?:um)?predict|tokenstogenerate|maxtokenstosample|length"
)
_WRITES = frozenset({"openai.chat", "openai.completions", "openai.responses", "anthropic.messages", "bedrock.invoke"})
_SETTINGS = frozenset({
    "options", "parameters", "generationconfig", "extraparams", "samplingparams", "samplingparameters", "generationparameters",
})  # fmt: skip


def is_cap(name: str) -> bool:
    """Whether a field of that name caps an answer's tokens somewhere."""
    return _CAP.fullmatch(name.lower().replace("_", "")) is not None


def lowered_caps(body: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Those fields of a body that ask, by themselves or in settings, for more output than `most` tokens: asking for so many."""
    lowered: dict[str, Any] = {}
    for name, value in body.items():
        if type(value) is int and value > most and is_cap(name):
            lowered[name] = most
        elif (
            isinstance(value, dict)
            and name.lower().replace("_", "") in _SETTINGS
            and (inner := lowered_caps(value, most))
        ):
            lowered[name] = {**value, **inner}
    return lowered


def larger_cap(body: Mapping[str, Any], most: int) -> str:
    """The field of a body, or of settings in it, that asks for more output than `most` tokens; "" where none does."""
    for name, value in body.items():
        if type(value) is int and value > most and is_cap(name):
            return name
        if (
            isinstance(value, dict)
            and name.lower().replace("_", "") in _SETTINGS
            and (inner := larger_cap(value, most))
        ):
            return inner
    return ""


def unbounded_by(call: Call, route: Route, own_units: frozenset[str] = frozenset()) -> str:
    """What in the call has no bound at its route, for a sentence; "" where everything has. own_units: what the operator has
    prices of his own for."""
    if route.provider in _WITH_SUCH_MODELS and (why := _by_model(call, route, own_units)):
        return why
    harmless = _harmless[call.dialect]
    if harmless.cover(call.body):
        return _by_tools(call, route)
    if call.output_caps and call.dialect in _WRITES and (name := larger_cap(call.body, max(call.output_caps))):
        return f"`{name}` asks for more output than the cap beside it, and some servers go by it; leave it out"
    for name in call.body:
        costly = _costly(name)
        if costly is None:
            if name in _CAPS_OF[call.dialect] or not (is_cap(name) or name.lower().replace("_", "") in _SETTINGS):
                harmless.add(name)
        elif (reason := _reason(costly, call.body[name], route.provider)) is not None:
            return f"`{name}` is given, and {reason}; leave it out"
    return _by_tools(call, route)


def _by_model(call: Call, route: Route, own_units: frozenset[str]) -> str:
    model = route.model.lower()
    for providers, pattern, why in _MODELS:
        if route.provider in providers and pattern.search(model):
            return f"the model {route.model!r} has none, because {why}; ask for another one"
    if route.provider != "openrouter":
        return ""
    wished = call.body.get("modalities")
    for unit, pattern, why in _MAKE_MEDIA:
        if unit in own_units:
            continue
        if pattern.search(model):
            return f"the model {route.model!r} has none, because {why}; ask for another, or give `prices` its `{unit}`"
        if isinstance(wished, list) and unit.removesuffix("_out") in wished:
            return f"`modalities` asks for more than text, and {why}; leave it out, or give `prices` its `{unit}`"
    return ""


def sound_apart(call: Call, route: Route) -> tuple[frozenset[str], ...]:
    """Of each kind of sound that goes in or comes out where a text's price does not hold for it: the units, of which one has to
    have a price."""
    apart = _SOUND_APART.get(route.provider)
    if apart is None or not any(apart.search(model.lower()) for model in route.models):
        return ()
    sees_only = all(_SEE_ONLY.search(model.lower()) for model in route.models)
    hears = any(medium.kind == "audio" or (medium.kind == "video" and not sees_only) for medium in call.media)
    wished = call.body.get("modalities")
    speaks = call.body.get("audio") is not None or (isinstance(wished, list) and "audio" in wished)
    return (*([_HEARD_AS] if hears else []), *([_SPOKEN_AS] if speaks else []))


def goes_by_names(call: Call) -> bool:
    """Whether `unbounded_by` says the same of every call of the dialect whose body has fields of the same names, whatever they
    hold: known once it was asked. The tools among them are the client's own."""
    return _harmless[call.dialect].cover(call.body)


def _by_tools(call: Call, route: Route) -> str:
    if call.dialect == "openai.chat":
        return _by_chat_tools(call.body.get("tools"))
    return _by_hosted_tools(call, route) if call.dialect == "openai.responses" else ""


# The cap of each dialect, which is what the others are compared with.
_CAPS_OF: Mapping[str, frozenset[str]] = defaultdict(
    lambda: frozenset({"max_tokens"}),
    {
        "openai.chat": frozenset({"max_tokens", "max_completion_tokens"}),
        "openai.responses": frozenset({"max_output_tokens"}),
    },
)
_harmless: Mapping[str, PlainNames] = defaultdict(PlainNames)  # by dialect


def _costly(name: str) -> _Costly | None:
    """What a field of that name may cost; None: nothing."""
    rule = _FIELDS.get(name)
    if rule is None and name not in _KNOWN_HARMLESS and _SOUNDS_COSTLY.search(name.lower()):
        return _UNKNOWN
    return rule


def _reason(costly: _Costly, value: Any, provider: str) -> str | None:
    if value in _OFF or (costly.has_mode and isinstance(value, dict) and value.get("mode") == "off"):
        return None
    if provider == "perplexity" and isinstance(value, dict) and value.get("search_type") not in _ONE_SEARCH:
        return "a Pro Search adds steps of its own, at a higher fee"
    counts = provider not in costly.bounded and (costly.at is None or provider in costly.at)
    return costly.why if counts else None


def _by_chat_tools(tools: Any) -> str:
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str | None) or kind not in _CLIENTS_CHAT_TOOLS:
            return f"`tools` has one of the type {str(kind)[:40]!r}, which the provider runs and bills; leave it out"
    return ""


def _by_hosted_tools(call: Call, route: Route) -> str:
    """Tools of Responses that run at a provider which is not known to count their calls, or which nobody knows."""
    for tool in tools_of(call.body, call.body.get("input")) if call.tools is None else call.tools:
        kind = tool.get("type") or "function"
        if kind.startswith(CLIENT_TOOLS):
            continue
        if not kind.startswith(_HOSTED_TOOLS):
            return f"`tools` has one of the type {kind[:40]!r}, and nobody here knows what it costs; leave it out"
        if route.provider in _CALLS_AS_IT_LIKES:
            return f"`tools` has {kind[:40]!r}, which {route.provider} calls as often as it likes; leave it out"
    return ""
