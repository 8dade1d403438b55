"""Hosts that speak OpenAI's Chat Completions with a few fields of their own: readers by the table's rows, and the fields'."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pricing.units import INPUT_SIDE, TOKENS
from pricing.usage import Part
from proxy.meters.openai import USAGE_MARKS, fold_chunk, read_envelope, shaped_like_openai, usage_in
from proxy.meters.openai_responses import responses_reader
from proxy.meters.openai_usage import INPUT_DETAILS, Host, host_of, read_usage
from proxy.meters.reader import Context, Reader, first_mapping
from proxy.meters.reading_builder import ReadingBuilder, items, mapping, number, text

# Executed tools that Groq bills by call (console.groq.com/docs/compound, …/browser-search).
_GROQ_TOOLS = {"search": "web_search", "web_search": "web_search", "browser.search": "web_search",
               "browser_search": "web_search", "browser.open": "web_fetch", "visit": "web_fetch"}  # fmt: skip

_XAI_TOOLS = {
    "web_search_calls": "web_search",
    "x_search_calls": "x_search",
    "code_interpreter_calls": "code_execution",
    "file_search_calls": "file_search",
    "collections_search_calls": "file_search",
    "document_search_calls": "document_search",
}


def xai_more(usage: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """xAI's server-side tools."""
    details = first_mapping(usage, "server_side_tool_usage_details", "server_side_tool_usage")
    for name, unit in _XAI_TOOLS.items():
        builder.add(unit, builder.count(details, name))


