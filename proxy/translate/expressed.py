"""Which of a caller's fields a provider can express: LiteLLM silently leaves out the others. Pure.

What a provider must not get is taken out before (`prepared`). What was asked for is looked for in the request that is about to
be sent (`missing`), by the names that it has in any provider's API. What has left no trace is dropped by name, or, where the
answer would be another one, refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from proxy.errors import invalid_request

_MARKING = frozenset({"anthropic", "bedrock"})
_MARKING_CLAUDE = frozenset({"vertex_ai", "azure_ai", "databricks"})
# Whose APIs know nothing of another model's thoughts, and refuse what they do not know.
_THOUGHTLESS = frozenset({"openai", "azure", "mistral", "cohere_chat", "custom_openai", "watsonx", "sagemaker_chat"})
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_DEEPEST = 16


# Below these a request has what a caller wrote, whose names are its own: conversations, tools with their schemas, schemas of
# answers, books. Below the others it has its provider's own names.
_CALLERS = frozenset({
    "messages", "contents", "input", "inputs", "system", "systemInstruction", "system_instruction", "instructions", "tools",
    "functions", "chat_history", "tool_results", "documents", "prompt", "schema", "json_schema", "jsonSchema", "format",
    "responseSchema", "response_schema", "responseJsonSchema", "response_json_schema", "responseFormat", "guided_json",
    "properties", "metadata", "labels", "requestMetadata", "promptVariables", "logit_bias",
})  # fmt: skip


class Wish(NamedTuple):
    """Something that a caller asked for. name: as it is told. needed: without it the answer would be another one. traces: what
    the request has, whatever the provider, if it says so. anywhere: also below what the caller wrote."""

    name: str
    needed: bool
    traces: re.Pattern[bytes]
    anywhere: bool = False


def _named(*names: str) -> re.Pattern[bytes]:
    """Fields of these names, outside of texts: there a quote has a backslash before it."""
    return re.compile(rb'(?<!\\)"(?:' + "|".join(names).encode() + rb')"\s*:')


_FORMAT = re.compile(
    _named(
        "response_format", "output_format", "outputConfig", "textFormat", "response_?[mM]ime_?[tT]ype",
        "response_?(?:json_?)?[sS]chema", "responseJsonSchema", "guided_json",
    ).pattern
    + rb'|(?<!\\)"format"\s*:\s*\{'
)  # fmt: skip
_AS_A_TOOL = "json_tool_call"  # LiteLLM's, where an answer of a form is asked for as a call of a tool
_CHOICE = _named("tool_?[cC]hoice", "function_?[cC]alling_?[cC]onfig", "tool_config")
_PARALLEL = _named("parallel_tool_calls", "disable_parallel_tool_use")
_THINKING = _named(
    "thinking", "think", "thinking_?[cC]onfig", "reasoning", "reasoning_?[eE]ffort", "reasoning_?[cC]onfig", "effort"
)
_TTL = _named("ttl")
_STOP = _named("stop", "stop_?[sS]equences")
_SAMPLING = {
    "temperature": _named("temperature"),
    "top_p": _named("top_?[pP]", "p"),
    "top_k": _named("top_?[kK]", "k"),
}
# Told under their own name wherever they are known.
_BY_ITS_NAME = (
    "truncation", "top_logprobs", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier",
    "context_management",
)  # fmt: skip


def wishes(operation: str, passed: Mapping[str, Any]) -> list[Wish]:
    """What is asked for besides words."""
    if operation not in _OF:
        return []
    asked = list(_OF[operation](passed))
    if any(_marked_for(passed.get(name)) for name in ("messages", "system", "tools")):
        asked.append(Wish("cache_control.ttl", False, _TTL, anywhere=True))
    return asked


def asks_for_a_form(asked: Sequence[Wish]) -> bool:
    """Whether the answer is to have a form: LiteLLM may read what it says then."""
    return any(wish.traces is _FORMAT for wish in asked)


def missing(asked: Sequence[Wish], request: bytes, fields: Mapping[str, Any]) -> Iterator[Wish]:
    """Those of which a request to a provider has no trace. fields: what the request says; none: it is no JSON object."""
    if not asked:
        return
    outline = "".join(_outline(fields)).encode("utf-8", "surrogatepass") if fields else request
    for wish in asked:
        if wish.traces.search(request if wish.anywhere else outline) is None and not (
            wish.traces is _FORMAT and _AS_A_TOOL in _tool_names(fields)
        ):
            yield wish


def _tool_names(fields: Mapping[str, Any]) -> set[str]:
    """The names of the tools in a body, whoever's API it is for."""
    config = fields.get("toolConfig")
    lists = [fields.get("tools"), fields.get("functions"), config.get("tools") if isinstance(config, dict) else None]
    names = set()
    for tool in (one for tools in lists if isinstance(tools, list) for one in tools if isinstance(one, dict)):
        for place in (tool, tool.get("function"), tool.get("toolSpec")):
            if isinstance(place, dict) and isinstance(name := place.get("name"), str):
                names.add(name)
    return names


