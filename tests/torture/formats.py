"""The provider's wire formats: what a request asks for, and how an answer of so many tokens looks. No I/O, no faults.

`read` gives an `Ask`; `whole` the unary answer; `events` the events of a stream with the completion tokens that each
carries. Shapes follow the vendors' own: OpenAI sends `"usage":null` in every chunk and one last chunk without choices
when asked for usage, and nothing when not; Anthropic counts cumulatively in `message_delta`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

# Each is one token in the common byte-level vocabularies when it stands after a space.
_WORDS = "the of and to in is that for it was on are as with they be at one have this from by hot but what some"
WORDS = [b" " + word for word in _WORDS.encode().split()]
WIDE_WORDS = ["\u00fcber ", "\u4f60\u597d ", "\U0001f680 ", "\u20ac "]

Counts = dict[str, Any]  # input, cached, written, output, reason: totals as the provider reports them, or lies


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, read. `text` is the prompt, `words` its input tokens, `cap` the output tokens allowed each choice."""

    dialect: str
    model: str
    text: str
    words: int
    stream: bool = False
    choices: int = 1
    cap: int | None = None
    tell: bool = True
    tell_each: bool = False

    @property
    def has_output(self) -> bool:
        return self.dialect != "openai_embeddings"


class BadAskError(Exception):
    """A request that the real provider refuses, with its status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


_DIALECTS = {
    "/v1/chat/completions": "openai_chat",
    "/v1/completions": "openai_completions",
    "/v1/embeddings": "openai_embeddings",
    "/v1/responses": "openai_responses",
    "/v1/messages": "anthropic_messages",
}
_PROMPT_FIELDS = {
    "openai_chat": ("messages",),
    "openai_completions": ("prompt",),
    "openai_embeddings": ("input",),
    "openai_responses": ("instructions", "input"),
    "anthropic_messages": ("system", "messages"),
    "gemini": ("systemInstruction", "contents"),
}
_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def read(path: str, body: bytes) -> Ask:
    """Raises `BadAskError` as the real provider would refuse."""
    try:
        asked = json.loads(body)
    except ValueError:
        raise BadAskError(400, "the body is not JSON") from None
    if not isinstance(asked, dict):
        raise BadAskError(400, "the body is no object")
    gemini = path.startswith("/v1beta/models/")
    dialect = "gemini" if gemini else _DIALECTS.get(path)
    if dialect is None:
        raise BadAskError(404, f"no such path: {path}")
    text = " ".join(itertools.chain.from_iterable(_texts(asked.get(name)) for name in _PROMPT_FIELDS[dialect]))
    if gemini:
        return _read_gemini(path, asked, text)
    streams = asked.get("stream") is True
    options = asked.get("stream_options")
    if options is not None and not streams and dialect.startswith("openai"):
        raise BadAskError(400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    options = options or {}
    caps = [asked[name] for name in _CAPS if asked.get(name) is not None]
    if any(not isinstance(cap, int) or cap < 1 for cap in caps):
        raise BadAskError(400, "a cap on output tokens must be a whole number of at least 1")
    if dialect == "anthropic_messages" and "max_tokens" not in asked:
        raise BadAskError(400, "max_tokens: Field required")
    choices = asked.get("n") or 1
    prompts = asked.get("prompt")
    if dialect == "openai_completions" and isinstance(prompts, list):
        choices *= max(1, len(prompts))
    if dialect == "openai_embeddings":
        choices = len(asked["input"]) if isinstance(asked.get("input"), list) else 1
    return Ask(
        dialect=dialect,
        model=str(asked.get("model")),
        text=text,
        words=len(text.split()),
        stream=streams and dialect != "openai_embeddings",
        choices=choices,
        cap=min(caps) if caps else None,
        tell=not streams
        or dialect in ("openai_responses", "anthropic_messages")
        or options.get("include_usage") is True,
        tell_each=options.get("continuous_usage_stats") is True,
    )


def _read_gemini(path: str, asked: dict[str, Any], text: str) -> Ask:
    model, _, verb = path.removeprefix("/v1beta/models/").partition(":")
    if verb not in ("generateContent", "streamGenerateContent"):
        raise BadAskError(404, f"no such method: {verb}")
    config = asked.get("generationConfig") or {}
    return Ask(
        dialect="gemini",
        model=model,
        text=text,
        words=len(text.split()),
        stream=verb == "streamGenerateContent",
        choices=config.get("candidateCount") or 1,
        cap=config.get("maxOutputTokens"),
    )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from itertools.chain.from_iterable(map(_texts, value))
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(_texts(value.get(name)) for name in ("text", "content", "parts"))


def usage(dialect: str, counts: Counts) -> dict[str, Any]:
    """The usage object. `counts` may be lies of any type; a missing one is left out."""
    if dialect == "anthropic_messages":
        return _present(
            input_tokens=counts.get("anthropic_input"),
            cache_read_input_tokens=counts.get("cached"),
            cache_creation_input_tokens=counts.get("written"),
            output_tokens=counts.get("output"),
        )
    if dialect == "gemini":
        return _present(
            promptTokenCount=counts.get("input"),
            cachedContentTokenCount=counts.get("cached"),
            candidatesTokenCount=counts.get("visible"),
            thoughtsTokenCount=counts.get("reason"),
            totalTokenCount=counts.get("total"),
        )
    if dialect == "openai_responses":
        return _present(
            input_tokens=counts.get("input"),
            input_tokens_details={"cached_tokens": counts.get("cached")},
            output_tokens=counts.get("output"),
            output_tokens_details={"reasoning_tokens": counts.get("reason")},
            total_tokens=counts.get("total"),
        )
    if dialect == "openai_embeddings":
        return _present(prompt_tokens=counts.get("input"), total_tokens=counts.get("total"))
    return _present(
        prompt_tokens=counts.get("input"),
        completion_tokens=counts.get("output"),
        total_tokens=counts.get("total"),
        prompt_tokens_details={"cached_tokens": counts.get("cached"), "audio_tokens": 0},
        completion_tokens_details={"reasoning_tokens": counts.get("reason"), "audio_tokens": 0},
    )


MISSING = object()


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not MISSING}


def words(count: int, start: int = 0, wide: bool = False) -> str:
    """`count` tokens of text."""
    if wide:
        return "".join(WIDE_WORDS[(start + i) % len(WIDE_WORDS)] for i in range(count))
    return b"".join(WORDS[(start + i) % len(WORDS)] for i in range(count)).decode()


def whole(ask: Ask, reply_id: str, out: int, reason: int, told: dict[str, Any] | None, *, wide: bool = False) -> bytes:
    """The unary answer: `out` completion tokens in each choice, of which `reason` are hidden."""
    text = words(out - reason, wide=wide)
    made: dict[str, Any]
    if ask.dialect == "openai_embeddings":
        rows = [{"object": "embedding", "index": i, "embedding": [0.25, -0.5, 0.125]} for i in range(ask.choices)]
        made = {"object": "list", "model": ask.model, "data": rows, "usage": told}
    elif ask.dialect == "anthropic_messages":
        content = [{"type": "text", "text": text}]
        made = {"id": reply_id, "type": "message", "role": "assistant", "model": ask.model, "content": content}
        made |= {"stop_reason": _finish(ask, out, "max_tokens", "end_turn"), "stop_sequence": None, "usage": told}
    elif ask.dialect == "gemini":
        candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP"}
        made = {"candidates": [candidate | {"index": i} for i in range(ask.choices)], "usageMetadata": told}
        made |= {"modelVersion": ask.model, "responseId": reply_id}
    elif ask.dialect == "openai_responses":
        part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
        output = [{"type": "message", "id": "msg_" + reply_id, "role": "assistant", "content": [part]}]
        made = {"id": reply_id, "object": "response", "status": "completed", "model": ask.model, "output": output}
        made["usage"] = told
    else:
        chat = ask.dialect == "openai_chat"
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        choice |= {"finish_reason": _finish(ask, out, "length", "stop"), "logprobs": None}
        rows = [{"index": i} | choice for i in range(ask.choices)]
        kind = "chat.completion" if chat else "text_completion"
        made = {"id": reply_id, "object": kind, "created": 1_700_000_000, "model": ask.model, "choices": rows}
        made["usage"] = told
    if told is None:
        made.pop("usage", None)
        made.pop("usageMetadata", None)
    return orjson.dumps(made)


def _finish(ask: Ask, out: int, capped: str, ended: str) -> str:
    return capped if ask.cap is not None and out >= ask.cap else ended


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream: its name ("" where the format has none), its payload, the tokens generated for it, and
    whether it tells the final usage."""

    data: bytes
    tokens: int = 0
    name: str = ""
    tells: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """How a stream goes: `out` tokens in each choice, `reason` of them hidden (or shown), `tpc` tokens an event."""

    reply_id: str
    out: int
    reason: int
    tpc: int
    show: bool
    wide: bool
    told: dict[str, Any] | None  # the last usage; None where none is sent
    told_after: Any = None  # tokens so far -> usage, for streams that report as they go

    def pieces(self) -> Iterable[tuple[int, int]]:
        """(first token, count) of each piece of visible text."""
        visible = self.out - self.reason
        return ((at, min(self.tpc, visible - at)) for at in range(0, visible, self.tpc))


