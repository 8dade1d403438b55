"""The Anthropic wire format, client side: what `/v1/messages` and its token count ask for, and how we say no.

Shapes: anthropic SDK 2.12 `types/message_create_params.py`, `types/beta/message_create_params.py`, `_exceptions.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import orjson

from pricing.media.bounds import Medium
from proxy.dialects import attachments, fields, references
from proxy.dialects.outgoing import dumps
from proxy.dialects.plain_messages import Messages, PlainMessages
from proxy.dialects.tool_bounds import ToolBounds
from proxy.errors import Refusal, invalid_request
from proxy.types import Call

_BOUNDED = frozenset({
    "model", "messages", "system", "max_tokens", "stream", "tools", "thinking", "service_tier", "speed", "inference_geo",
    "output_config", "context_management", "mcp_servers", "container", "fallbacks", "betas", "compaction", "thread",
})  # fmt: skip
# Blocks whose tokens are bounded by their own bytes. Anything else (images, documents, files) is a medium.
_TEXT_BLOCKS = frozenset({
    "text", "thinking", "redacted_thinking", "tool_use", "tool_result", "server_tool_use", "mcp_tool_use",
    "mcp_tool_result", "search_result", "web_search_tool_result", "web_search_result", "tool_reference", "compaction",
    "tool_addition", "tool_removal", "mcp_tool_listing",
})  # fmt: skip
# Tools that the client runs itself; every other type is a tool that runs at the provider.
_CLIENT_TOOLS = ("custom", "bash_", "text_editor_", "computer_", "memory_", "browser_")
_MAX_TOOL_TURNS = 10  # the provider pauses its own tool loop there (docs: server tools, `pause_turn`)
_TOOLS_PROMPT = 1024  # the hidden prompt that any tools bring: 264 to 804 tokens (docs: tool use, pricing)
_BUILT_IN_PROMPT = (
    1536  # one of Anthropic's that the client runs: 245 (bash) to 1,234 tokens (computer use; docs: each tool)
)
_SERVER_TOOL_PROMPT = 4096
_TOOLSET_PROMPT = 8192  # a family of tools in one entry: 30 members of the browser's; unpublished, so generous
# Citations bring a prompt of their own and a mark for each block: 520 tokens for two blocks, as recorded.
_CITATIONS_PROMPT, _CITED_BLOCK = 1024, 24
_SERVER_TOOLS = ("web_search", "web_fetch", "code_execution", "tool_search_tool", "mcp_toolset", "advisor")

_CLEARS = ("clear_tool_uses", "clear_thinking")  # edits of the context that nothing reads once more
# A summary of the context is billed beside the answer (`usage.iterations`), and is no part of its cap.
SUMMARY_TOKENS = 16_384

VERSION = b"2023-06-01"

_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error",
    504: "timeout_error",
}  # fmt: skip


# Names and values by which prices go, wherever they stand; escapes are written out by then.
_CITATIONS = b'"citations"'
_PLAIN_WORDS = '"(?:citations|cache_control|1h)"'
_PLAIN = PlainMessages("messages", _PLAIN_WORDS)


def parse_messages(raw: bytes) -> Call:
    messages = _PLAIN.parse(raw)
    return call_of(messages, raw, fields.model_name(messages.body), stream=fields.boolean(messages.body, "stream"))


def call_of(messages: Messages, raw: bytes, model: str, *, stream: bool) -> Call:
    """The call that a parsed body is, wherever its model stands."""
    body, fresh = messages.body, messages.fresh
    fields.refuse_names(body, _BOUNDED)
    fields.text(body, "service_tier")
    fields.text(body, "inference_geo")
    least = thinking_budget(body) + 1
    # 0: the prompt is cached, and nothing is written.
    caps = fields.integers(body, ("max_tokens",), 0, fields.MAX_TOKENS)
    in_system, in_messages = _media(body, fresh)
    media = (*in_system, *in_messages)
    continued = _continued(body) if "thread" in body else ()
    thread = body.pop("thread", None)  # its id is to be the team's own, and not to be forgotten
    referred = messages.references(references.ANTHROPIC)
    if thread is not None:
        body["thread"] = thread
    bounds = tool_bounds(body, fresh)
    written = dumps(body) if messages.words is None or _CITATIONS in messages.words else b""
    if _CITATIONS in written:
        hidden = _CITATIONS_PROMPT + _CITED_BLOCK * written.count(b'"type"')
        bounds = bounds._replace(hidden_tokens=bounds.hidden_tokens + hidden)
    if body.get("fallbacks"):
        bounds = bounds._replace(unbounded="`fallbacks` may answer with a model of another price; leave it out")
    is_plain = not in_messages and not _added_tools(fresh) and referred is references.NO_REFERENCES
    messages.remember(_is_plain, nothing_found=is_plain)
    return Call(
        dialect="anthropic.messages",
        operation="messages",
        model=model,
        body=body,
        stream=stream,
        size_bytes=len(raw),
        output_caps=caps,
        media_items=len(media) + len(continued),
        media=media,
        prompts=len(body["messages"]),
        beside_tokens=SUMMARY_TOKENS if summarizes(body) else 0,
        least_output_tokens=fields.MAX_TOKENS if caps == (0,) else max(1024, least),
        fixed={"speed": speed} if (speed := fields.text(body, "speed")) not in (None, "standard") else {},
        held=(*continued, *referred.held),
        urls=referred.urls,
        words=messages.words,
        marks=messages.marks,
        written=messages.written,
        **bounds._asdict(),
    )


def _is_plain(message: dict[str, Any]) -> bool:
    """Whether nothing that is looked for stands in a message that was looked at."""
    media = [*attachments.of_blocks(message.get("content"), "messages", _TEXT_BLOCKS)]
    return not media and not _added_tools([message]) and references.nothing_in(message, references.ANTHROPIC)


def parse_count_tokens(raw: bytes) -> Call:
    """Counting is free of charge; only the model matters."""
    body = fields.parse_object(raw)
    fields.refuse_names(body, _BOUNDED)
    fields.objects(body, "messages")
    referred = references.of(body, references.ANTHROPIC)
    return Call(
        dialect="anthropic.count_tokens",
        operation="count_tokens",
        model=fields.model_name(body),
        body=body,
        stream=False,
        size_bytes=len(raw),
        output_caps=(0,),
        free=True,
        held=referred.held,
        urls=referred.urls,
    )


def keeps_something(call: Call) -> bool:
    """Whether the answer may name a container or files in it, or be a thread's, which a later call can name again."""
    return call.passes > 1 or "container" in call.body or "thread" in call.body


