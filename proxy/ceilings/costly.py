"""Fields and models that can cost what nothing bounds: under a budget that blocks, a call with one is refused by its name.

`_FIELDS` says, for each field that is known to cost at some provider, who bounds it and how; at any other provider it is not
known what it does, so that nobody guesses. Names that no table has, but that sound like searches, agents or plug-ins, are
taken for such fields too; every other unknown field passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from proxy.ceilings.habits import habits_of
from proxy.types import Call, Route

_Harmless = Callable[[Any], bool]


def _is_off(value: Any) -> bool:
    return value in (None, False, [], {}, "none", "off")


def _is_mode_off(value: Any) -> bool:
    return _is_off(value) or (isinstance(value, dict) and value.get("mode") == "off")


# Field: who bills it, as its documentation says. `bounded`: providers whose bill the ceiling holds (see `habits`).
_FIELDS: Mapping[str, tuple[_Harmless, frozenset[str], str]] = {
    # docs.x.ai, live search: $25 per 1,000 sources, as many as the model likes to read
    "search_parameters": (_is_mode_off, frozenset(), "live search bills every source"),
    # help.aliyun.com/zh/model-studio/web-search: billed by the search, whose results are input
    "enable_search": (_is_off, frozenset(), "a search is billed, and so is what it brings in"),
    "search_options": (_is_off, frozenset(), "a search is billed, and so is what it brings in"),
    "enable_code_interpreter": (_is_off, frozenset(), "the interpreter's rounds are billed"),
    # OpenAI: only its search models take it; Perplexity: the fee of each request goes by it
    "web_search_options": (_is_off, frozenset({"openai", "azure", "perplexity"}), "a search is billed"),
    # learn.microsoft.com, on your data: hidden prompts, and another service
    "data_sources": (_is_off, frozenset(), "what is found there becomes input"),
    # openrouter.ai/docs: web plug-in by the result, PDF engines by the page, other models by their own price
    "plugins": (_is_off, frozenset(), "plug-ins are billed"),
    "models": (_is_off, frozenset(), "another model has another price"),
    "route": (_is_off, frozenset(), "another model has another price"),
    "preset": (_is_off, frozenset(), "a preset brings its own model and prompt"),
    "fallbacks": (_is_off, frozenset(), "another model has another price"),
    # console.groq.com/docs/compound
    "compound_custom": (_is_off, frozenset(), "each tool and model is billed"),
    "search_settings": (_is_off, frozenset(), "a search is billed"),
    # docs.cohere.com v1: connectors search the web
    "connectors": (_is_off, frozenset(), "a connector's searches become input"),
    # docs.mistral.ai, docs.z.ai, platform.minimaxi.com
    "web_search": (_is_off, frozenset(), "a search is billed"),
    "mcp_servers": (_is_off, frozenset({"anthropic"}), "tools at the provider are billed"),
    "agent_id": (_is_off, frozenset(), "an agent brings its own prompt and tools"),
    "assistant_id": (_is_off, frozenset(), "an assistant brings its own prompt and tools"),
}
_SOUNDS_COSTLY = re.compile(
    r"(?:web|live|online|deep|enable|internet)_?(?:search|research|brows|retriev)|grounding|deep_?research|(?:\A|_)plugins?(?:\Z|_)"
    r"|connector|browser_use|code_?interpreter|knowledge_?base|(?:\A|_)rag(?:\Z|_)|retrieval|(?:\A|_)agents?(?:\Z|_)|mcp|online\Z"
)

# Tools of Chat Completions that the client runs; every other type runs, and is billed, at the provider.
_CLIENTS_CHAT_TOOLS = frozenset({"function", "custom", None})

# Models whose searches, thoughts or other models nothing bounds.
_MODELS: tuple[tuple[frozenset[str], re.Pattern[str], str], ...] = (
    (frozenset({"perplexity"}), re.compile(r"deep-research"), "it searches, thinks and cites as much as it likes"),
    (frozenset({"openrouter"}), re.compile(r":online\b"), "`:online` adds searches, billed by the result"),
    (frozenset({"openrouter"}), re.compile(r"\A(?:openrouter/)?(?:auto|fusion|bodybuilder)\b"), "it answers with other models"),
    (frozenset({"openrouter"}), re.compile(r"deep-research|\Aperplexity/"), "its searches are billed"),
    (frozenset({"groq"}), re.compile(r"compound"), "each tool and model that it uses is billed"),
)  # fmt: skip


def unbounded_by(call: Call, route: Route) -> str:
    """What in the call has no bound at its route, for a sentence; "" where everything has."""
    for providers, pattern, why in _MODELS:
        if route.provider in providers and pattern.search(route.model.lower()):
            return f"the model {route.model!r} has none, because {why}; ask for another one"
    for name, value in call.body.items():
        if (reason := _reason(name, value, call, route)) is not None:
            return f"`{name}` is given, and {reason}; leave it out"
    if call.dialect == "openai.chat":
        return _by_tools(call)
    return ""


def _reason(name: str, value: Any, call: Call, route: Route) -> str | None:
    known = _FIELDS.get(name)
    if known is not None:
        harmless, bounded, why = known
        if harmless(value) or _is_bounded(name, call, route, bounded):
            return None
        return why
    if not _is_off(value) and name not in _KNOWN_HARMLESS and _SOUNDS_COSTLY.search(name.lower()):
        return "nobody here knows what it costs"
    return None


def _is_bounded(name: str, call: Call, route: Route, bounded: frozenset[str]) -> bool:
    if route.provider not in bounded:
        return False
    if name == "web_search_options" and route.provider in ("openai", "azure"):
        return habits_of(call, route).searches > 0
    return True


_KNOWN_HARMLESS = frozenset({"tool_choice", "agent", "agent_name", "embedding_types"})


def _by_tools(call: Call) -> str:
    tools = call.body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str | None) or kind not in _CLIENTS_CHAT_TOOLS:
            return f"a tool of the type {str(kind)[:40]!r} runs at the provider, which bills it; leave it out"
    return ""
