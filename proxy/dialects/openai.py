"""The OpenAI wire format, client side: what chat, completions and embeddings calls ask for, and how we say no.

Shapes: OpenAI's API reference (platform.openai.com/docs/api-reference). How responses are metered: `proxy/meters/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from pricing.media.bounds import Medium
from proxy.dialects import attachments, fields, references
from proxy.dialects.outgoing import dumps
from proxy.dialects.plain_messages import FROM_BYTES, PlainMessages
from proxy.errors import Refusal, invalid_request
from proxy.types import Call

_CHAT_BOUNDED = frozenset({
    "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "tools", "logprobs",
    "top_logprobs", "service_tier", "modalities", "web_search_options", "prediction", "reasoning_effort",
})  # fmt: skip
# No ceiling depends on the values of these fields, except those whose value is part of the shape.
_SHAPED = frozenset({
    "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "tools", "tool_choice",
    "parallel_tool_calls", "response_format", "reasoning_effort", "temperature", "top_p", "presence_penalty",
    "frequency_penalty", "seed", "stop", "user",
})  # fmt: skip
_MAX_EFFORT = 16  # characters
_COMPLETIONS_BOUNDED = frozenset(
    {"model", "prompt", "stream", "stream_options", "max_tokens", "n", "best_of", "logprobs", "suffix"}
)
_EMBEDDINGS_BOUNDED = frozenset({"model", "input", "dimensions"})
_TEXT_PARTS = frozenset({"text", "refusal"})
_MAX_PROMPTS = 2048
_LEGACY_COMPLETION_TOKENS = 16  # what /v1/completions gives where max_tokens is absent (API reference)


_PLAIN = PlainMessages("messages")
# Names of bodies' fields, in their order, of which no check of names has anything to say: one look-up in place of them all.
_ordinary: set[tuple[str, ...]] = set()
_MOST_ORDINARY = 1024


def parse_chat(raw: bytes, model: str | None = None) -> Call:
    known = _PLAIN.parse(raw) if len(raw) >= FROM_BYTES else None
    body = fields.parse_object(raw) if known is None else known.body
    names = tuple(body)
    ordinary = names in _ordinary
    if not ordinary:
        fields.refuse_names(body, _CHAT_BOUNDED)
    messages = fields.objects(body, "messages")
    media: list[Medium] = []
    texts = True  # each message is a role and a text, as most are
    for message in messages if known is None else known.fresh:
        content = message.get("content")
        if len(message) == 2 and type(content) is str and type(message.get("role")) is str:
            continue
        texts = False
        media += _media_in(message, content)
    if texts and references.nothing_beside(body, None if ordinary else references.OPENAI, messages):
        referred = references.NO_REFERENCES
    elif known is None:
        referred = references.of(body, references.OPENAI, messages if texts else None)
    else:
        referred = known.references(references.OPENAI)
    if known is not None:
        known.remember(_is_plain, nothing_found=not media and referred is references.NO_REFERENCES)
    if not ordinary:
        _check_beside(body)
        _note_ordinary(names)
    return Call(  # half of it by its place: of more than fifteen names Python would make a dictionary first
        "openai.chat",
        "chat",
        fields.model_name(body, model),
        body,
        fields.boolean(body, "stream"),
        len(raw),
        fields.integers(body, ("max_tokens", "max_completion_tokens"), 1, fields.MAX_TOKENS),
        (fields.integer(body, "n", 1, fields.MAX_SEQUENCES) or 1) if "n" in body else 1,
        _ask_for_usage(body),
        len(media) + len(referred.held),
        tuple(media),
        beside_tokens=0 if ordinary or body.get("prediction") is None else len(dumps({"": body["prediction"]})),
        unbounded="" if ordinary or "reasoning" not in body else fields.unbounded_reasoning(body),
        prompts=len(messages),
        held=referred.held,
        urls=referred.urls,
        shape=None if media or referred.held or referred.urls else _shape(body, names),
        marks=None if known is None else known.marks,
        written=None if known is None else known.written,
    )


def _check_beside(body: Mapping[str, Any]) -> None:
    """Fields that no ordinary chat has."""
    if "top_logprobs" in body:
        fields.integer(body, "top_logprobs", 0, 20)
    fields.text(body, "service_tier")
    if body.get("best_of") not in (None, 1):
        raise invalid_request(
            "`best_of` is not a field of this API; some servers would make answers that nobody sees.", "best_of"
        )


def _note_ordinary(names: tuple[str, ...]) -> None:
    """Remember the names of a body that was looked at, where that is all there is to know of them."""
    plain = _SHAPED.issuperset(names) and references.OPENAI.plain.issuperset(names)
    if plain and len(_ordinary) < _MOST_ORDINARY:
        _ordinary.add(names)


def _media_in(message: Mapping[str, Any], content: Any) -> list[Medium]:
    """What a message holds that is no text."""
    media: list[Medium] = []
    if type(content) is list:
        media += [
            attachments.of_chat_part(part)
            for part in content
            if type(part) is dict and fields.kind_of(part, "messages") not in _TEXT_PARTS
        ]
    if "images" in message and isinstance(images := message["images"], list):  # of an answer sent back (OpenRouter)
        media += [attachments.of_chat_part(one) if isinstance(one, dict) else Medium("") for one in images]
    if "audio" in message and isinstance(message["audio"], dict):
        media.append(Medium(""))  # what the model said before: the provider keeps it
    return media


def _is_plain(message: Mapping[str, Any]) -> bool:
    """Whether nothing that is looked for stands in a message that was looked at."""
    return not _media_in(message, message.get("content")) and references.nothing_in(message, references.OPENAI)


def _shape(body: Mapping[str, Any], names: tuple[str, ...]) -> tuple[object, ...] | None:
    """`Call.shape` of a chat without media and references."""
    if names not in _ordinary and not _SHAPED.issuperset(names):
        return None
    effort = body.get("reasoning_effort")
    if effort is not None and (type(effort) is not str or len(effort) > _MAX_EFFORT):
        return None
    if "tools" in body and not _are_functions(body["tools"]):
        return None
    return (names, body.get("max_tokens"), body.get("max_completion_tokens"), body.get("n"), effort)


def _are_functions(tools: object) -> bool:
    """Whether the client runs all these tools itself."""
    if type(tools) is not list:
        return False
    return all(type(tool) is dict and tool.get("type") == "function" for tool in tools)


def makes_audio(call: Call) -> bool:
    """Whether the answer may be speech, which a later call can name by its id."""
    return "modalities" in call.body or "audio" in call.body


_TOKENIZED = ("messages", "tools", "chat_template", "chat_template_kwargs")


def tokenize_request(call: Call, model: str) -> tuple[str, bytes]:
    """Path and body of vLLM's own count of a chat's input (docs: tokenizer API). It stands beside /v1, not below."""
    body = {name: call.body[name] for name in _TOKENIZED if name in call.body}
    return "/../tokenize", orjson.dumps({"model": model, "add_generation_prompt": True, **body})


def count_request(call: Call, model: str) -> tuple[str, bytes]:
    """Path and body of llama.cpp's own count of a chat's input (its server's README: the endpoint of a chat, and
    `input_tokens`)."""
    body = {name: value for name, value in call.body.items() if name not in ("stream", "stream_options")}
    return "/chat/completions/input_tokens", dumps({**body, "model": model})


def parse_completions(raw: bytes, model: str | None = None) -> Call:
    body = fields.parse_object(raw)
    fields.refuse_names(body, _COMPLETIONS_BOUNDED)
    references.of(body, references.TOKENS)
    n = fields.integer(body, "n", 1, fields.MAX_SEQUENCES) or 1
    best_of = fields.integer(body, "best_of", 1, fields.MAX_SEQUENCES) or 1
    if body.get("max_tokens") is None:  # a default that llama.cpp and Ollama do not have
        body["max_tokens"] = _LEGACY_COMPLETION_TOKENS
    caps = fields.integers(body, ("max_tokens",), 0, fields.MAX_TOKENS)
    return Call(
        dialect="openai.completions",
        operation="completions",
        model=fields.model_name(body, model),
        body=body,
        stream=fields.boolean(body, "stream"),
        size_bytes=len(raw),
        output_caps=caps,
        sequences=_prompts(body, "prompt") * max(n, best_of),
        wants_usage=_ask_for_usage(body),
    )


def parse_embeddings(raw: bytes, model: str | None = None) -> Call:
    body = fields.parse_object(raw)
    fields.refuse_names(body, _EMBEDDINGS_BOUNDED)
    references.of(body, references.TOKENS)
    return Call(
        dialect="openai.embeddings",
        operation="embeddings",
        model=fields.model_name(body, model),
        body=body,
        stream=False,
        size_bytes=len(raw),
        output_caps=(0,),
        sequences=_prompts(body, "input"),
    )


def _prompts(body: dict[str, Any], name: str) -> int:
    """How many prompts a `prompt` or `input` holds: a string or a list of tokens is one, else one for each item.

    Nothing else passes: of lists that mix tokens and texts, or are deeper, servers make one prompt, or several.
    """
    value = body.get(name)
    if isinstance(value, str) or _are_tokens(value):
        return 1
    prompts = value if isinstance(value, list) and len(value) <= _MAX_PROMPTS else []
    if prompts and all(isinstance(one, str) or _are_tokens(one) for one in prompts):
        return len(prompts)
    raise invalid_request(
        f"`{name}` must be a string, a list of tokens, or a list of at most {_MAX_PROMPTS} of them.", name
    )


def _are_tokens(value: object) -> bool:
    return isinstance(value, list) and {*map(type, value)} == {int}


def _ask_for_usage(body: dict[str, Any]) -> bool:
    """Make the stream end with its usage; say whether the client asked for that itself."""
    if not body.get("stream") and "stream_options" not in body:
        return False
    options = fields.mapping(body, "stream_options")
    has_asked = options is not None and fields.boolean(options, "include_usage")
    if body.get("stream"):
        body["stream_options"] = {**(options or {}), "include_usage": True}
    return has_asked


def ask_for_usage_each(call: Call, provider: str) -> tuple[dict[str, Any], bool]:
    """Fields that have vLLM and llama.cpp state the usage so far in every chunk, so that a stream that is cut is charged
    exactly; and whether only we asked for it.

    Of one sequence only: with more, vLLM states each one's own. Docs: vLLM, `stream_options.continuous_usage_stats`;
    llama.cpp's server, `timings_per_token`.
    """
    if not call.stream or call.sequences > 1 or call.dialect not in _STREAMS_USAGE:
        return {}, False
    if provider in LLAMA_CPP:
        return {"timings_per_token": True}, not fields.boolean(call.body, "timings_per_token")
    if provider != "vllm":
        return {}, False
    options = call.body["stream_options"]
    has_asked = fields.boolean(options, "continuous_usage_stats")
    return {"stream_options": {**options, "continuous_usage_stats": True}}, not has_asked


LLAMA_CPP = frozenset({"llama.cpp", "llamacpp", "llama-cpp"})
_STREAMS_USAGE = frozenset({"openai.chat", "openai.completions"})


def cap_completions(body: Mapping[str, Any], tokens: int, provider: str) -> dict[str, Any]:
    return {"max_tokens": tokens}


def cap_nothing(body: Mapping[str, Any], tokens: int, provider: str) -> dict[str, Any]:
    """Embeddings have no output to cap."""
    return {}


def cap_chat(body: Mapping[str, Any], tokens: int, provider: str) -> dict[str, Any]:
    """The output cap: in the fields that the client used, else in the one that the provider takes for every model.

    OpenAI's reasoning models refuse `max_tokens`; most other servers know no other name.
    """
    names = [name for name in ("max_completion_tokens", "max_tokens") if body.get(name) is not None]
    return dict.fromkeys(
        names or ["max_completion_tokens" if provider in ("openai", "azure") else "max_tokens"], tokens
    )


def refusal_body(refusal: Refusal) -> bytes:
    return orjson.dumps({"error": error_of(refusal)})


def stream_end(refusal: Refusal, _: Sequence[Any] = ()) -> bytes:
    """The last bytes of a stream that we cut: an error object, which SDKs raise, and no [DONE]."""
    return b"data: " + orjson.dumps({"error": error_of(refusal)}) + b"\n\n"


def error_of(refusal: Refusal) -> dict[str, Any]:
    """The error object that says no."""
    error = {"message": refusal.message, "type": refusal.kind, "param": refusal.param, "code": refusal.code}
    return {**error, **refusal.detail}