def _outline(value: Any, depth: int = 0) -> Iterator[str]:
    """The names of a request's fields, as they stand in its JSON, without those that its caller chose."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if '"' not in name:
                yield f'"{name}":{{' if isinstance(inner, dict) else f'"{name}":'
            if name not in _CALLERS and depth < _DEEPEST:
                yield from _outline(inner, depth + 1)
    elif isinstance(value, list) and depth < _DEEPEST:
        for inner in value:
            if isinstance(inner, dict | list):
                yield from _outline(inner, depth + 1)


def _chat(passed: Mapping[str, Any]) -> Iterator[Wish]:
    kind = _kind(passed.get("response_format"))
    if kind in ("json_schema", "json_object"):
        yield Wish("response_format", kind == "json_schema", _FORMAT)
    yield from _of_tools(passed, passed.get("tool_choice"))
    for name in ("reasoning_effort", "thinking"):
        if (value := passed.get(name)) and value != "none" and _kind(value) != "disabled":
            yield Wish(name, False, _THINKING)
    if passed.get("stop"):
        yield Wish("stop", False, _STOP)
    yield from _sampling(passed)


def _responses(passed: Mapping[str, Any]) -> Iterator[Wish]:
    text = passed.get("text")
    kind = _kind(text.get("format")) if isinstance(text, dict) else ""
    if kind in ("json_schema", "json_object"):
        yield Wish("text.format", kind == "json_schema", _FORMAT)
    yield from _of_tools(passed, passed.get("tool_choice"))
    reasoning = passed.get("reasoning")
    if isinstance(reasoning, dict) and reasoning.get("effort") not in (None, "none"):
        yield Wish("reasoning", False, _THINKING)
    yield from _sampling(passed)


def _messages(passed: Mapping[str, Any]) -> Iterator[Wish]:
    config = passed.get("output_config")
    if passed.get("output_format") or (isinstance(config, dict) and config.get("format")):
        yield Wish("output_format" if passed.get("output_format") else "output_config.format", True, _FORMAT)
    if isinstance(config, dict) and config.get("effort"):
        yield Wish("output_config.effort", False, _THINKING)
    choice = passed.get("tool_choice")
    if isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True and passed.get("tools"):
        yield Wish("tool_choice.disable_parallel_tool_use", False, _PARALLEL)
    if passed.get("tools") and _kind(choice) in ("any", "tool", "none"):
        yield Wish("tool_choice", _kind(choice) != "none", _CHOICE)
    if _kind(passed.get("thinking")) in ("enabled", "adaptive"):
        yield Wish("thinking", False, _THINKING)
    if passed.get("stop_sequences"):
        yield Wish("stop_sequences", False, _STOP)
    yield from _sampling(passed)


def _of_tools(passed: Mapping[str, Any], choice: object) -> Iterator[Wish]:
    if not passed.get("tools"):
        return
    if passed.get("parallel_tool_calls") is False:
        yield Wish("parallel_tool_calls", False, _PARALLEL)
    if choice not in (None, "auto") and _kind(choice) != "auto":
        yield Wish("tool_choice", choice != "none", _CHOICE)


def _sampling(passed: Mapping[str, Any]) -> Iterator[Wish]:
    for name, traces in _SAMPLING.items():
        if passed.get(name) is not None:
            yield Wish(name, False, traces)
    for name in _BY_ITS_NAME:
        if passed.get(name) not in (None, "auto", "disabled"):
            yield Wish(name, False, _named(name))


_OF = {"chat": _chat, "responses": _responses, "messages": _messages}


def _kind(value: object) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else ""


# Before LiteLLM has it


def prepared(operation: str, passed: dict[str, Any], provider: str, model: str) -> list[str]:
    """Take out what this provider has no place for: marks of a prompt's cache, of which LiteLLM makes calls of their own, or
    errors; thoughts of other models in a conversation. The names of what was taken out.

    Raises `Refused` (400) for a tool of the name by which LiteLLM asks for an answer of a form: its calls would be taken for
    the answer."""
    if _AS_A_TOOL in _tool_names(passed) and any(wish.traces is _FORMAT for wish in wishes(operation, passed)):
        message = f"A tool called {_AS_A_TOOL!r} would be taken for the answer's own form; give it another name."
        raise invalid_request(message, "tools")
    dropped = []
    claude = "claude" in model.lower()
    if provider not in _MARKING and not (claude and provider in _MARKING_CLAUDE):
        for name in ("messages", "system", "tools", "input"):
            if name in passed and _marked(passed[name]):
                passed[name] = _unmarked(passed[name])
                dropped.append("cache_control")
    if (provider in _THOUGHTLESS or (provider == "azure_ai" and not claude)) and operation in ("chat", "messages"):
        dropped += _drop_thoughts(passed)
    return list(dict.fromkeys(dropped))


def _marked(value: Any, depth: int = 0) -> bool:
    if isinstance(value, dict):
        return "cache_control" in value or (depth < _DEEPEST and _marked(value.get("content"), depth + 1))
    return isinstance(value, list) and any(_marked(one, depth) for one in value)


def _marked_for(value: Any, depth: int = 0) -> bool:
    """Whether a mark says for how long."""
    if isinstance(value, dict):
        mark = value.get("cache_control")
        if isinstance(mark, dict) and mark.get("ttl") not in (None, "5m"):
            return True
        return depth < _DEEPEST and _marked_for(value.get("content"), depth + 1)
    return isinstance(value, list) and any(_marked_for(one, depth) for one in value)


def _unmarked(value: Any, depth: int = 0) -> Any:
    if isinstance(value, dict):
        kept = {name: one for name, one in value.items() if name != "cache_control"}
        if depth < _DEEPEST and isinstance(kept.get("content"), list):
            kept["content"] = _unmarked(kept["content"], depth + 1)
        return kept
    return [_unmarked(one, depth) for one in value] if isinstance(value, list) else value


def _drop_thoughts(passed: dict[str, Any]) -> list[str]:
    messages, dropped = passed.get("messages"), False
    kept = []
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "assistant":
            plain = {name: one for name, one in message.items() if name not in ("thinking_blocks", "reasoning_content")}
            if isinstance(content := plain.get("content"), list):
                plain["content"] = [block for block in content if _kind(block) not in _THOUGHTS]
            dropped = dropped or plain != message
            message = plain  # noqa: PLW2901 - what is kept of it
        kept.append(message)
    if dropped:
        passed["messages"] = kept
    return ["messages.thinking"] if dropped else []