def openrouter_more(usage: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """OpenRouter's own tools."""
    tools = first_mapping(usage, "server_tool_use_details", "server_tool_use")
    builder.add("web_search", builder.count(tools, "web_search_requests", "web_search_calls"))


def deepseek_more(usage: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Hits and misses are the prompt."""
    hit, miss = builder.maybe(usage, "prompt_cache_hit_tokens"), builder.maybe(usage, "prompt_cache_miss_tokens")
    input_tokens = builder.maybe(usage, "prompt_tokens")
    if hit is not None and miss is not None and input_tokens is not None and hit + miss != input_tokens:
        builder.inconsistent()


def dashscope_more(usage: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """DashScope's search plug-in; what its native API counts in things."""
    search = mapping(mapping(usage.get("plugins")).get("search"))
    builder.add("web_search", builder.count(search, "count"))
    things = {
        "image": "image_count",
        "video_second": "video_duration",
        "character": "characters",
        "audio_second": "duration",
    }
    for unit, name in things.items():
        quantity = builder.maybe(usage, name)
        if quantity is not None:
            builder.has_usage = True
            builder.add(unit, quantity)


_MORE = {"deepseek": deepseek_more, "xai": xai_more, "openrouter": openrouter_more, "dashscope": dashscope_more}
# Hosts with a reader of their own: their fields differ, or answers of theirs were recorded.
_OWN_READERS = (
    "openai", "azure", "groq", "cerebras", "together", "moonshot", "huggingface", "fireworks", "deepseek", "mistral", "xai",
    "openrouter", "deepinfra", "dashscope", "zai", "minimax", "databricks", "vllm", "sglang", "tensorrt",
)  # fmt: skip

HOSTS: dict[str, Host] = {name: replace(host_of(name), more=_MORE.get(name)) for name in _OWN_READERS}


def host_reader(name: str) -> Reader:
    """The reader of `<name>.chat`."""
    return shaped_like_openai(f"{name}.chat", HOSTS[name])


xai_responses = responses_reader("xai.responses", replace(HOSTS["xai"], reasoning="within"))
openrouter_responses = responses_reader("openrouter.responses", HOSTS["openrouter"])
dashscope_native = shaped_like_openai("dashscope.generation", HOSTS["dashscope"])


def read_groq(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Groq. A compound system bills each model that it called; the top-level usage is their sum."""
    read_envelope(response, builder)
    breakdown = [mapping(entry) for entry in items(mapping(response.get("usage_breakdown")).get("models"))]
    for entry in breakdown:
        inner = ReadingBuilder()
        read_usage(mapping(entry.get("usage")), context, inner, HOSTS["groq"])
        builder.flags += [flag for flag in inner.flags if flag not in builder.flags]
        builder.has_usage = builder.has_usage or inner.has_usage
        if inner.usage:
            builder.parts.append(Part(text(entry.get("model")) or context.model, inner.usage))
    own = mapping(usage_in(response)) or mapping(mapping(response.get("x_groq")).get("usage"))
    if not builder.parts:
        read_usage(own, context, builder, HOSTS["groq"])
    else:
        _add_rest(own, context, builder)
    tools = items(response.get("executed_tools"))
    for choice in items(response.get("choices")):
        tools = [*tools, *items(mapping(mapping(choice).get("message")).get("executed_tools"))]
    for tool in tools:
        name = str(mapping(tool).get("name") or mapping(tool).get("type"))
        if unit := _GROQ_TOOLS.get(name):
            builder.add(unit, 1)


def _add_rest(stated: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """What the sum says more than the models inside: at the last one's price, as nobody says whose it is."""
    whole, model, usage = ReadingBuilder(), builder.parts[-1].model, dict(builder.parts[-1].usage)
    read_usage(stated, context, whole, HOSTS["groq"])
    for unit, units in (("input", INPUT_SIDE), ("output", TOKENS - INPUT_SIDE)):
        inside = sum(count for part in builder.parts for name, count in part.usage.items() if name in units)
        rest = sum(count for name, count in whole.usage.items() if name in units) - inside
        if rest > 0:
            builder.inconsistent()
            usage[unit] = usage.get(unit, 0) + rest
    builder.parts[-1] = Part(model, usage)


def fold_groq(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """Groq puts the usage of a stream into `x_groq` of its last chunk."""
    own = mapping(event.get("x_groq"))
    fold_chunk(state, event)
    fold_chunk(state, {"usage": own.get("usage")})
    if isinstance(breakdown := event.get("usage_breakdown") or own.get("usage_breakdown"), dict):
        state["usage_breakdown"] = breakdown
    for choice in items(event.get("choices")):
        message = mapping(mapping(choice).get("delta")) or mapping(mapping(choice).get("message"))
        if tools := items(message.get("executed_tools")):
            state.setdefault("executed_tools", []).extend(tools)


GROQ_MARKS = re.compile(USAGE_MARKS.pattern + rb'|"executed_tools"')
groq_chat = Reader("groq.chat", read_groq, fold_groq, marks=GROQ_MARKS, hint=b"")


def read_fireworks(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Fireworks repeats the prompt's counts in headers, and for some models only there says what was cached."""
    read_envelope(response, builder)
    usage = dict(mapping(usage_in(response)))
    headers = context.response_headers
    if usage and not first_mapping(usage, *INPUT_DETAILS).get("cached_tokens") and not usage.get("cached_tokens"):
        usage["cached_tokens"] = headers.get("fireworks-cached-prompt-tokens")
    read_usage(usage, context, builder, HOSTS["fireworks"])


fireworks_chat = Reader("fireworks.chat", read_fireworks, fold_chunk, marks=USAGE_MARKS)


# mistralai SDK, `ConversationUsageInfo`: how often each of Mistral's own tools ran, and the tokens that they brought in,
# beside the prompt and in the total.
_MISTRAL_TOOLS = {"web_search": "web_search", "web_search_premium": "web_search", "code_interpreter": "code_execution",
                  "image_generation": "image", "document_library": "document_search"}  # fmt: skip


def read_mistral(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Mistral. Audio in a prompt is billed by the second; its tokens are in the total alone."""
    read_envelope(response, builder)
    usage = dict(mapping(usage_in(response)))
    if number(usage.get("prompt_audio_seconds")):
        builder.add("audio_second", builder.count(usage, "prompt_audio_seconds"))
        usage.pop("total_tokens", None)
    for name, unit in _MISTRAL_TOOLS.items():
        builder.add(unit, builder.count(mapping(usage.get("connectors")), name))
    if brought := builder.count(usage, "connector_tokens"):
        usage["prompt_tokens"] = builder.count(usage, "prompt_tokens") + brought
    read_usage(usage, context, builder, HOSTS["mistral"])


mistral_chat = Reader("mistral.chat", read_mistral, fold_chunk, marks=USAGE_MARKS)


def read_wrapped(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Cloudflare's own API wraps what the model said into `result`."""
    body = mapping(response.get("result")) or response
    read_envelope(body, builder)
    read_usage(mapping(usage_in(body)) or mapping(usage_in(response)), context, builder, host_of("cloudflare"))


cloudflare = Reader("cloudflare.run", read_wrapped, fold_chunk, marks=USAGE_MARKS)


def read_cursor(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """A usage event of Cursor's admin API: disjoint counts, and its charge in cents."""
    builder.model = text(response.get("model"))
    usage = mapping(response.get("tokenUsage")) or mapping(response.get("usage"))
    units = {"inputTokens": "input", "cacheReadTokens": "cache_read", "cacheWriteTokens": "cache_write_5m",
             "outputTokens": "output"}  # fmt: skip
    for name, unit in units.items():
        quantity = builder.maybe(usage, name)
        if quantity is not None:
            builder.has_usage = True
            builder.add(unit, quantity)
    cents = usage.get("totalCents")
    builder.reported_cost(cents)
    if builder.cost_usd is not None:
        builder.cost_usd /= 100


cursor = Reader("cursor.usage-event", read_cursor, usage_key="tokenUsage")