def events(ask: Ask, script: Script) -> Iterator[Event]:
    """The stream, event by event. Hidden reasoning is generated before the first text."""
    if ask.dialect == "openai_responses":
        return _responses_events(ask, script)
    if ask.dialect == "anthropic_messages":
        return _anthropic_events(ask, script)
    if ask.dialect == "gemini":
        return _gemini_events(ask, script)
    return _openai_events(ask, script)


def _openai_events(ask: Ask, script: Script) -> Iterator[Event]:
    chat = ask.dialect == "openai_chat"
    kind = "chat.completion.chunk" if chat else "text_completion"
    opening = orjson.dumps({"id": script.reply_id, "object": kind, "created": 1_700_000_000, "model": ask.model})[:-1]
    so_far = 0

    def chunk(index: int, delta: bytes, finish: bytes = b"null") -> bytes:
        told = b""
        if script.told_after is not None:
            told = b',"usage":' + orjson.dumps(script.told_after(so_far))
        elif ask.tell:
            told = b',"usage":null'
        return b'%b,"choices":[{"index":%d,%b,"logprobs":null,"finish_reason":%b}]%b}' % (
            opening, index, delta, finish, told,
        )  # fmt: skip

    def piece(text: str, field: str = "content") -> bytes:
        return (
            (b'"delta":{"%b":%b}' % (field.encode(), orjson.dumps(text))) if chat else b'"text":' + orjson.dumps(text)
        )

    hidden = script.reason * ask.choices
    for index in range(ask.choices):
        if chat:
            yield Event(chunk(index, b'"delta":{"role":"assistant","content":"","refusal":null}'))
    if script.show and chat:
        for at in range(0, script.reason, script.tpc):
            count = min(script.tpc, script.reason - at)
            for index in range(ask.choices):
                so_far += count
                yield Event(chunk(index, piece(words(count, at), "reasoning_content")), count)
        hidden = 0
    for at, count in script.pieces():
        for index in range(ask.choices):
            so_far += count + hidden
            yield Event(chunk(index, piece(words(count, at, script.wide))), count + hidden)
            hidden = 0
    finish = b'"length"' if _finish(ask, script.out, "length", "stop") == "length" else b'"stop"'
    for index in range(ask.choices):
        so_far += hidden
        yield Event(chunk(index, b'"delta":{}' if chat else b'"text":""', finish), hidden)
        hidden = 0
    if script.told is not None:
        yield Event(b'%b,"choices":[],"usage":%b}' % (opening, orjson.dumps(script.told)), tells=True)
    yield Event(b"[DONE]")


