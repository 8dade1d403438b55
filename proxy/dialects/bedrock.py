"""Amazon Bedrock's runtime API, client side: Converse, and InvokeModel, whose body is the model's maker's own.

The model stands in the path: an id, an inference profile, or an ARN of one. Shapes: Bedrock Runtime API reference (Converse,
ConverseStream, InvokeModel, InvokeModelWithResponseStream, CountTokens), as botocore 1.44.8 has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from proxy.dialects import anthropic, bedrock_media, fields, references
from proxy.dialects.bedrock_turns import CONVERSE, INVOKE
from proxy.dialects.outgoing import Outgoing, json_body
from proxy.dialects.plain_messages import PlainMessages
from proxy.dialects.tool_bounds import ToolBounds
from proxy.errors import Refusal, invalid_request, stored_not_found
from proxy.types import Call
from proxy.wire import aws_event_stream

_CONVERSE_FIELDS = frozenset({
    "messages", "system", "inferenceConfig", "toolConfig", "guardrailConfig", "additionalModelRequestFields",
    "performanceConfig", "serviceTier", "outputConfig", "promptVariables",
})  # fmt: skip
_MAX_SEQUENCES = 16
_TOOLS_PROMPT = 1024  # the hidden prompt that any tools bring (docs of Claude: tool use, pricing)

# The output cap of a maker's models in a body of InvokeModel (AWS docs: inference request parameters and response fields).
_CAPS = (
    ("max_tokens",), ("max_completion_tokens",), ("max_gen_len",), ("max_tokens_to_sample",), ("maxTokens",),
    ("max_new_tokens",), ("textGenerationConfig", "maxTokenCount"), ("inferenceConfig", "maxTokens"),
    ("inferenceConfig", "max_new_tokens"),
)  # fmt: skip
_CAPS_OF_MAKERS: tuple[tuple[re.Pattern[str], frozenset[tuple[str, ...]]], ...] = (
    (re.compile(r"anthropic\."), frozenset({("max_tokens",), ("max_tokens_to_sample",)})),
    (re.compile(r"meta\.llama"), frozenset({("max_gen_len",)})),
    (re.compile(r"amazon\.titan-(?:text-(?:lite|express|premier)|tg)"), frozenset({("textGenerationConfig", "maxTokenCount")})),
    (re.compile(r"amazon\.nova-(?:micro|lite|pro|premier|2-lite|2-pro)"),
     frozenset({("inferenceConfig", "maxTokens"), ("inferenceConfig", "max_new_tokens")})),
    (re.compile(r"ai21\.j2"), frozenset({("maxTokens",)})),
    (re.compile(r"openai\."), frozenset({("max_completion_tokens",), ("max_tokens",)})),
    (re.compile(r"(?:ai21\.jamba|mistral\.|cohere\.command|deepseek\.|qwen\.|writer\.)"), frozenset({("max_tokens",)})),
)  # fmt: skip
_SEQUENCES = ("n", "num_generations", "numResults")
_OUTER = {name.lower(): name for name in (*(path[0] for path in _CAPS), *_SEQUENCES)}
_INNER = {path[1].lower(): path[1] for path in _CAPS if len(path) > 1}
# What only requests for vectors, or for an order of documents, have. Nothing is written then.
_WRITES_NOTHING = frozenset(
    {"texts", "input_type", "embeddingTypes", "embedding_types", "normalize", "dimensions", "documents"}
)
_ASKS_FOR_TEXT = frozenset({"messages", "message", "prompt"})
_PICTURES = frozenset(
    {"text_prompts", "textToImageParams", "inPaintingParams", "outPaintingParams", "imageVariationParams"}
)
_ANTHROPICS = (
    "tools",
    "context_management",
    "compaction",
    "mcp_servers",
    "messages",
)  # fields of Anthropic's that add work
_VECTORS_BY_NAME = re.compile(r"embed|rerank|marengo")

# Headers that only InvokeModel has; by `Converse` the same is a field of the body.
_FIELD_OF_HEADER = {
    b"x-amzn-bedrock-guardrailidentifier": "guardrailConfig", b"x-amzn-bedrock-service-tier": "serviceTier",
    b"x-amzn-bedrock-performanceconfig-latency": "performanceConfig",
}  # fmt: skip
_ORDINARY = (b"default", b"standard")

# Of an answer's headers: its id, which exception an error is, and the counts that some makers' bodies lack.
ANSWER_HEADERS = frozenset({
    b"x-amzn-requestid", b"x-amzn-errortype", b"x-amzn-bedrock-input-token-count", b"x-amzn-bedrock-output-token-count",
    b"x-amzn-bedrock-cache-read-input-token-count", b"x-amzn-bedrock-cache-write-input-token-count",
    b"x-amzn-bedrock-invocation-latency", b"x-amzn-bedrock-service-tier", b"x-amzn-bedrock-performanceconfig-latency",
})  # fmt: skip

_EXCEPTIONS = {
    400: "ValidationException", 401: "AccessDeniedException", 402: "ServiceQuotaExceededException",
    403: "AccessDeniedException", 404: "ResourceNotFoundException", 405: "ValidationException", 408: "ModelTimeoutException",
    413: "ValidationException", 415: "ValidationException", 424: "ModelErrorException", 429: "ThrottlingException",
    500: "InternalServerException", 502: "ServiceUnavailableException", 503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
}  # fmt: skip
# What a stream can say (ConverseStreamOutput, ResponseStream); the rest is told by the nearest of these.
_IN_STREAMS = {"ThrottlingException", "ServiceUnavailableException", "InternalServerException", "ValidationException"}


_PLAIN = PlainMessages("messages", '"(?:cachePoint|cache_control|1h)"', sends_model=True)
_PLAIN_ANTHROPICS = PlainMessages("messages", '"(?:citations|cachePoint|cache_control|1h)"', sends_model=True)


def parse_converse(model: str, stream: bool, raw: bytes) -> Call:
    """`converse` and `converse-stream`."""
    messages = _PLAIN.parse(raw)
    body = messages.body
    fields.refuse_names(body, _CONVERSE_FIELDS)
    _refuse_misspelt(body, _CONVERSE_FIELDS)
    config = fields.mapping(body, "inferenceConfig") or {}
    _refuse_misspelt(config, frozenset({"maxTokens"}))
    for name, inside in (("serviceTier", "type"), ("performanceConfig", "latency")):
        if name in body:
            fields.text(fields.mapping(body, name) or {}, inside)
    more = fields.mapping(body, "additionalModelRequestFields") or {}
    _refuse_caps(more)
    _refuse_stored(more)
    in_messages = [*bedrock_media.in_converse(body, messages.fresh)]
    media = (*in_messages, *bedrock_media.in_content(body.get("system")))
    messages.remember(bedrock_media.has_none, nothing_found=not in_messages)
    bounds = _converse_tools(body, more)
    return Call(
        dialect=CONVERSE,
        operation="converse",
        model=model,
        body=body,
        stream=stream,
        size_bytes=len(raw),
        output_caps=fields.integers(config, ("maxTokens",), 1, fields.MAX_TOKENS),
        media_items=len(media),
        media=media,
        prompts=len(body["messages"]),
        sequences=_sequences(more),
        least_output_tokens=max(1024, anthropic.thinking_budget(more) + 1),
        betas=_betas(more),
        beside_tokens=anthropic.SUMMARY_TOKENS if anthropic.summarizes(more) else 0,
        words=messages.words,
        marks=messages.marks,
        written=messages.written,
        **bounds._asdict(),
    )


def _refuse_stored(more: dict[str, Any]) -> None:
    """What stands, in fields that are passed on to the maker, for something that a provider keeps, is nobody's here."""
    if more.get("thread"):
        raise stored_not_found("thread")
    if more and references.of(more, references.ANTHROPIC).held:
        raise stored_not_found("additionalModelRequestFields")


