"""OpenAI Responses (and Decisions, which share their usage shape): tokens, and the hosted tools that bill by call.

The usage stands in `response.completed`, `.incomplete` or `.failed`; null before those. Of web search calls only
`search` actions are billed, not the opening of pages; `tool_usage.web_search.num_requests`, if given, is the bill.
Some servers leave `output` out of a stream's last event, and one that is cut has none: the calls stand in
`response.output_item.added` and `.done` only.
Shapes: openai SDK 3.54 `types/responses/response.py` (`ToolUsage`), `response_usage.py`, `types/batch_usage.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pricing.media.made import later_tokens
from pricing.usage import Part
from proxy.meters.openai import fold_chunk, read_envelope
from proxy.meters.openai_usage import Host, host_of, read_usage
from proxy.meters.reader import Context, Reader, first_mapping, note_requested
from proxy.meters.reading_builder import ReadingBuilder, items, mapping, text

# The terminal event is the only one whose usage is not null; calls of hosted tools are billed by themselves.
MARKS = re.compile(
    rb'"(?:usage|error)"\s*:\s*\{|"type"\s*:\s*"(?:response\.(?:completed|incomplete|failed|done)"'
    rb'|(?:web_search|file_search|code_interpreter|shell|image_generation)_call")'
)

_OVER = {"failed", "cancelled"}
_CONTAINER_CALLS = {"code_interpreter_call", "shell_call"}
_IMAGE_CALL = "image_generation_call"
_BILLED_CALLS = {"web_search_call", "file_search_call", _IMAGE_CALL, *_CONTAINER_CALLS}
_LARGEST_CONTAINER = 64
_SESSIONS = {"1g": 1, "4g": 4, "16g": 16, "64g": _LARGEST_CONTAINER}
_KEPT = ("status", "action", "container_id", "environment", "size", "quality", "svg_usage")
_PASSED = "calls that passed"  # in a stream's state: those of its items that are billed, by their id
# Of a picture whose model nobody states: the dearest of those that were the image_generation tool's default.
DEFAULT_IMAGE_MODEL = "gpt-image-1"
# Output tokens of a picture whose usage nobody states: pixels to a token, and a few more, by its quality
# (platform.openai.com/docs/guides/image-generation, cost: 272, 1056, 4160 for 1024x1024; 400 to 408, 1568 to 1584, 6208 to 6240
# for the longer ones); of GPT Image 2 and later, the tool's default (openai SDK 3.54, `types/responses/tool.py`), as the
# calculator says.
_PIXELS_A_TOKEN = {"low": (4096, 24), "medium": (1024, 48), "high": (256, 96)}
_LONGER_PICTURE = (1024, 1536)
_LARGEST_SIDE = 4096
_FIRST_IMAGES = re.compile(r"gpt-image-1|dall-e-")
_SIZE = re.compile(r"(\d{2,5})x(\d{2,5})", re.ASCII)


def responses_reader(dialect: str, own: Host | None = None, facts: Mapping[str, str] | None = None) -> Reader:
    """A reader of Responses as `own` speaks them; else as the provider's row says."""

    def read(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
        body = mapping(response.get("response")) or response  # an event, or a line of a batch's results
        body = mapping(body.get("body")) or body
        read_envelope(body, builder)
        usage = body.get("usage")
        if isinstance(usage, dict):
            read_usage(usage, context, builder, own or host_of(context.provider))
            _read_tools(body, context, builder)
        elif text(body.get("status")) in _OVER:
            builder.has_usage = True  # ended before any work: nothing is billed
        else:
            _read_tools(body, context, builder)  # its tokens are unknown, and counted by those who can

    return Reader(dialect, read, fold_event, marks=MARKS, also=b"_call", facts=facts or {})


def _read_tools(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Hosted tools. Hosts that count them in their usage object have added theirs already."""
    output = _output(response)
    stated = mapping(response.get("tool_usage"))
    billed = builder.maybe(mapping(stated.get("web_search")), "num_requests")
    if "web_search" not in builder.usage:
        builder.add("web_search", sum(map(_is_search, output)) if billed is None else billed)
    if "file_search" not in builder.usage:
        builder.add("file_search", sum(item.get("type") == "file_search_call" for item in output))
    tools = [mapping(tool) for tool in items(response.get("tools"))]
    boxes = len({box for item in output if (box := _container(item))})
    if boxes:
        ordered = tools or [mapping(tool) for tool in items(context.request.get("tools"))]
        boxes *= max(map(container_sessions, ordered), default=1)
    builder.add("code_session", boxes)
    if _have_preview(tools):
        builder.condition("web_search", "preview")
    elif response.get("tools") is None and _have_preview(map(mapping, items(context.request.get("tools")))):
        note_requested(builder, context, "web_search", "preview")
    for item in output:
        read_svg(item, builder)
    if not _read_image_tool(mapping(stated.get("image_gen")), tools, builder):
        pictures = [item for item in output if item.get("type") == _IMAGE_CALL and item.get("status") != "failed"]
        _count_pictures(pictures, tools, builder)


def _output(response: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The items of a response, and those that passed in its stream and that it leaves out."""
    output = [mapping(item) for item in items(response.get("output"))]
    if passed := mapping(response.get(_PASSED)):
        kinds = {text(item.get("type")) for item in output}
        output += [item for item in passed.values() if item["type"] not in kinds]
    return output


def _have_preview(tools: Iterable[Mapping[str, Any]]) -> bool:
    return any((text(tool.get("type")) or "").startswith("web_search_preview") for tool in tools)


def _is_search(item: Mapping[str, Any]) -> bool:
    if item.get("type") != "web_search_call" or item.get("status") == "failed":
        return False
    return text(mapping(item.get("action")).get("type")) in {None, "search"}


def container_sessions(tool: Mapping[str, Any]) -> int:
    """As how many of the smallest a container of a tool is billed: $0.03 for each of its gigabytes (platform.openai.com,
    pricing of tools: 1, 4, 16 or 64 GB); a size that is none of those counts as the largest."""
    for name in ("container", "environment"):
        size = mapping(tool.get(name)).get("memory_limit")
        if size is not None:
            return _SESSIONS.get(size, _LARGEST_CONTAINER) if isinstance(size, str) else _LARGEST_CONTAINER
    return 1


def _container(item: Mapping[str, Any]) -> str | None:
    """The container that a call ran in; each is billed once however many calls it serves. Code runs in none but the
    provider's, whether it is named or not; a shell may be the client's own."""
    kind = text(item.get("type"))
    if kind not in _CONTAINER_CALLS:
        return None
    named = text(item.get("container_id")) or text(mapping(item.get("environment")).get("container_id"))
    return named or ("unnamed" if kind == "code_interpreter_call" else None)


def _read_image_tool(usage: Mapping[str, Any], tools: list[Mapping[str, Any]], builder: ReadingBuilder) -> bool:
    """Tokens of the image tool, billed at its own model; whether any are stated."""
    inner = ReadingBuilder()
    read_usage({**usage, **_cached_images(usage)}, Context(), inner, Host(output="image_out"))
    builder.flags += [flag for flag in inner.flags if flag not in builder.flags]
    if inner.usage:
        builder.parts.append(Part(_image_model(tools), inner.usage))
    return inner.has_usage


def read_svg(made: Mapping[str, Any], builder: ReadingBuilder) -> None:
    """What the model that wrote a picture as SVG has used, which is billed beside the picture's own (`svg_usage`)."""
    svg = mapping(made.get("svg_usage"))
    inner = ReadingBuilder()
    read_usage(svg, Context(), inner)
    if inner.usage:
        builder.parts.append(Part(text(svg.get("model")) or "unknown-svg-model", inner.usage))


def _image_model(tools: list[Mapping[str, Any]]) -> str:
    tool = next((tool for tool in tools if tool.get("type") == "image_generation"), mapping(None))
    return text(tool.get("model")) or DEFAULT_IMAGE_MODEL


def _count_pictures(pictures: list[Mapping[str, Any]], tools: list[Mapping[str, Any]], builder: ReadingBuilder) -> None:
    """Pictures of which nobody says what they took: by their size and quality, the most where these are not known."""
    tool = next((tool for tool in tools if tool.get("type") == "image_generation"), mapping(None))
    first = _FIRST_IMAGES.match(text(tool.get("model")) or "") is not None
    tokens = sum(_picture_tokens(picture, first=first) for picture in pictures)
    if tokens:
        builder.flag("estimated")
        builder.parts.append(Part(_image_model(tools), {"image_out": tokens}))


def _picture_tokens(picture: Mapping[str, Any], *, first: bool) -> int:
    """first: it is of the first models. Of a model that is not known it is the most of both."""
    quality = text(picture.get("quality")) or ""
    size = _SIZE.fullmatch(text(picture.get("size")) or "")
    if size is None:
        sizes = [_LONGER_PICTURE] if first else [_LONGER_PICTURE, (1024, 1024)]
    else:
        sizes = [(max(1, min(int(size[1]), _LARGEST_SIDE)), max(1, min(int(size[2]), _LARGEST_SIDE)))]
    per, more = _PIXELS_A_TOKEN.get(quality, _PIXELS_A_TOKEN["high"])
    tokens = [width * height // per + more for width, height in sizes]
    if not first:
        tokens += [later_tokens(width, height, width * height, quality) for width, height in sizes]
    return max(tokens)


def read_delegated(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> Part | None:
    """Usage of another model's response inside a session, as a part at that model's price."""
    inner = ReadingBuilder()
    read_usage(mapping(response.get("usage")), context, inner)
    _read_tools(response, context, inner)
    builder.flags += [flag for flag in inner.flags if flag not in builder.flags]
    builder.has_usage = builder.has_usage or inner.has_usage
    return Part(text(response.get("model")) or "unknown-delegated-model", inner.usage) if inner.usage else None


def _cached_images(usage: Mapping[str, Any]) -> dict[str, Any]:
    """The image tool states its cache reads beside its details; put them where everyone else has them."""
    details = dict(first_mapping(usage, "input_tokens_details"))
    details["cached_tokens_details"] = usage.get("cached_tokens_details")
    return {"input_tokens_details": details}


_ITEM_EVENTS = frozenset({"response.output_item.added", "response.output_item.done"})


def fold_event(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """A stream event. Servers that put the response itself, or chat-like chunks, into events are understood too."""
    if text(event.get("type")) in _ITEM_EVENTS:
        _note_call(state, event)
        return
    inner = event if event.get("object") == "response" else event.get("response")
    if isinstance(inner, dict):
        state.update({name: value for name, value in inner.items() if value is not None})
        # A usage beside the response that it is of.
        if isinstance(usage := event.get("usage"), dict) and not state.get("usage"):
            state["usage"] = usage
    else:
        fold_chunk(state, event)


def _note_call(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    item = mapping(event.get("item"))
    if (kind := text(item.get("type"))) not in _BILLED_CALLS:
        return
    passed: dict[str, Any] = state.setdefault(_PASSED, {})
    name = text(item.get("id")) or f"output {event.get('output_index', len(passed))}"
    passed[name] = {"type": kind, **{field: item[field] for field in _KEPT if field in item}}


responses = responses_reader("openai.responses")
decisions = responses_reader("openai.decisions", facts={"endpoint": "decisions"})