def _continued(body: dict[str, Any]) -> tuple[str, ...]:
    """The id of the answer that the call's thread goes on from, which has to be the team's own; the server has all before it.

    anthropic SDK 2.14, `types/beta/beta_message_thread_param.py`.
    """
    thread = fields.mapping(body, "thread") or {}
    if not thread.keys() <= {"type", "previous_message_id"}:
        raise invalid_request("`thread` has a field that is not known here.", "thread")
    previous = fields.text(thread, "previous_message_id")
    return () if previous is None else (previous,)


_COUNTED = (
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "mcp_servers",
    "context_management",
)


def count_request(call: Call, model: str) -> tuple[str, bytes]:
    """Path and body of the provider's own count of a message's input (docs: token counting; free, rate limited)."""
    body = {name: call.body[name] for name in _COUNTED if name in call.body}
    return "/v1/messages/count_tokens", orjson.dumps({"model": model, **body})


def thinking_budget(body: Mapping[str, Any]) -> int:
    """Tokens that thinking may take of the cap, 0 where none are set aside."""
    thinking = fields.mapping(body, "thinking")
    if thinking is None:
        return 0
    return fields.integer(thinking, "budget_tokens", 1, fields.MAX_TOKENS) or 0


def _media(body: Mapping[str, Any], fresh: Sequence[Any]) -> tuple[Sequence[Medium], Sequence[Medium]]:
    """Those of the system prompt, and those of the messages that have to be looked at."""
    fields.objects(body, "messages")
    system = body.get("system")
    if system is not None and not isinstance(system, str | list):
        raise invalid_request("`system` must be a string or a list of blocks.", "system")
    of_system = [*attachments.of_blocks(system, "system", _TEXT_BLOCKS)]
    media = [attachments.of_blocks(message.get("content"), "messages", _TEXT_BLOCKS) for message in fresh]
    return of_system, [*chain.from_iterable(media)]