def parse_invoke(model: str, stream: bool, raw: bytes) -> Call:
    """`invoke` and `invoke-with-response-stream`: the body is that of whoever made the model, known by its shape."""
    body = fields.load_object(raw)
    messages = _PLAIN_ANTHROPICS.of(body, raw) if "anthropic_version" in body else None
    if messages is None:
        fields.refuse_long_integers(raw, body)
    _refuse_variants(body)
    caps = tuple(cap for _, cap in _caps_in(body))
    unbounded = ""
    if _PICTURES & body.keys() or "taskType" in body:
        unbounded = "what this model is billed for is not tokens, and nobody here bounds it"
    if messages is not None:
        call = anthropic.call_of(messages, raw, model, stream=stream)
        return call._replace(
            dialect=INVOKE, operation="invoke", betas=_betas(body), output_caps=caps, sequences=_sequences(body),
            unbounded=call.unbounded or unbounded,
        )  # fmt: skip
    fields.refuse_names(body, frozenset())
    media = tuple(bedrock_media.in_any(body))
    writes_nothing = _WRITES_NOTHING & body.keys() and not _ASKS_FOR_TEXT & body.keys()
    if not unbounded and not caps:
        if writes_nothing or _VECTORS_BY_NAME.search(model):
            caps = (0,)
        elif "messages" not in body and "inputText" not in body:
            unbounded = "nothing caps its output: send the cap that the model's own request format has"
    prompts = body.get("messages")
    return Call(
        dialect=INVOKE,
        operation="invoke",
        model=model,
        body=body,
        stream=stream,
        size_bytes=len(raw),
        output_caps=caps,
        sequences=_sequences(body),
        media_items=len(media),
        media=media,
        prompts=len(prompts) if isinstance(prompts, list) else 1,
        hidden_tokens=_TOOLS_PROMPT if body.get("tools") or body.get("toolConfig") else 0,
        unbounded=unbounded,
    )


