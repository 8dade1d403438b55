"""Perplexity: Sonar chat and the Agent API.

Chat: completion, reasoning and citation tokens are three different things although the total counts only the first.
Sonar Deep Research bills each search; the other Sonar models a fee per request by `search_context_size`.
Agent API: OpenAI Responses with Anthropic-like cache names inside the details, and tool calls by name.
Source: docs.perplexity.ai pricing, sonar-deep-research example (its parts equal its cost object to the digit).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from proxy.meters.charges import read_charge
from proxy.meters.openai import USAGE_MARKS, fold_chunk, read_envelope
from proxy.meters.openai_responses import fold_event
from proxy.meters.openai_usage import Host, host_of, read_usage
from proxy.meters.reader import Context, Reader, note_requested
from proxy.meters.reading_builder import ReadingBuilder, mapping, text

_HOST = replace(host_of("perplexity"), charge="")  # which is read below, with the rest that is its own
_HAS_FEE = re.compile(r"sonar(?!-deep-research)")
_TOOLS = {
    "search_web": "web_search",
    "web_search": "web_search",
    "fetch_url": "web_fetch",
    "people_search": "people_search",
    "search_people": "people_search",
    "finance_search": "finance_search",
    "sandbox": "code_session",
}


def read_chat(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Sonar chat completions."""
    read_envelope(response, builder)
    usage = mapping(response.get("usage"))
    read_usage(usage, context, builder, _HOST)
    if not builder.has_usage:
        if builder.model and _HAS_FEE.search(builder.model):  # a stream that was cut before it said more
            builder.add("request", 1)
        return
    read_charge(usage, "cost", builder)
    builder.add("citation", builder.count(usage, "citation_tokens"))
    model = builder.model or context.model
    if "deep-research" in model:
        builder.add("web_search", builder.count(usage, "num_search_queries"))
    elif "sonar" in model:
        size = text(usage.get("search_context_size"))
        options = mapping(context.request.get("web_search_options"))
        builder.add("request", 1)
        note_requested(builder, context, "search_context_size", options.get("search_context_size"))
        note_requested(builder, context, "search_type", options.get("search_type"))
        builder.condition("search_context_size", size)


def read_agent(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """The Agent API (`/v1/responses`)."""
    body = mapping(response.get("response")) or response
    read_envelope(body, builder)
    usage = mapping(body.get("usage"))
    read_usage(usage, context, builder, Host())
    read_charge(usage, "cost", builder)
    for name, calls in mapping(usage.get("tool_calls_details")).items():
        if unit := _TOOLS.get(name):
            builder.add(unit, builder.count(mapping(calls), "invocation"))


chat = Reader("perplexity.chat", read_chat, fold_chunk, marks=USAGE_MARKS)
responses = Reader("perplexity.responses", read_agent, fold_event, marks=USAGE_MARKS)
