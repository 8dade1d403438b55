"""OpenAI's Responses, client side: answers, their compaction and token counts, and what can be done with a stored one.

Shapes: openai SDK 3.54 `types/responses/response_create_params.py`, `response_compact_params.py`, `tool_param.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from pricing.media.bounds import Medium
from proxy.dialects import attachments, fields, references
from proxy.dialects.plain_messages import Messages, PlainMessages
from proxy.dialects.tool_bounds import ToolBounds
from proxy.errors import Refusal, invalid_request
from proxy.meters.openai_responses import container_sessions
from proxy.types import Call
from proxy.wire import lenient

_BOUNDED = frozenset({
    "model", "input", "instructions", "max_output_tokens", "max_tool_calls", "stream", "stream_options", "tools", "n",
    "background", "previous_response_id", "conversation", "prompt", "service_tier", "reasoning", "context_management",
})  # fmt: skip
# Items that stand in the request with all that they say: their content is in this field. Others are looked up by their id.
_SAYS_ALL = {
    "message": "content", "function_call": "arguments", "custom_tool_call": "input", "tool_search_call": "arguments",
    "local_shell_call": "action", "shell_call": "action", "apply_patch_call": "operation", "computer_call": "action",
    "mcp_call": "arguments", "mcp_list_tools": "tools", "mcp_approval_request": "arguments",
    "mcp_approval_response": "approve", "code_interpreter_call": "code", "program": "code", "additional_tools": "tools",
    "function_call_output": "output", "custom_tool_call_output": "output", "shell_call_output": "output",
    "apply_patch_call_output": "status", "computer_call_output": "output", "tool_search_output": "tools",
    "program_output": "result", "image_generation_call": "result",
    "web_search_call": "action",
}  # fmt: skip
_SUMMARY = "compaction_trigger"
_SEALED = frozenset({"reasoning", "compaction"})  # bring all that they say in `encrypted_content`
_TEXT_PARTS = frozenset({"input_text", "output_text", "summary_text", "reasoning_text", "text", "refusal"})
# What every response has (openai SDK 3.57, `types/responses/response.py`): clients take a last event that lacks some of it for
# damaged, and tell its error to nobody (async-openai 0.43, Agent Framework 1.17). Its names, where none were said; the rest.
_NAMED: dict[str, Any] = {"id": "", "created_at": 0, "model": ""}
_WHOLE: dict[str, Any] = {
    "object": "response", "status": "failed", "output": [], "incomplete_details": None, "instructions": None, "metadata": {},
    "parallel_tool_calls": True, "temperature": None, "tool_choice": "auto", "tools": [], "top_p": None, "usage": None,
}  # fmt: skip
# Tools that the client runs itself; every other type runs at the provider.
CLIENT_TOOLS = ("function", "custom", "computer", "local_shell", "apply_patch", "namespace", "tool_search")
_BILLED_CALLS = (
    ("web_search", "web_search"),
    ("file_search", "file_search"),
    ("code_interpreter", "code_session"),
    ("shell", "code_session"),
)
_MAX_TOOL_CALLS = 10
_TOOL_PROMPT = 4096  # what a tool at the provider adds to the prompt: unpublished, so generous
# A summary of the context is written beside the answer.
_SUMMARY_TOKENS = 16_384
_CLIENTS_OWN = ("function", "custom", "namespace")  # all that they add stands in the request
_BUILT_IN_PROMPT = 2048  # what one of OpenAI's that the client runs adds: 600 tokens for apply_patch, as recorded


# Names and values by which prices go, wherever they stand.
_PLAIN = PlainMessages("input", '"(?:prompt_cache|1h")')


def parse(raw: bytes, model: str | None = None) -> Call:
    items = _PLAIN.parse(raw)
    body = items.body
    fields.refuse_names(body, _BOUNDED)
    if body.get("n") is not None:
        raise invalid_request("`n` is not a field of this API; some servers would write several answers for it.", "n")
    if fields.boolean(body, "background"):
        if fields.boolean(body, "stream"):
            raise invalid_request("A background response is fetched by its id here; leave `stream` out.", "stream")
        if body.get("store") is False:
            raise invalid_request(
                "A background response must be stored, as it is fetched by its id; leave `store` out.", "store"
            )
    call = _call(items, len(raw), "openai.responses", "responses", model)
    tools = tools_of(body, items.fresh)
    summary = summarizes(body, items.fresh)
    bounds = _tool_bounds(body, tools, summary=summary)
    if fields.mapping(body, "prompt") is not None and not bounds.unbounded:
        unbounded = "a stored `prompt` brings text and tools that are not in the call; send them along"
        bounds = bounds._replace(unbounded=unbounded)
    if unbounded := fields.unbounded_reasoning(body):
        bounds = bounds._replace(unbounded=unbounded)
    return call._replace(
        stream=fields.boolean(body, "stream"),
        output_caps=fields.integers(body, ("max_output_tokens",), 1, fields.MAX_TOKENS),
        beside_tokens=_SUMMARY_TOKENS if summary else 0,
        words=items.words,
        tools=tuple(tools),
        **bounds._asdict(),
    )


def parse_compact(raw: bytes, model: str | None = None) -> Call:
    """Compaction answers with one item, as long as the model likes: no field caps it, so it is never made smaller."""
    items = _PLAIN.parse(raw)
    fields.refuse_names(items.body, _BOUNDED)
    call = _call(items, len(raw), "openai.responses", "responses.compact", model)
    return call._replace(least_output_tokens=fields.MAX_TOKENS)


_COUNTED = (
    "input", "instructions", "tools", "tool_choice", "previous_response_id", "conversation", "reasoning", "text",
    "truncation", "parallel_tool_calls",
)  # fmt: skip


def count_request(call: Call, model: str) -> tuple[str, bytes]:
    """Path and body of the provider's own count of a response's input (API reference: responses/input_tokens)."""
    body = {name: call.body[name] for name in _COUNTED if name in call.body}
    return "/responses/input_tokens", orjson.dumps({"model": model, **body})


def parse_input_tokens(raw: bytes, model: str | None = None) -> Call:
    """Counting is free of charge; only the model and stored context matter."""
    items = _PLAIN.parse(raw)
    fields.refuse_names(items.body, _BOUNDED)
    return _call(items, len(raw), "openai.count_tokens", "responses.input_tokens", model)._replace(free=True)


def parse_stored(operation: str, response_id: str, raw: bytes) -> Call:
    """A call about one stored response: free of charge, and its model is that of the response."""
    return Call(
        dialect="openai.count_tokens", operation=operation, model="", body={}, stream=False, size_bytes=len(raw),
        output_caps=(0,), free=True, held=(response_id,),
    )  # fmt: skip


def _call(read: Messages, size: int, dialect: str, operation: str, model: str | None) -> Call:
    body, items = read.body, read.listed
    if items is not None and not isinstance(items, str):
        items = fields.objects(body, "input")
    inputs = _Inputs(items, read.fresh) if isinstance(items, list) else _Inputs((), ())
    fields.text(body, "service_tier")
    previous = fields.text(body, "previous_response_id")
    referred = read.references(references.RESPONSES)
    read.remember(_is_plain, nothing_found=inputs.are_plain and referred is references.NO_REFERENCES)
    if previous is not None:
        inputs.looked_up.append(previous)
    return Call(
        dialect=dialect,
        operation=operation,
        model=fields.model_name(body, model),
        body=body,
        stream=False,
        size_bytes=size,
        media_items=len(inputs.media) + len(inputs.looked_up),
        media=tuple(inputs.media),
        prompts=len(items) if isinstance(items, list) else 1,
        marks=read.marks,
        written=read.written,
        held=(*inputs.looked_up, *[one for one in referred.held if one != previous]),
        mentioned=tuple(inputs.mentioned),
        urls=referred.urls,
    )


class _Inputs:
    """What is in `input` besides text: how many `media`, and the ids of items: those that the provider has to look up, and
    those that are only `mentioned`, by items that say all there is to say. are_plain: whether there is none of these, nor an
    item that brings tools or a summary. fresh: those of the items that have to be looked at."""

    def __init__(self, items: Sequence[dict[str, Any]], fresh: Sequence[dict[str, Any]]) -> None:
        self.media: list[Medium] = []
        self.looked_up: list[str] = []
        self.mentioned: list[str] = []
        brings_more = False
        for item in fresh:
            if item.get("id") is not None:
                self._refer(item, items)
            if "tools" in item or item.get("type") == _SUMMARY:
                brings_more = True
            for content in (item.get("content"), item.get("output")):
                self._read(content)
            if isinstance(item.get("result"), str) and item.get("type") == "image_generation_call":
                self.media.append(Medium("image", item["result"]))
        self.are_plain = not (brings_more or self.media or self.looked_up or self.mentioned)

    def _refer(self, item: dict[str, Any], items: Sequence[dict[str, Any]]) -> None:
        kind, item_id = item.get("type"), item["id"]
        if not isinstance(item_id, str) or not isinstance(kind, str | None):
            place = f"input[{next(index for index, one in enumerate(items) if one is item)}]"
            raise invalid_request(f"`id` and `type` of `{place}` must be strings.", place)
        if kind == "local_shell_call_output" or (kind in _SEALED and item.get("encrypted_content")):
            return  # the former's id is that of its call
        says = _SAYS_ALL.get(kind or "message")
        if says is not None and item.get(says) is not None:
            self.mentioned.append(item_id)
        else:
            self.looked_up.append(item_id)

    def _read(self, content: object) -> None:
        for part in content if isinstance(content, list) else (content,):
            if isinstance(part, dict) and fields.kind_of(part, "input") not in _TEXT_PARTS:
                self.media.append(attachments.of_responses_part(part))


def _is_plain(item: dict[str, Any]) -> bool:
    """Whether nothing that is looked for stands in an item that was looked at."""
    return _Inputs((), [item]).are_plain and references.nothing_in(item, references.RESPONSES)


def forget_ids(body: dict[str, Any], ids: frozenset[str]) -> None:
    """Leave the ids out of items that say all there is to say: nobody then looks for what they stand for."""
    for item in body["input"]:
        if item.get("id") in ids:
            del item["id"]


def _tool_bounds(body: dict[str, Any], tools: Sequence[dict[str, Any]], *, summary: bool) -> ToolBounds:
    """What the tools at the provider may do; in the body too, where the client did not say."""
    hosted = [tool for tool in tools if not _kind(tool).startswith(CLIENT_TOOLS)]
    calls = fields.integer(body, "max_tool_calls", 1, 1000)
    turns = 1 if summary else 0  # compaction reads the context once more
    client_tool_tokens = 0
    if hosted:
        if calls is None:
            calls = client_tool_tokens = body["max_tool_calls"] = _MAX_TOOL_CALLS
        turns += calls
    built_in = [tool for tool in tools if _kind(tool).startswith(CLIENT_TOOLS) and _kind(tool) not in _CLIENTS_OWN]
    extra: dict[str, int] = {}
    unbounded = ""
    for tool in hosted:
        kind = _kind(tool)
        if kind == "image_generation":
            unbounded = "the image_generation tool bills another model; leave it out"
        elif kind == "mcp":
            unbounded = "the calls of an mcp tool are not limited by max_tool_calls; leave it out"
        for prefix, unit in _BILLED_CALLS:
            if kind.startswith(prefix):
                sessions = container_sessions(tool) if unit == "code_session" else 1
                extra[unit] = max(extra.get(unit, 0), (calls or 0) * sessions)
    hidden = _BUILT_IN_PROMPT * len(built_in) + _TOOL_PROMPT * len(hosted)
    return ToolBounds(hidden, 1 + turns, client_tool_tokens, extra, unbounded)


def summarizes(body: Mapping[str, Any], items: Any) -> bool:
    """Whether the context may be compacted, of which no cap says how long that gets (openai SDK 3.57, `CompactionTrigger`)."""
    is_summary = isinstance(items, list) and any(item.get("type") == _SUMMARY for item in items)
    return is_summary or bool(body.get("context_management"))


def tools_of(body: Mapping[str, Any], items: Any) -> Sequence[dict[str, Any]]:
    """Every tool that a call brings: of its own list, of namespaces in it, and of items of the input that add more. items:
    those that may add some."""
    tools = fields.optional_objects(body, "tools")
    for item in items if isinstance(items, list) else ():
        if item.get("tools") is not None and item.get("type") != "mcp_list_tools":
            tools = [*tools, *fields.optional_objects(item, "tools")]
    if not any("tools" in tool for tool in tools):
        return tools
    every, inner = list(tools), tools
    while inner := [one for tool in inner if "tools" in tool for one in fields.optional_objects(tool, "tools")]:
        every += inner
    return every


def _kind(tool: Mapping[str, Any]) -> str:
    return fields.kind_of(tool, "tools") or "function"


def cap(body: Mapping[str, Any], tokens: int, provider: str) -> dict[str, Any]:
    return {"max_output_tokens": tokens}


def stream_end(refusal: Refusal, seen: Sequence[Any] = ()) -> bytes:
    """The last event of a stream that we cut: the response that had begun, failed, with the reason's code (Codex reads it)."""
    events = [event for event in seen if isinstance(event, dict)]
    responses = [event["response"] for event in events if isinstance(event.get("response"), dict)]
    begun = responses[0] if responses else {}
    error = {"code": refusal.code, "message": refusal.message}
    response = _WHOLE | {name: begun.get(name, other) for name, other in _NAMED.items()} | {"error": error}
    numbers = [event["sequence_number"] for event in events if isinstance(event.get("sequence_number"), int)]
    event = {"type": "response.failed", "sequence_number": max(numbers, default=-1) + 1, "response": response}
    return b"event: response.failed\ndata: " + lenient.dumps(event) + b"\n\n"