def parse_count(model: str, raw: bytes) -> Call:
    """Counting is free of charge; only the model matters."""
    return Call(
        dialect="bedrock.count_tokens", operation="count_tokens", model=model, body=fields.parse_object(raw), stream=False,
        size_bytes=len(raw), output_caps=(0,), free=True,
    )  # fmt: skip


def with_headers(call: Call, headers: Mapping[bytes, bytes]) -> Call:
    """The call; raises `Refused` where a header asks for what is asked for by a field of Converse."""
    for name, field in _FIELD_OF_HEADER.items():
        if (value := headers.get(name)) and value.lower() not in _ORDINARY:
            header = name.decode()
            raise invalid_request(f"The header {header} is not passed on; use Converse, where it is `{field}`.", header)
    return call


def _sequences(body: Mapping[str, Any]) -> int:
    return max([fields.integer(body, name, 1, _MAX_SEQUENCES) or 1 for name in _SEQUENCES])


def _betas(body: Mapping[str, Any]) -> tuple[str, ...]:
    betas = body.get("anthropic_beta")
    return tuple(beta for beta in betas if isinstance(beta, str)) if isinstance(betas, list) else ()


def _refuse_misspelt(body: Mapping[str, Any], names: frozenset[str]) -> None:
    """Names in other letters, which a host might read and we would not."""
    plain = {name.lower(): name for name in names}
    for field in body:
        name = plain.get(field.replace("_", "").lower(), field)
        if name != field:
            raise invalid_request(f"The field {field[:40]!r} is a misspelling of {name!r}.", name)


def _refuse_variants(body: Mapping[str, Any]) -> None:
    """Caps in other letters, which a host might read and we would not."""
    for names, inner in ((_OUTER, body), *((_INNER, body.get(path[0])) for path in _CAPS if len(path) > 1)):
        for field in inner if isinstance(inner, dict) else ():
            name = names.get(field.lower(), field)
            if name != field and field not in names.values():
                raise invalid_request(f"The field {field[:40]!r} is a misspelling of {name!r}.", name)


def _refuse_caps(more: Mapping[str, Any]) -> None:
    """Another output cap beside Converse's own: who knows which of the two holds."""
    for path, _ in _caps_in(more):
        name = "additionalModelRequestFields." + ".".join(path)
        raise invalid_request(f"`{name}` is an output cap; send `inferenceConfig.maxTokens`.", name)


def _caps_in(body: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], int]]:
    """The output caps that a body has, by where they stand. Raises `Refused` for one that is no number of tokens."""
    for path in _CAPS:
        inner: Any = body
        for name in path[:-1]:
            inner = inner.get(name)
            if not isinstance(inner, dict):
                inner = {}
        least = 0 if path == ("max_tokens",) and "anthropic_version" in body else 1  # as Anthropic has it
        if (cap := fields.integer(inner, path[-1], least, fields.MAX_TOKENS)) is not None:
            yield path, cap


