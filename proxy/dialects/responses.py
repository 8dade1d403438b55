"""OpenAI's Responses, client side: answers, their compaction and token counts, and what can be done with a stored one.

Shapes: openai SDK 3.54 `types/responses/response_create_params.py`, `response_compact_params.py`, `tool_param.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from proxy.dialects import fields
from proxy.errors import Refusal, invalid_request, stored_not_found
from proxy.types import Call

_BOUNDED = frozenset({
    "model", "input", "instructions", "max_output_tokens", "max_tool_calls", "stream", "stream_options", "tools", "n",
    "background", "previous_response_id", "conversation", "prompt", "service_tier", "reasoning", "context_management",
})  # fmt: skip
_TEXT_PARTS = frozenset({"input_text", "output_text", "summary_text", "reasoning_text", "text", "refusal"})
# Tools that the client runs itself; every other type runs at the provider.
_CLIENT_TOOLS = ("function", "custom", "computer", "local_shell", "apply_patch", "namespace", "tool_search")
_BILLED_CALLS = (
    ("web_search", "web_search"),
    ("file_search", "file_search"),
    ("code_interpreter", "code_session"),
    ("shell", "code_session"),
)
_MAX_TOOL_CALLS = 10
_TOOL_PROMPT = 4096  # what a tool at the provider adds to the prompt: unpublished, so generous
_CLIENTS_OWN = ("function", "custom", "namespace")  # all that they add stands in the request
_BUILT_IN_PROMPT = 2048  # what one of OpenAI's that the client runs adds: 600 tokens for apply_patch, as recorded


def parse(raw: bytes) -> Call:
    body = fields.parse_object(raw)
    fields.refuse_names(body, _BOUNDED)
    if body.get("n") is not None:
        raise invalid_request("`n` is not a field of this API; some servers would make several answers of it.", "n")
    if fields.boolean(body, "background"):
        raise invalid_request("Background responses cannot be metered here yet; leave `background` out.", "background")
    call = _call(body, len(raw), "openai.responses", "responses")
    call.stream = fields.boolean(body, "stream")
    call.output_caps = fields.integers(body, ("max_output_tokens",), 1, fields.MAX_TOKENS)
    if body.get("conversation") is not None:
        raise stored_not_found("conversation")  # none can be made through this proxy, so it is nobody's here
    if fields.mapping(body, "prompt") is not None:
        call.unbounded = "a stored `prompt` brings text and tools that are not in the call; send them along"
    _bound_tools(call)
    return call


def parse_compact(raw: bytes) -> Call:
    """Compaction answers with one item, as long as the model likes: no field caps it, so it is never made smaller."""
    body = fields.parse_object(raw)
    fields.refuse_names(body, _BOUNDED)
    call = _call(body, len(raw), "openai.responses", "responses.compact")
    call.least_output_tokens = fields.MAX_TOKENS
    return call


_COUNTED = (
    "input", "instructions", "tools", "tool_choice", "previous_response_id", "conversation", "reasoning", "text",
    "truncation", "parallel_tool_calls",
)  # fmt: skip


def count_request(call: Call, model: str) -> tuple[str, bytes]:
    """Path and body of the provider's own count of a response's input (API reference: responses/input_tokens)."""
    body = {name: call.body[name] for name in _COUNTED if name in call.body}
    return "/responses/input_tokens", orjson.dumps({"model": model, **body})


def parse_input_tokens(raw: bytes) -> Call:
    """Counting is free of charge; only the model and stored context matter."""
    body = fields.parse_object(raw)
    fields.refuse_names(body, _BOUNDED)
    call = _call(body, len(raw), "openai.count_tokens", "responses.input_tokens")
    call.free = True
    if body.get("conversation") is not None:
        raise stored_not_found("conversation")
    return call


def parse_stored(operation: str, response_id: str, raw: bytes) -> Call:
    """A call about one stored response: free of charge, and its model is that of the response."""
    return Call(
        dialect="openai.count_tokens", operation=operation, model="", body={}, stream=False, size_bytes=len(raw),
        output_caps=(0,), free=True, held=(response_id,),
    )  # fmt: skip


def _call(body: dict[str, Any], size: int, dialect: str, operation: str) -> Call:
    items = body.get("input")
    if items is not None and not isinstance(items, str):
        items = fields.objects(body, "input")
    references = _Inputs(items if isinstance(items, list) else [])
    previous = fields.text(body, "previous_response_id")
    held = (*references.held, *((previous,) if previous is not None else ()))
    return Call(
        dialect=dialect,
        operation=operation,
        model=fields.model_name(body),
        body=body,
        stream=False,
        size_bytes=size,
        media_items=references.media + len(held),
        prompts=len(items) if isinstance(items, list) else 1,
        held=held,
    )


class _Inputs:
    """What is in `input` besides text: how many `media`, and which stored items (`held`)."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.media = 0
        self.held: tuple[str, ...] = ()
        for item in items:
            if item.get("type") == "item_reference" or (set(item) <= {"id", "type"} and "id" in item):
                self.held += (str(item.get("id")),)
            for content in (item.get("content"), item.get("output")):
                self._read(content)

    def _read(self, content: object) -> None:
        for part in content if isinstance(content, list) else ():
            if not isinstance(part, dict):
                continue
            if part.get("file_id") is not None:
                raise stored_not_found("file_id")  # no file can be made through this proxy, so it is nobody's here
            self.media += part.get("type") not in _TEXT_PARTS


def _bound_tools(call: Call) -> None:
    """Count what the tools at the provider may do, and say so to the provider where the client did not."""
    tools = fields.optional_objects(call.body, "tools")
    hosted = [tool for tool in tools if not _kind(tool).startswith(_CLIENT_TOOLS)]
    calls = fields.integer(call.body, "max_tool_calls", 1, 1000)
    turns = 1 if call.body.get("context_management") else 0  # compaction reads the context once more
    if hosted:
        if calls is None:
            calls = call.tool_calls = call.body["max_tool_calls"] = _MAX_TOOL_CALLS
        turns += calls
    built_in = [tool for tool in tools if _kind(tool).startswith(_CLIENT_TOOLS) and _kind(tool) not in _CLIENTS_OWN]
    call.hidden_tokens += _BUILT_IN_PROMPT * len(built_in)
    extra: dict[str, int] = {}
    for tool in hosted:
        kind = _kind(tool)
        call.hidden_tokens += _TOOL_PROMPT
        if kind == "image_generation":
            call.unbounded = "the image_generation tool bills another model; leave it out"
        elif kind == "mcp":
            call.unbounded = "the calls of an mcp tool are not limited by max_tool_calls; leave it out"
        elif isinstance(tool.get("container"), str):
            raise stored_not_found("container")
        for prefix, unit in _BILLED_CALLS:
            if kind.startswith(prefix):
                extra[unit] = calls or 0
    call.extra = extra
    call.passes = 1 + turns


def _kind(tool: Mapping[str, Any]) -> str:
    return fields.text(tool, "type") or "function"


def cap(body: Mapping[str, Any], tokens: int, provider: str) -> dict[str, Any]:
    return {"max_output_tokens": tokens}


def stream_end(refusal: Refusal) -> bytes:
    """The last event of a stream that we cut: a response that failed, with the reason's code (Codex reads it)."""
    response = {
        "object": "response",
        "status": "failed",
        "output": [],
        "error": {"code": refusal.code, "message": refusal.message},
    }
    event = {"type": "response.failed", "response": response}
    return b"event: response.failed\ndata: " + orjson.dumps(event) + b"\n\n"