def tool_bounds(body: Mapping[str, Any], messages: Any = None) -> ToolBounds:
    """What the tools at the provider may do; in the tools too, where the client did not say. messages: those that may bring
    some, where these are not all of the body's."""
    tools = [
        *fields.optional_objects(body, "tools"),
        *_added_tools(body.get("messages") if messages is None else messages),
    ]
    turns = searches = 0
    hidden = _TOOLS_PROMPT if tools else 0
    unbounded = ""
    for tool in tools:
        kind = fields.kind_of(tool, "tools") or "custom"
        if kind.startswith(_CLIENT_TOOLS):
            if kind != "custom":
                hidden += _TOOLSET_PROMPT if "_toolset" in kind else _BUILT_IN_PROMPT
            continue
        hidden += _SERVER_TOOL_PROMPT
        turns = max(turns, _MAX_TOOL_TURNS)
        if not kind.startswith(_SERVER_TOOLS):
            unbounded = f"`tools` has one of the type {kind[:40]!r}, and nobody here knows what it costs; leave it out"
        elif kind.startswith("advisor"):
            unbounded = "the advisor tool answers with a model of another price; leave it out"
        elif kind.startswith(("web_search", "web_fetch")):
            uses = fields.integer(tool, "max_uses", 1, 1000)
            if uses is None:
                uses = tool["max_uses"] = _MAX_TOOL_TURNS
            turns = max(turns, uses)
            searches += uses if kind.startswith("web_search") else 0
    if fields.optional_objects(body, "mcp_servers"):
        turns = max(turns, _MAX_TOOL_TURNS)
    if summarizes(body):
        turns += 1  # it reads the context once more
    return ToolBounds(hidden, 1 + turns, 0, {"web_search": searches} if searches else {}, unbounded)


def _added_tools(messages: Any) -> list[dict[str, Any]]:
    """Tools that messages bring, beside those of `tools` (anthropic SDK 2.14, `beta_request_tool_addition_block_param.py`)."""
    added = []
    for message in messages if type(messages) is list else ():
        content = message.get("content") if type(message) is dict else None
        for block in content if type(content) is list else ():
            if type(block) is dict and block.get("type") == "tool_addition":
                tool = block.get("tool")
                defined = tool.get("definition", tool) if isinstance(tool, dict) else None
                if not isinstance(defined, dict):
                    raise invalid_request("`tool` of a `tool_addition` must be an object.", "messages")
                if not (fields.kind_of(defined, "messages") or "").endswith("_reference"):
                    added.append(defined)
    return added


def summarizes(body: Mapping[str, Any]) -> bool:
    """Whether the provider may write a summary of the context beside the answer."""
    return bool(body.get("compaction")) or not _only_clears(body.get("context_management"))


def _only_clears(management: Any) -> bool:
    """Whether it makes the prompt smaller before anybody reads it, and no more (docs: context editing)."""
    edits = management.get("edits") if isinstance(management, dict) else management
    if not isinstance(edits, list) or (isinstance(management, dict) and len(management) > 1):
        return not management
    kinds = [edit.get("type") if isinstance(edit, dict) else None for edit in edits]
    return all(isinstance(kind, str) and kind.startswith(_CLEARS) for kind in kinds)


def cap_messages(body: Mapping[str, Any], tokens: int, provider: str) -> dict[str, Any]:
    return {"max_tokens": tokens}


def refusal_body(refusal: Refusal) -> bytes:
    kind = _TYPES.get(refusal.status, "api_error" if refusal.status >= 500 else "invalid_request_error")
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": refusal.message}})


def stream_end(refusal: Refusal, _: Sequence[Any] = ()) -> bytes:
    """The last bytes of a stream that we cut: an error event, which SDKs raise. Its message names the reason's code."""
    kind = _TYPES.get(refusal.status, "api_error")
    error = {"type": kind, "message": f"{refusal.code}: {refusal.message}"}
    return b"event: error\ndata: " + orjson.dumps({"type": "error", "error": error}) + b"\n\n"
