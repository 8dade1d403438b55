"""OpenAI Responses (and Decisions, which share their usage shape): tokens, and the hosted tools that bill by call.

The usage stands in `response.completed`, `.incomplete` or `.failed`; null before those. Of web search calls only
`search` actions are billed, not the opening of pages; `tool_usage.web_search.num_requests`, if given, is the bill.
Shapes: openai SDK 3.54 `types/responses/response.py` (`ToolUsage`), `response_usage.py`, `types/batch_usage.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pricing.usage import Part
from proxy.meters.openai import Host, fold_chunk, host_of, read_envelope, read_usage
from proxy.meters.reader import Context, Reader, first_mapping
from proxy.meters.tally import Tally, items, mapping, text

# The terminal event is the only one whose usage is not null.
MARKS = re.compile(rb'"(?:usage|error)"\s*:\s*\{|"type"\s*:\s*"response\.(?:completed|incomplete|failed|done)"')

_OVER = {"failed", "cancelled"}
_CONTAINER_CALLS = {"code_interpreter_call", "shell_call"}
DEFAULT_IMAGE_MODEL = "gpt-image-1"  # the image_generation tool's default, by its documentation


def responses_reader(dialect: str, own: Host | None = None, facts: Mapping[str, str] | None = None) -> Reader:
    """A reader of Responses as `own` speaks them; else as the provider's row says."""

    def read(response: Mapping[str, Any], context: Context, tally: Tally) -> None:
        body = mapping(response.get("response")) or response  # an event, or a line of a batch's results
        body = mapping(body.get("body")) or body
        read_envelope(body, tally)
        usage = body.get("usage")
        if isinstance(usage, dict):
            read_usage(usage, context, tally, own or host_of(context.provider))
            _read_tools(body, tally)
        elif text(body.get("status")) in _OVER:
            tally.found = True  # ended before any work: nothing is billed

    return Reader(dialect, read, fold_event, marks=MARKS, facts=facts or {})


def _read_tools(response: Mapping[str, Any], tally: Tally) -> None:
    """Hosted tools. Hosts that count them in their usage object have added theirs already."""
    output = [mapping(item) for item in items(response.get("output"))]
    stated = mapping(response.get("tool_usage"))
    billed = tally.maybe(mapping(stated.get("web_search")), "num_requests")
    if "web_search" not in tally.usage:
        tally.add("web_search", sum(map(_is_search, output)) if billed is None else billed)
    if "file_search" not in tally.usage:
        tally.add("file_search", sum(item.get("type") == "file_search_call" for item in output))
    tally.add("code_session", len({box for item in output if (box := _container(item))}))
    tools = [mapping(tool) for tool in items(response.get("tools"))]
    if any((text(tool.get("type")) or "").startswith("web_search_preview") for tool in tools):
        tally.condition("web_search", "preview")
    _read_image_tool(mapping(stated.get("image_gen")), tools, tally)


def _is_search(item: Mapping[str, Any]) -> bool:
    if item.get("type") != "web_search_call" or item.get("status") == "failed":
        return False
    return text(mapping(item.get("action")).get("type")) in {None, "search"}


def _container(item: Mapping[str, Any]) -> str | None:
    """The container that a call ran in; each is billed once however many calls it serves."""
    if text(item.get("type")) not in _CONTAINER_CALLS:
        return None
    return text(item.get("container_id")) or text(mapping(item.get("environment")).get("container_id"))


def _read_image_tool(usage: Mapping[str, Any], tools: list[Mapping[str, Any]], tally: Tally) -> None:
    """Tokens of the image tool, billed at its own model."""
    inner = Tally()
    read_usage({**usage, **_cached_images(usage)}, Context(), inner, Host(output="image_out"))
    tally.flags += [flag for flag in inner.flags if flag not in tally.flags]
    if inner.usage:
        tool = next((tool for tool in tools if tool.get("type") == "image_generation"), mapping(None))
        tally.parts.append(Part(text(tool.get("model")) or DEFAULT_IMAGE_MODEL, inner.usage))


def read_delegated(response: Mapping[str, Any], context: Context, tally: Tally) -> Part | None:
    """Usage of another model's response inside a session, as a part at that model's price."""
    inner = Tally()
    read_usage(mapping(response.get("usage")), context, inner)
    _read_tools(response, inner)
    tally.flags += [flag for flag in inner.flags if flag not in tally.flags]
    tally.found = tally.found or inner.found
    return Part(text(response.get("model")) or "unknown-delegated-model", inner.usage) if inner.usage else None


def _cached_images(usage: Mapping[str, Any]) -> dict[str, Any]:
    """The image tool states its cache reads beside its details; put them where everyone else has them."""
    details = dict(first_mapping(usage, "input_tokens_details"))
    details["cached_tokens_details"] = usage.get("cached_tokens_details")
    return {"input_tokens_details": details}


def fold_event(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """A stream event. Servers that put the response itself, or chat-like chunks, into events are understood too."""
    inner = event if event.get("object") == "response" else event.get("response")
    if isinstance(inner, dict):
        state.update({name: value for name, value in inner.items() if value is not None})
    else:
        fold_chunk(state, event)


responses = responses_reader("openai.responses")
decisions = responses_reader("openai.decisions", facts={"endpoint": "decisions"})
