"""Google's Gemini API, client side. The model stands in the path; the body is proto JSON, which knows two spellings.

Shapes: ai.google.dev/api/generate-content, google-genai 3.4 `types.py`. A field may be camelCase or snake_case: servers
take both, so bounded ones are put into camelCase as they are read, and what was read is what is forwarded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import orjson

from pricing.media.bounds import Medium
from proxy.dialects import attachments, fields, references
from proxy.dialects.outgoing import Outgoing, dumps, json_body
from proxy.dialects.plain_messages import PlainMessages
from proxy.dialects.tool_bounds import ToolBounds
from proxy.errors import Refusal, invalid_request
from proxy.types import Call

_BOUNDED = (
    "contents",
    "systemInstruction",
    "generationConfig",
    "tools",
    "toolConfig",
    "cachedContent",
    "model",
    "serviceTier",
    "continuationToken",
    "generationOutputConfig",
)
_CONFIG = (
    "maxOutputTokens",
    "candidateCount",
    "thinkingConfig",
    "responseModalities",
    "speechConfig",
    "mediaResolution",
)
_TEXT_PARTS = frozenset({
    "text", "thought", "thoughtSignature", "functionCall", "functionResponse", "executableCode", "codeExecutionResult",
})  # fmt: skip
# google-genai 3.4, `types.Tool`; what they cost: ai.google.dev/gemini-api/docs/pricing
_GOOGLES_TOOLS = frozenset(
    {
        "googlesearch",
        "googlesearchretrieval",
        "urlcontext",
        "codeexecution",
        "filesearch",
        "googlemaps",
        "enterprisewebsearch",
    }
)
_MAX_CANDIDATES = 8
_MAX_QUERIES = 10  # searches that one grounded answer makes; no field limits them
_MAX_EMBEDDINGS = 2048
_TOOL_PROMPT = 4096

_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 402: "RESOURCE_EXHAUSTED", 403: "PERMISSION_DENIED",
    404: "NOT_FOUND", 405: "UNIMPLEMENTED", 413: "INVALID_ARGUMENT", 415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED", 502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


_PLAIN = PlainMessages("contents")


def parse_generate(model: str, stream: bool, raw: bytes) -> Call:
    """`generateContent` and `streamGenerateContent`. `stream`: as SSE; a stream as one JSON array is a whole answer."""
    contents = _PLAIN.parse(raw)
    body = contents.body
    fields.refuse_names(body, frozenset(_BOUNDED))
    _rename(body, _BOUNDED)
    config = fields.mapping(body, "generationConfig") or {}
    _rename(config, _CONFIG)
    thinking = fields.mapping(config, "thinkingConfig") or {}
    _rename(thinking, ("thinkingBudget",))
    budget = fields.integer(thinking, "thinkingBudget", -1, fields.MAX_TOKENS) or 0  # -1: as the model likes
    fields.objects(body, "contents")
    fields.text(body, "serviceTier")
    resolution = config.get("mediaResolution")
    media = _media_in(body.get("systemInstruction"), resolution)
    beside = len(media)
    media += chain.from_iterable([_media_in(content, resolution) for content in contents.fresh])
    referred = contents.references(references.GEMINI)
    held = referred.held
    contents.remember(_is_plain, nothing_found=len(media) == beside and referred is references.NO_REFERENCES)
    return Call(
        dialect="gemini",
        operation="generate",
        model=model,
        body=body,
        stream=stream,
        size_bytes=len(raw),
        output_caps=fields.integers(config, ("maxOutputTokens",), 1, fields.MAX_TOKENS),
        sequences=fields.integer(config, "candidateCount", 1, _MAX_CANDIDATES) or 1,
        # A token of an answer that is gone on with stands for what the provider keeps of it.
        media_items=len(media) + len(held) + (body.get("continuationToken") is not None),
        media=tuple(media),
        prompts=len(body["contents"]),
        held=held,
        least_output_tokens=max(1024, budget + 1),
        marks=contents.marks,
        written=contents.written,
        **_tool_bounds(body)._asdict(),
    )


def _is_plain(content: Any) -> bool:
    """Whether nothing that is looked for stands in a content that was looked at."""
    return not _media_in(content, None) and references.nothing_in(content, references.GEMINI)


_COUNTED = ("contents", "systemInstruction", "system_instruction", "tools", "toolConfig", "cachedContent")


def count_request(call: Call, model: str) -> tuple[str, bytes]:
    """Path and body of the provider's own count of an input (API reference: models.countTokens)."""
    body = {name: call.body[name] for name in _COUNTED if name in call.body}
    request = {"generateContentRequest": {"model": f"models/{model}", **body}}
    return "/v1beta/models/{model}:countTokens", dumps(request)


def parse_count(model: str, raw: bytes) -> Call:
    """Counting is free of charge; only the model matters."""
    body = fields.parse_object(raw)
    _rename(body, ("generateContentRequest", "model"))
    fields.mapping(body, "generateContentRequest")
    held = references.of(body, references.GEMINI).held
    return Call(
        dialect="gemini.count_tokens", operation="count_tokens", model=model, body=body, stream=False,
        size_bytes=len(raw), output_caps=(0,), free=True, held=held,
    )  # fmt: skip


