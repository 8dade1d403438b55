"""OpenAI's Chat Completions, Completions and Embeddings, and the many servers that speak them in their own way.

Here: where a response or a stream has its usage, model and tier. What the usage object says: `openai_usage.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from proxy.meters.openai_usage import (
    EMBEDDING,
    INPUT_NAMES,
    OUTPUT_DETAILS,
    OUTPUT_NAMES,
    Host,
    host_of,
    read_plainly,
    read_usage,
)
from proxy.meters.places import usage_nearby
from proxy.meters.reader import Context, Fold, Reader, merge_counts, note_tier
from proxy.meters.reading_builder import ReadingBuilder, items, mapping, text

# `"usage":null` stands in every chunk of a stream that asked for usage; only an object is worth parsing.
USAGE_MARKS = re.compile(rb'"(?:usage|error)"\s*:\s*\{')


_WITH_SEARCH_MODELS = frozenset({"", "openai", "azure"})
_ALWAYS_SEARCHES = re.compile(r"-search-(?:preview|api)")


def read_envelope(response: Mapping[str, Any], builder: ReadingBuilder) -> None:
    """The served model and tier, which stand beside the usage."""
    builder.model = text(response.get("model"))
    if "service_tier" in response:
        note_tier(builder, response["service_tier"])
    if "service_tier" in (usage := mapping(response.get("usage"))):
        note_tier(builder, usage["service_tier"])


def usage_in(response: Mapping[str, Any]) -> Any:
    """The usage object of a response; where it has none, that of its choices: the prompt once, what each put out; else one
    that stands in another place."""
    usage = response.get("usage")
    if usage:
        return usage
    stated = [own for choice in items(response.get("choices")) if (own := mapping(mapping(choice).get("usage")))]
    if len(stated) < 2:
        return stated[0] if stated else usage_nearby(response) or usage
    builder = ReadingBuilder()
    output = sum(builder.count(own, *OUTPUT_NAMES) for own in stated)
    summed = {**stated[0], "completion_tokens": output, "total_tokens": builder.count(stated[0], *INPUT_NAMES) + output}
    return {name: value for name, value in summed.items() if name not in OUTPUT_DETAILS}


def _unwrapped(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a gateway has put into an envelope of its own."""
    for name in ("response", "data", "result", "body"):
        inner = mapping(response.get(name))
        if "usage" in inner or "choices" in inner:
            return inner
    return response


def shaped_like_openai(dialect: str, own: Host | None = None, fold: Fold | None = None) -> Reader:
    """A reader of Chat Completions (or anything with the same usage) as `own` speaks it; else as the provider's row says."""

    def read(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
        host = own or host_of(context.provider)
        if "usage" not in response and "choices" not in response:
            response = _unwrapped(response)
        read_envelope(response, builder)
        usage = usage_in(response)
        if usage is None and host.more:  # some hosts say in headers or tool lists what their usage leaves out
            usage = {}
        if isinstance(usage, dict):
            host = replace(host, output="image_out") if "/images/" in context.endpoint else host
            if builder.usage or not read_plainly(usage, builder, host):
                if any(isinstance(usage.get(name), str) for name in (*INPUT_NAMES, *OUTPUT_NAMES)):
                    builder.inconsistent()  # a count that came as text: taken, but said
                read_usage(usage, context, builder, host)
        if "-search-" in context.model:
            _read_own_search(context, builder)

    return Reader(dialect, read, fold or fold_chunk, marks=USAGE_MARKS)


def _read_own_search(context: Context, builder: ReadingBuilder) -> None:
    """OpenAI's models that search the web in every call are billed one search for each (docs: web search, pricing); chunks
    of a stream that was cut do too."""
    if context.provider in _WITH_SEARCH_MODELS and _ALWAYS_SEARCHES.search(context.model) and builder.model:
        builder.add("web_search", 1)
        builder.condition("web_search", "preview")


def fold_chunk(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """A chunk of a stream. Usage comes in the last one (`choices: []`), in every one (cumulative), or twice."""
    for name in ("model", "service_tier"):
        if text(value := event.get(name)):
            state[name] = value
    if isinstance(usage := event.get("usage"), dict):
        state["usage"] = merge_counts(mapping(state.get("usage")), usage)
    elif choices := items(event.get("choices")):
        for choice in choices:  # Moonshot: in the choice, with its last chunk; each sequence its own
            if isinstance(own := mapping(choice).get("usage"), dict):
                index = str(mapping(choice).get("index"))
                state.setdefault("by_choice", {})[index] = {"usage": own}
                state["choices"] = list(state["by_choice"].values())
    if usage is None and "by_choice" not in state and (nearby := usage_nearby(event)) is not None:
        state["usage"] = merge_counts(mapping(state.get("usage")), nearby)


def read_nothing(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """An endpoint that is free of charge (token counting)."""
    builder.has_usage = True


def read_moderation(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Moderation. OpenAI's is free and states no usage; others (Mistral's) state tokens, and bill them where they have a
    price."""
    read_envelope(response, builder)
    read_usage(mapping(response.get("usage")), context, builder, EMBEDDING)
    builder.has_usage = True


chat = shaped_like_openai("openai.chat")
completions = shaped_like_openai("openai.completions")
embeddings = shaped_like_openai("openai.embeddings", EMBEDDING)
moderations = Reader("openai.moderations", read_moderation)
count_tokens = Reader("openai.count_tokens", read_nothing)