def _converse_tools(body: Mapping[str, Any], more: Mapping[str, Any]) -> ToolBounds:
    """What tools may add: hidden prompts; those of the provider's own have no bound that is known here."""
    bounds = anthropic.tool_bounds(more) if any(map(more.get, _ANTHROPICS)) else ToolBounds()
    if more.get("fallbacks"):
        bounds = bounds._replace(unbounded="`fallbacks` may answer with a model of another price; leave it out")
    config = fields.mapping(body, "toolConfig") or {}
    tools = fields.optional_objects(config, "tools")
    if tools:
        bounds = bounds._replace(hidden_tokens=bounds.hidden_tokens + _TOOLS_PROMPT)
    for tool in tools:
        for name in tool:
            if name not in ("toolSpec", "cachePoint"):
                unbounded = f"`toolConfig` has a {name[:40]!r}, and nobody here knows what that costs; leave it out"
                bounds = bounds._replace(unbounded=unbounded)
    return bounds


# How it is sent


def cap_converse(body: Mapping[str, Any], tokens: int, provider: str) -> dict[str, Any]:
    return {"inferenceConfig": {**(body.get("inferenceConfig") or {}), "maxTokens": tokens}}


def cap_invoke(body: Mapping[str, Any], tokens: int, provider: str) -> dict[str, Any]:
    """Every cap that the body has at no more than `tokens`; where it has none, the one that goes with its shape."""
    caps = dict(_caps_in(body)) or {_usual_cap(body): tokens}
    changes: dict[str, Any] = {}
    for path, cap in caps.items():
        least = min(cap, tokens)
        if len(path) == 1:
            changes[path[0]] = least
        else:
            changes[path[0]] = {**(changes.get(path[0]) or body.get(path[0]) or {}), path[1]: least}
    return changes


def _usual_cap(body: Mapping[str, Any]) -> tuple[str, ...]:
    if "inputText" in body:
        return ("textGenerationConfig", "maxTokenCount")
    return ("inferenceConfig", "maxTokens") if "schemaVersion" in body or "inferenceConfig" in body else ("max_tokens",)


def encode(call: Call, model: str) -> Outgoing:
    """The body. Raises `Refused` where the model is known to go by another output cap than those that it has."""
    if call.dialect == INVOKE:
        _require_cap(call, model)
    return json_body(call.body, call.size_bytes, call.written)


def _require_cap(call: Call, model: str) -> None:
    sent = {path for path, _ in _caps_in(call.body)}
    bare = model.lower().rpartition("/")[2]
    caps_read = next((caps for pattern, caps in _CAPS_OF_MAKERS if pattern.search(bare)), None)
    if caps_read is None:
        return
    writes_nothing = not sent and call.output_caps == (0,)
    if (sent and not sent & caps_read) or (writes_nothing and not _VECTORS_BY_NAME.search(bare)):
        name = ".".join(min(caps_read))
        raise invalid_request(f"This model's output cap is `{name}`; send that.", name)


# How we say no


def refusal_body(refusal: Refusal) -> bytes:
    body = {"__type": _exception(refusal), "message": _words(refusal), "reason": refusal.code, **refusal.detail}
    return orjson.dumps(body)


def refusal_headers(refusal: Refusal) -> list[tuple[bytes, bytes]]:
    """By this AWS's SDKs know which of their exceptions it is."""
    return [(b"x-amzn-errortype", _exception(refusal).encode())]


def stream_end(refusal: Refusal, _: Sequence[Any] = ()) -> bytes:
    """The last message of a stream that we cut: an exception, which SDKs raise."""
    name = _exception(refusal)
    if name not in _IN_STREAMS:
        name = "ValidationException" if refusal.status < 500 else "ServiceUnavailableException"
    payload = orjson.dumps({"message": _words(refusal)})
    return aws_event_stream.encode_exception(name[0].lower() + name[1:], payload)


def _exception(refusal: Refusal) -> str:
    if refusal.final and refusal.status in (402, 429):
        return "ServiceQuotaExceededException"
    return _EXCEPTIONS.get(refusal.status, "ValidationException" if refusal.status < 500 else "InternalServerException")


def _words(refusal: Refusal) -> str:
    """The message with the reason's code in it, since SDKs show nothing else of the body."""
    return f"{refusal.code}: {refusal.message}"