def parse_embed(model: str, raw: bytes) -> Call:
    """`embedContent`, and `batchEmbedContents`, which the SDKs use for it."""
    body = fields.parse_object(raw)
    _rename(body, ("content", "requests", "model"))
    held = references.of(body, references.GEMINI).held
    requests = fields.objects(body, "requests") if "requests" in body else [body]
    if len(requests) > _MAX_EMBEDDINGS:
        raise invalid_request(f"`requests` may hold at most {_MAX_EMBEDDINGS} items.", "requests")
    media: list[Medium] = []
    for request in requests:
        _rename(request, ("content", "model"))
        if fields.mapping(request, "content") is None:
            raise invalid_request("`content` must be an object.", "content")
        media += _media_in(request["content"], None)
    return Call(
        dialect="gemini.embed", operation="embeddings", model=model, body=body, stream=False, size_bytes=len(raw),
        output_caps=(0,), sequences=len(requests), prompts=len(requests), media_items=len(media) + len(held), held=held,
    )  # fmt: skip


def read_input(body: dict[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    """Put fields of these names, of a body that holds what a model reads, into camelCase; ids in it, to be the team's own."""
    fields.refuse_names(body, frozenset(names))
    _rename(body, names)
    return references.of(body, references.GEMINI).held


def media_of(body: Mapping[str, Any]) -> tuple[Medium, ...]:
    """Those parts of the input whose tokens are not bounded by their bytes."""
    contents = (body.get("systemInstruction"), *fields.optional_objects(body, "contents"))
    return tuple(medium for content in contents for medium in _media_in(content, None))


def _rename(body: dict[str, Any], names: tuple[str, ...]) -> None:
    """Put bounded fields into camelCase. Raises `Refused` for another spelling, or for both at once."""
    plain = {name.lower(): name for name in names}
    for spelling in list(body):
        name = plain.get(spelling.replace("_", "").lower())
        if name is None or spelling == name:
            continue
        snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
        if spelling != snake or name in body:
            raise invalid_request(
                f"The field {spelling[:40]!r} is a misspelling of {name!r}, or is sent beside it.", name
            )
        body[name] = body.pop(spelling)


def _media_in(content: object, resolution: object) -> list[Medium]:
    """Parts whose tokens their bytes do not bound."""
    parts = content.get("parts") if isinstance(content, dict) else None
    media: list[Medium] = []
    for part in parts if isinstance(parts, list) else [parts]:
        if not isinstance(part, dict):
            continue
        response = part.get("functionResponse")
        if isinstance(response, dict) and isinstance(response.get("parts"), list):
            media += _media_in(response, resolution)
        elif isinstance(response, dict) and response.get("parts"):
            media.append(Medium(""))
        if not _TEXT_PARTS.issuperset(part):
            media.append(attachments.of_gemini_part(part, resolution))
    return media


def _tool_bounds(body: Mapping[str, Any]) -> ToolBounds:
    """What Google's own tools may add: once more a context, and searches that are billed by the query."""
    bounds = ToolBounds()
    for tool in fields.optional_objects(body, "tools"):
        for name in tool:
            plain = name.replace("_", "").lower()
            if plain == "functiondeclarations":
                continue
            if plain == "computeruse":  # the client runs it; what it puts into the prompt is unpublished
                bounds = bounds._replace(hidden_tokens=_TOOL_PROMPT)
                continue
            if plain not in _GOOGLES_TOOLS:
                unbounded = f"`tools` has {name[:40]!r}, and nobody here knows what that costs; leave it out"
                bounds = bounds._replace(unbounded=unbounded)
            extra = dict(bounds.extra)
            if plain == "googlemaps":
                extra["grounding_maps"] = _MAX_QUERIES
            elif "search" in plain and plain != "filesearch":
                extra["grounding"] = _MAX_QUERIES
            # What a tool brings in is counted once, and has to fit into the context.
            bounds = bounds._replace(passes=2, extra=extra)
    return bounds


def cap(body: Mapping[str, Any], tokens: int, provider: str) -> dict[str, Any]:
    return {"generationConfig": {**(body.get("generationConfig") or {}), "maxOutputTokens": tokens}}


def encode(call: Call, model: str) -> Outgoing:
    """The body; wherever it names a model, that is the one that the call was routed to."""
    body, name = dict(call.body), f"models/{model}"
    if call.dialect == "gemini":
        body.pop("model", None)
    elif call.dialect == "gemini.embed":
        if body.get("requests"):
            body["requests"] = [{**request, "model": name} for request in body["requests"]]
        else:
            body["model"] = name
    elif isinstance(inner := body.get("generateContentRequest"), dict):
        body["generateContentRequest"] = {**inner, "model": name}
    return json_body(body, call.size_bytes, call.written)


def status_of(refusal: Refusal) -> str:
    """Google's word for it (google.rpc.Code)."""
    return _STATUSES.get(refusal.status, "INTERNAL")


def refusal_body(refusal: Refusal) -> bytes:
    return orjson.dumps({"error": _error(refusal)})


def stream_end(refusal: Refusal, _: Sequence[Any] = ()) -> bytes:
    """The last bytes of a stream that we cut: an error, which SDKs raise."""
    return b"data: " + orjson.dumps({"error": _error(refusal)}) + b"\n\n"


def _error(refusal: Refusal) -> dict[str, Any]:
    """Google's error object; its `reason` is our code (google.rpc.ErrorInfo)."""
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": refusal.code,
        "domain": "taximeter",
        "metadata": dict(refusal.detail),
    }
    return {
        "code": refusal.status,
        "message": refusal.message,
        "status": status_of(refusal),
        "details": [info],
    }
