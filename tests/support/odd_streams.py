"""Streams that servers send oddly, through the translator's application twice: with words that pass LiteLLM by, and with each
piece given to it. A line of JSON for each: its name, how many pieces passed by, and both answers, without what is random.
`beside_litellm.py` runs them.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.translate.adapter import Adapter
from proxy.translate.runs import Piece, Run
from proxy.translate.server import Translation
from proxy.translate.transport import Send, quicker
from proxy.wire import aws_event_stream
from tests.support.aws_frames import frame
from tests.support.translation_asked import asked

WORDS = ("one ", "two ", "three ", "four ", "five ", "six ")
SSE, FRAMES = "text/event-stream", "application/vnd.amazon.eventstream"
Parts = Sequence[bytes]

# ---- OpenAI's chat completions ----

_HEAD = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4.1-mini", "object": "chat.completion.chunk"}
_USAGE = {
    "prompt_tokens": 30, "completion_tokens": 13, "total_tokens": 43,
    "prompt_tokens_details": {"cached_tokens": 10}, "completion_tokens_details": {"reasoning_tokens": 4},
}  # fmt: skip


def _event(value: Any) -> bytes:
    return b"data: %b\n\n" % json.dumps(value).encode()


def _chunk(delta: Mapping[str, Any], finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish} | more.pop("choice", {})
    return _event(_HEAD | {"choices": [choice]} | more)


def _raw(words: bytes) -> bytes:
    """A chunk with words as they stand in its JSON."""
    return _chunk({"content": "WORDS"}).replace(b"WORDS", words)


def _around(middle: Sequence[bytes]) -> list[bytes]:
    end = [_chunk({}, "stop"), _event(_HEAD | {"choices": [], "usage": _USAGE}), b"data: [DONE]\n\n"]
    return [_chunk({"role": "assistant", "content": ""}), *middle, *end]


def _each(made: Callable[[str, int], bytes]) -> list[bytes]:
    return [made(word, number) for number, word in enumerate(WORDS)]


_SAID = _each(lambda word, _: _chunk({"content": word}))
_CITED = {"type": "url_citation", "url_citation": {"url": "https://a", "title": "t", "start_index": 0, "end_index": 3}}


def _call(arguments: str, index: int = 0, **more: Any) -> bytes:
    call = {"index": index, "function": {"arguments": arguments} | more.pop("function", {})} | more
    return _chunk({"tool_calls": [call]})


def _logprobs(word: str, number: int) -> bytes:
    content = [{"token": word, "logprob": -0.5 * number, "bytes": [1], "top_logprobs": []}]
    return _chunk({"content": word}, choice={"logprobs": {"content": content, "refusal": None}})


CHAT: dict[str, Parts] = {
    "plain": _around(_SAID),
    "log probabilities": _around(_each(_logprobs)),
    "usage in each": _around(_each(lambda w, n: _chunk({"content": w}, usage=_USAGE | {"completion_tokens": n}))),
    "citations between": _around([*_SAID, _chunk({"annotations": [_CITED]}), *_SAID]),
    "comments between": _around([part for said in _SAID for part in (b": keep-alive\n\n", said)]),
    "a comment in each": _around([said.replace(b"data: ", b": c\nid: 1\nevent: message\ndata: ") for said in _SAID]),
    "data on two lines": _around([said.replace(b', "choices"', b',\ndata: "choices"') for said in _SAID]),
    "CR and LF": [part.replace(b"\n", b"\r\n") for part in _around(_SAID)],
    "CR alone": [part.replace(b"\n", b"\r") for part in _around(_SAID)],
    "byte by byte": [part[at : at + 1] for part in _around([*_SAID, _raw("é😀日".encode()), *_SAID]) for at in range(len(part))],
    "two choices": _around([_chunk({"content": word}, index=n) for word in WORDS for n in (0, 1)]),
    "tools between": _around(
        [*_SAID, _call("", id="call_1", type="function", function={"name": "f"})]
        + [_call(part) for part in ('{"a"', ':"', "b ", "c ", "d ", '"}')]
        + [*_SAID, _call("{}", 1, id="call_2", type="function", function={"name": "g"}), *_SAID]
    ),
    "tools by turns": _around([
        _call(part, number % 2, id=f"call_{number % 2}", type="function", function={"name": "f"} if number < 2 else {})
        for number, part in enumerate(("", "", "{", "{", "}", "}"))
    ]),
    "a refusal": _around([*_SAID[:2], *_each(lambda word, _: _chunk({"refusal": word}))]),
    "an end with words": _around([*_SAID, _chunk({"content": "end"}, "length"), *_SAID]),
    "an end with each": _around(_each(lambda word, _: _chunk({"content": word}, "stop"))),
    "thoughts and words": _around([*_each(lambda w, _: _chunk({"reasoning_content": w})), *_SAID]),
    "halves of characters": _around([*_SAID, _raw(rb"\ud83d"), _raw(rb"\ude00"), *_SAID, _raw(rb"\ud800"), *_SAID]),
    "escapes": _around([_raw(part) for part in (rb"\u00e9", rb"\n", rb"\"", rb"\\", rb"\u003c", b"<", rb"\\u0041")] + _SAID),
    "tags": _around([*_SAID, _raw(b"<think>"), *_SAID, _raw(b"</think>"), *_SAID]),
    "marks of an end": _around([_raw(part) for part in (b"a", b"b", b"c", b"[DO", b"NE]", b"d", b"data", b": x", b"e")]),
    "nothing in some": _around([_chunk({"content": word}) for word in ("a", "b", "c", "", None, "d", " ", "\n", "e")]),
    "another model": _around([*_SAID, *_each(lambda word, _: _chunk({"content": word}, model="other"))]),
    "an id each": _around(_each(lambda word, number: _chunk({"content": word}, id=f"chatcmpl-{number}"))),
    "the same words": _around([_SAID[0]] * 9),
    "bytes that are no text": _around([*_SAID, _raw(b"\xff\xfe"), *_SAID]),
    "no blank line at the end": [*_around(_SAID)[:-2], _around(_SAID)[-2][:-2]],
    "an error": [*_around(_SAID)[:-3], _event({"error": {"message": "overloaded", "type": "server_error", "code": 500}})],
    "cut off": [*_around(_SAID)[:-3], _SAID[0][:40]],
    "no usage": [*_around(_SAID)[:-2], b"data: [DONE]\n\n"],
}  # fmt: skip

# ---- Anthropic's messages ----

_BILLED = {"input_tokens": 20, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0, "output_tokens": 9}
_CITATION = {
    "type": "char_location", "cited_text": "x", "document_index": 0, "document_title": "t",
    "start_char_index": 0, "end_char_index": 1,
}  # fmt: skip


def _named(value: Mapping[str, Any]) -> bytes:
    return b"event: %b\n%b" % (str(value["type"]).encode(), _event(value))


def _delta(index: int, kind: str, **more: Any) -> bytes:
    return _named({"type": "content_block_delta", "index": index, "delta": {"type": f"{kind}_delta"} | more})


def _block(index: int, block: Mapping[str, Any], deltas: Sequence[bytes]) -> list[bytes]:
    start = _named({"type": "content_block_start", "index": index, "content_block": block})
    return [start, *deltas, _named({"type": "content_block_stop", "index": index})]


def _texts(index: int, deltas: Sequence[bytes] = ()) -> list[bytes]:
    return _block(index, {"type": "text", "text": ""}, deltas or _each(lambda w, _: _delta(index, "text", text=w)))


def _message(*blocks: Sequence[bytes]) -> list[bytes]:
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": []}
    start = {"type": "message_start", "message": head | {"stop_reason": None, "usage": _BILLED | {"output_tokens": 1}}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}
    return [_named(start), *(part for block in blocks for part in block), _named(end), _named({"type": "message_stop"})]


_HALVES = [_delta(0, "text", text=part) for part in ("a ", "b ", "c ", "\ud83d", "\ude00", "d", "\ud800", "e")]
MESSAGES: dict[str, Parts] = {
    "plain": _message(_texts(0)),
    "pings": _message(_texts(0, _each(lambda w, _: _delta(0, "text", text=w) + _named({"type": "ping"})))),
    "citations": _message(_texts(0, [
        part for word in WORDS
        for part in (_delta(0, "text", text=word), _delta(0, "citations", citation=_CITATION))
    ])),
    "thoughts": _message(
        _block(0, {"type": "thinking", "thinking": "", "signature": ""},
               [*_each(lambda w, _: _delta(0, "thinking", thinking=w)), _delta(0, "signature", signature="c2ln")]),
        _texts(1),
    ),
    "tools between": _message(
        _texts(0),
        _block(1, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
               [_delta(1, "input_json", partial_json=part) for part in ("", '{"a"', ':"', "b ", "c ", '"}')]),
        _texts(2),
    ),
    "halves of characters": _message(_texts(0, _HALVES)),
    "usage in each": _message(_texts(0, [
        _named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word},
                "usage": {"output_tokens": number}}) for number, word in enumerate(WORDS)
    ])),
    "no blank line at the end": [*_message(_texts(0))[:-1], _message(_texts(0))[-1][:-2]],
    "no names": [part.partition(b"\n")[2] for part in _message(_texts(0))],
    "CR and LF": [part.replace(b"\n", b"\r\n") for part in _message(_texts(0))],
    "byte by byte": [part[at : at + 1] for part in _message(_texts(0)) for at in range(len(part))],
    "an error": [*_message(_texts(0))[:-3], _named({"type": "error", "error": {"type": "overloaded_error", "message": "o"}})],
    "cut off": _message(_texts(0))[:-3],
}  # fmt: skip

# ---- Gemini's, and Converse's frames ----


def _candidate(parts: Sequence[Mapping[str, Any]], count: int | None = None, **more: Any) -> bytes:
    usage = {"promptTokenCount": 32, "candidatesTokenCount": count, "totalTokenCount": 32 + (count or 0)}
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0} | more
    return _event({"candidates": [candidate]} | ({"usageMetadata": usage} if count is not None else {}))


_GEMINIS_END = _candidate([{"text": ""}], 9, finishReason="STOP")
GEMINI: dict[str, Parts] = {
    "plain": [*_each(lambda word, _: _candidate([{"text": word}])), _GEMINIS_END],
    "usage in each": [*_each(lambda word, number: _candidate([{"text": word}], number)), _GEMINIS_END],
    "thoughts": [*_each(lambda w, _: _candidate([{"text": w, "thought": True}])), *_each(lambda w, _: _candidate([{"text": w}])),
                 _GEMINIS_END],
    "grounding in one": [*_each(lambda w, _: _candidate([{"text": w}])),
                         _candidate([{"text": "z"}], groundingMetadata={"webSearchQueries": ["q"]}),
                         *_each(lambda w, _: _candidate([{"text": w}])), _GEMINIS_END],
    "an end with each": [*_each(lambda w, _: _candidate([{"text": w}], finishReason="STOP")), _GEMINIS_END],
    "no blank line at the end": [*_each(lambda word, number: _candidate([{"text": word}], number)), _GEMINIS_END[:-2]],
    "two parts": [*_each(lambda w, _: _candidate([{"text": w}, {"text": w}])), _GEMINIS_END],
}  # fmt: skip


def _converse(deltas: Sequence[Mapping[str, Any]]) -> list[bytes]:
    usage = {"inputTokens": 21, "outputTokens": 9, "totalTokens": 30}
    return [
        frame("messageStart", {"role": "assistant"}),
        *(frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta}) for delta in deltas),
        frame("contentBlockStop", {"contentBlockIndex": 0}),
        frame("messageStop", {"stopReason": "end_turn"}),
        frame("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
    ]


_TEXTS = [{"text": word} for word in WORDS]
CONVERSE: dict[str, Parts] = {
    "plain": _converse(_TEXTS),
    "a citation between": _converse([*_TEXTS, {"citation": {"title": "t", "source": "s"}}, *_TEXTS]),
    "byte by byte": [part[at : at + 1] for part in _converse(_TEXTS) for at in range(len(part))],
    "cut off": _converse(_TEXTS)[:-2],
    "cut off in a frame": [*_converse(_TEXTS)[:-3], _converse(_TEXTS)[-2][:30]],
    "nothing that is a frame": [*_converse(_TEXTS)[:-3], b"x" * 40, *_converse(_TEXTS)[-2:]],
    "nothing that is a frame behind it": [*_converse(_TEXTS), b"x" * 40],
    "an exception": [
        *_converse(_TEXTS)[:-3],
        aws_event_stream.encode_exception("throttlingException", b'{"message":"slowly"}'),
    ],
}

# By upstream: its streams, their type, who calls.
STREAMS: Mapping[str, tuple[Mapping[str, Parts], str, tuple[str, ...]]] = {
    "openai": (CHAT, SSE, ("messages",)),
    "vllm": (CHAT, SSE, ("chat", "responses")),
    "anthropic": (MESSAGES, SSE, ("chat", "responses")),
    "gemini": (GEMINI, SSE, ("chat", "messages")),
    "bedrock": (CONVERSE, FRAMES, ("chat", "responses")),
}
_MODELS = {
    "openai": "gpt-4.1-mini", "vllm": "llama", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash",
    "bedrock": "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
}  # fmt: skip
_READING = re.compile(r'data: (\{"taximeter_reading": .*\})\n\n')  # where it stands depends on how much has come
_DATA = re.compile(r"(?m)^data: (\{.*\})$")
_RANDOM = (
    (re.compile(r'"created(_at)?":\s*[\d.]+'), '"created":0'),
    (re.compile(r"\b(chatcmpl|msg|resp|rs|fc|call|toolu|reasoning)[_-][\w=+/-]+"), r"\1_"),
    (re.compile(r"\b[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\b"), "uuid"),
)


def _config() -> Config:
    base, key = "http://127.0.0.1:1", {"api_key": "sk-of-the-provider-0123456789"}
    aws = {"aws_region_name": "eu-central-1", "aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "x" * 40}
    rows: dict[str, Any] = {
        "openai": key | {"base_url": f"{base}/v1", "translate": ["anthropic"]},
        "vllm": key | {"base_url": f"{base}/v1", "via": "litellm"},
        "anthropic": key | {"base_url": base, "translate": ["openai", "responses"]},
        "gemini": key | {"base_url": f"{base}/v1beta", "provider": "google", "via": "litellm"},
        "bedrock": {"provider": "aws", "via": "litellm", "params": aws},
    }
    models: Any = {name: {"upstream": name, "model": model} for name, model in _MODELS.items()}
    return read_section(Config, {"upstreams": rows, "models": models})


class _Answer(httpx.AsyncByteStream):
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


class Provider:
    """What every upstream answers next, once there are parts of it; until then the providers do."""

    parts: Parts | None = None
    kind = SSE

    def beside(self, plain: Send) -> Send:
        real = quicker(plain)

        async def send(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
            if self.parts is None:
                return await real(transport, request)
            return httpx.Response(200, headers={"content-type": self.kind}, stream=_Answer(self.parts))

        return send


def _body(upstream: str, caller: str) -> dict[str, Any]:
    model = {"model": _MODELS[upstream], "stream": True}
    if caller == "responses":
        return model | {"input": "x", "max_output_tokens": 100, "store": False}
    usage = {"stream_options": {"include_usage": True}} if caller == "chat" else {}
    return model | usage | {"messages": [{"role": "user", "content": "x"}], "max_tokens": 100}


async def _answer(application: Translation, upstream: str, caller: str) -> list[Any]:
    sent = await asked(application, upstream, caller, _body(upstream, caller))
    said = b"".join(part.get("body", b"") for part in sent[1:]).decode(errors="backslashreplace")
    said = _DATA.sub(lambda data: f"data: {json.dumps(json.loads(data[1]))}", said)
    for pattern, by in _RANDOM:
        said = pattern.sub(by, said)
    return [sent[0]["status"], _READING.sub("", said), _READING.findall(said)[-1:]]


def _cases() -> Iterator[tuple[str, str, str, Parts, str]]:
    for upstream, (streams, kind, callers) in STREAMS.items():
        for name, parts in streams.items():
            for caller in callers:
                yield f"{caller} {upstream}: {name}", upstream, caller, parts, kind


async def streamed(adapter: Adapter, provider: Provider, file: Path) -> None:
    """In a process that ends with it: what it replaces in the translator stays replaced. provider: beside the adapter's."""
    application = Translation(_config(), adapter)
    passing = Run.event
    passed = 0

    def counted(run: Run, piece: Piece) -> bytes | None:
        nonlocal passed
        event = passing(run, piece)
        passed += event is not None
        return event

    with file.open("w") as out:
        for name, upstream, caller, parts, kind in _cases():
            provider.parts, provider.kind, passed = parts, kind, 0
            Run.event = counted  # type: ignore[method-assign]
            quick = await _answer(application, upstream, caller)
            Run.event = lambda *_: None  # type: ignore[method-assign]
            print(json.dumps([name, passed, quick, await _answer(application, upstream, caller)]), file=out)