def _anthropic_events(ask: Ask, script: Script) -> Iterator[Event]:
    told = script.told or {}
    start = {**told, "output_tokens": 1} if "output_tokens" in told else told
    message = {"id": script.reply_id, "type": "message", "role": "assistant", "model": ask.model, "content": []}
    yield _named({"type": "message_start", "message": message | ({"usage": start} if told else {})})
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield _named(block)
    hidden = script.reason
    for at, count in script.pieces():
        delta = {"type": "text_delta", "text": words(count, at, script.wide)}
        yield _named({"type": "content_block_delta", "index": 0, "delta": delta}, count + hidden)
        hidden = 0
    yield _named({"type": "content_block_stop", "index": 0}, hidden)
    ending = {"stop_reason": _finish(ask, script.out, "max_tokens", "end_turn"), "stop_sequence": None}
    usage_now = {"usage": {"output_tokens": told["output_tokens"]}} if "output_tokens" in told else {}
    yield _named({"type": "message_delta", "delta": ending} | usage_now, tells=bool(usage_now))
    yield _named({"type": "message_stop"})


def _responses_events(ask: Ask, script: Script) -> Iterator[Event]:
    response = {"id": script.reply_id, "object": "response", "status": "in_progress", "model": ask.model, "output": []}
    yield _named({"type": "response.created", "response": response | {"usage": None}, "sequence_number": 0})
    hidden, number = script.reason, 0
    for at, count in script.pieces():
        number += 1
        text = words(count, at, script.wide)
        event = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text}
        yield _named(event | {"item_id": "msg_1", "sequence_number": number}, count + hidden)
        hidden = 0
    ended = json.loads(whole(ask, script.reply_id, script.out, script.reason, script.told, wide=script.wide))
    yield _named({"type": "response.completed", "response": ended, "sequence_number": number + 1}, hidden, True)


def _gemini_events(ask: Ask, script: Script) -> Iterator[Event]:
    hidden = script.reason
    last = script.out - script.reason
    for at, count in [*script.pieces()] or [(0, 0)]:
        done = at + count >= last
        parts = [{"text": words(count, at, script.wide)}]
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if done:
            candidate["finishReason"] = "STOP"
        made: dict[str, Any] = {"candidates": [candidate], "modelVersion": ask.model, "responseId": script.reply_id}
        if script.told is not None and done:
            made["usageMetadata"] = script.told
        yield Event(orjson.dumps(made), count + hidden, tells="usageMetadata" in made)
        hidden = 0


def _named(event: dict[str, Any], tokens: int = 0, tells: bool = False) -> Event:
    return Event(orjson.dumps(event), tokens, str(event["type"]), tells)
