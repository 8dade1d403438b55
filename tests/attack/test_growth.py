"""No work on the event loop grows faster than its input: every shape of body and answer, at n and at 2n, in counted steps.

Each goes through a whole exchange (parsers, ids, provider's fields, guards, sessions, ceilings, budgets, meters, relay), so that no part is
left out by forgetting it. Nothing is timed. Texts are harmless ones.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

import proxy
from proxy.dialects import fields, media, turns
from proxy.errors import Refused
from proxy.wire import lenient, multipart, ndjson, sse
from proxy.wire.aws_event_stream import Framer as AwsFramer
from proxy.wire.aws_event_stream import encode as aws_encode
from proxy.wire.inflate import Inflater
from proxy.wire.lenient import answer as lenient_answer
from tests.attack.houses import PATHS, ask, house_of
from tests.flow.house import Answer
from tests.support.steps import counted_steps

_MOST_GROWTH = 2.2
_GUARDED = {
    "guards": {"loop": {"repeats": 1000, "within_s": 60}, "max_requests": 1000},
    "budgets": [
        {"name": "b", "limit_usd": 9000, "window": "total", "per": ["team"]},
        {"name": "s", "limit_usd": 9000, "window": "total", "per": ["session"]},
    ],
}
Fields = dict[str, Any]


def _nested(depth: int, leaf: Any = "x") -> Any:
    for _ in range(depth):
        leaf = [{"a": leaf}]
    return leaf


def _results(depth: int) -> Any:
    """Tool results in tool results, each with something beside its text."""
    content: Any = [{"type": "text", "text": 'say "hi"'}]
    for _ in range(depth):
        content = [{"type": "tool_result", "tool_use_id": "t", "content": content}, {"type": "image", "source": {}}]
    return [{"role": "user", "content": content}]


def _said(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": list(parts)}]


def _tool(n: int) -> Fields:
    return {
        "type": "function",
        "function": {"name": f"f{n}", "parameters": {"properties": {f"p{n}": {"type": "string"}}}},
    }


def _called(n: int) -> Fields:
    return {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}}


_ITEM = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
SHAPES: dict[str, tuple[str, int, Callable[[int], Fields]]] = {
    "chat, messages": ("chat", 400, lambda n: {"messages": [{"role": "user", "content": f"hi {i}"} for i in range(n)]}),
    "chat, a text": ("chat", 60_000, lambda n: {"messages": [{"role": "user", "content": "word " * n}]}),
    "chat, a long text": ("chat", 250_000, lambda n: {"messages": [{"role": "user", "content": "word " * n}]}),
    "chat, accents": ("chat", 10_000, lambda n: {"messages": [{"role": "user", "content": "déjà l’été " * n}]}),
    "chat, growing text": ("chat", 10_000, lambda n: {"messages": [{"role": "user", "content": "½ﷺ" * n}]}),
    "chat, marks": ("chat", 10_000, lambda n: {"messages": [{"role": "user", "content": "e\u0301é\u0323" * n}]}),
    "chat, depth": ("chat", 50, lambda n: {"x": _nested(n)}),
    "chat, fields": ("chat", 1000, lambda n: {f"x{i}": i for i in range(n)}),
    "chat, fields inside": ("chat", 1000, lambda n: {"x": {f"x{i}": {"y_id": 1} for i in range(n)}}),
    "chat, parts": ("chat", 400, lambda n: {"messages": _said(*[{"type": "text", "text": "a"}] * n)}),
    "chat, media": (
        "chat", 400, lambda n: {"messages": _said(*[{"type": "image_url", "image_url": {"url": "https://x.test/"}}] * n)}),
    "chat, tools": ("chat", 400, lambda n: {"tools": [_tool(i) for i in range(n)]}),
    "chat, calls": (
        "chat", 400, lambda n: {"messages": [{"role": "assistant", "content": None, "tool_calls": [_called(i) for i in range(n)]}]}),
    "chat, results": (
        "chat", 400, lambda n: {"messages": [{"role": "tool", "tool_call_id": f"c{i}", "content": "1"} for i in range(n)]}),
    "chat, stops": ("chat", 400, lambda n: {"x": ["a"] * n, "metadata": {f"k{i}": "v" for i in range(n)}}),
    "completions, prompts": ("completions", 800, lambda n: {"prompt": ["hi"] * n}),
    "embeddings, tokens": ("embeddings", 50_000, lambda n: {"input": [1] * n}),
    "embeddings, texts": ("embeddings", 800, lambda n: {"input": ["hi"] * n}),
    "moderations": ("moderations", 400, lambda n: {"input": [{"type": "text", "text": "a"}] * n}),
    "speech": ("speech", 50_000, lambda n: {"input": "a" * n}),
    "responses, items": ("responses", 400, lambda n: {"input": [_ITEM] * n}),
    "responses, ids": ("responses", 400, lambda n: {"store": False, "input": [_ITEM | {"id": f"msg_{i}"} for i in range(n)]}),
    "responses, sealed": (
        "responses", 400,
        lambda n: {"input": [{"type": "reasoning", "id": f"rs_{i}", "encrypted_content": "x", "summary": []} for i in range(n)]}),
    "responses, outputs": (
        "responses", 400, lambda n: {"input": [{"type": "function_call_output", "call_id": f"c{i}", "output": "1"} for i in range(n)]}),
    "responses, tools": ("responses", 400, lambda n: {"tools": [{"type": "function", "name": f"f{i}"} for i in range(n)]}),
    "messages, messages": ("messages", 400, lambda n: {"messages": [{"role": "user", "content": f"hi {i}"} for i in range(n)]}),
    "messages, blocks": (
        "messages", 400,
        lambda n: {"messages": _said(*[{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}] * n)}),
    "messages, depth": ("messages", 12, lambda n: {"messages": _results(n)}),
    "messages, deeper": ("messages", 50, lambda n: {"messages": _results(n)}),
    "messages, tools": ("messages", 400, lambda n: {"tools": [{"name": f"f{i}", "input_schema": {}} for i in range(n)]}),
    "messages, calls": (
        "messages", 400,
        lambda n: {"messages": _said(*[{"type": "tool_use", "id": f"t{i}", "name": "f", "input": {"a": i}} for i in range(n)])}),
    "generate, parts": ("generate", 400, lambda n: {"contents": [{"parts": [{"text": "a"}] * n}]}),
    "generate, contents": ("generate", 400, lambda n: {"contents": [{"role": "user", "parts": [{"text": "a"}]}] * n}),
    "generate, calls": (
        "generate", 400, lambda n: {"contents": [{"parts": [{"functionCall": {"name": "f", "args": {"a": i}}} for i in range(n)]}]}),
    "generate, tools": ("generate", 400, lambda n: {"tools": [{"functionDeclarations": [{"name": f"f{i}"}]} for i in range(n)]}),
    "generate, fields": ("generate", 400, lambda n: {f"x_{i}": 1 for i in range(n)}),
    "embed": ("embed", 400, lambda n: {"content": {"parts": [{"text": "a"}] * n}}),
}  # fmt: skip


async def _steps_of_request(folder: Path, operation: str, given: Fields) -> int:
    house = house_of(folder, operation, "vllm" if operation == "chat" else "acme", **_GUARDED)
    with counted_steps() as steps:
        told = await ask(house, operation, **given)
    assert told.status == 200, told.body
    return steps.total


@pytest.mark.parametrize("shape", SHAPES)
async def test_no_request_is_more_work_than_it_is_long(tmp_path: Path, shape: str) -> None:
    operation, n, build = SHAPES[shape]
    await _steps_of_request(tmp_path / "0", operation, build(2))  # what is made once
    one = await _steps_of_request(tmp_path / "1", operation, build(n))
    two = await _steps_of_request(tmp_path / "2", operation, build(2 * n))
    assert two <= _MOST_GROWTH * one, (one, two)


def _events(*events: Any) -> bytes:
    return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def _delta(**delta: Any) -> Fields:
    return {"model": "m", "choices": [{"index": 0, "delta": delta}]}


_USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
_LAST = {"model": "m", "choices": [], "usage": _USAGE}
_TOLD = {"model": "m", "role": "assistant", "usage": {"input_tokens": 1, "output_tokens": 1}}


def _anthropic(kind: str, n: int, delta: Fields) -> bytes:
    block = {"type": kind, "text": ""} if kind == "text" else {"type": kind, "id": "t", "name": "f", "input": {}}
    return _named(
        {"type": "message_start", "message": _TOLD},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *[{"type": "content_block_delta", "index": 0, "delta": delta}] * n,
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    )


def _named(*events: Fields) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (event["type"].encode(), orjson.dumps(event)) for event in events)


def _response(n: int) -> Fields:
    items = [{**_ITEM, "id": f"msg_{i}"} for i in range(n)]
    return {"id": "resp_1", "object": "response", "output": items, "usage": {"input_tokens": 1, "output_tokens": 1}}


def _choices(n: int) -> list[Fields]:
    return [{"index": i, "message": {"role": "assistant", "content": "hi"}} for i in range(n)]


ANSWERS: dict[str, tuple[str, int, Callable[[int], bytes]]] = {
    "chat, deltas": ("chat", 400, lambda n: _events(*[_delta(content="hi ")] * n, _LAST)),
    "chat, reasoning": ("chat", 400, lambda n: _events(*[_delta(reasoning_content="hi ")] * n, _LAST)),
    "chat, usage in each": ("chat", 400, lambda n: _events(*[_delta(content="a") | {"usage": _USAGE}] * n, _LAST)),
    "chat, arguments": (
        "chat", 400, lambda n: _events(*[_delta(tool_calls=[{"index": 0, "function": {"arguments": "ab"}}])] * n, _LAST)),
    "chat, calls": (
        "chat", 100,
        lambda n: _events(*[_delta(tool_calls=[{"index": i, "function": {"name": "f"}}]) for i in range(n)], _LAST)),
    "chat, choices": ("chat", 200, lambda n: _events(*[{"model": "m", "choices": _choices(n)}], _LAST)),
    "chat, comments": ("chat", 400, lambda n: b": alive\n\n" * n + _events(_delta(content="hi"), _LAST)),
    "chat, lines in an event": ("chat", 400, lambda n: b"data: {\n" + b"data: \n" * n + b"data: }\n\n" + _events(_LAST)),
    "chat, a long line": ("chat", 50_000, lambda n: _events(_delta(content="a" * n), _LAST)),
    "chat, errors": ("chat", 200, lambda n: _events(*[{"error": None, **_delta(content="a")}] * n, _LAST)),
    "chat, no usage": ("chat", 300, lambda n: _events(*[_delta(content="hi ")] * n)),
    "whole, choices": ("chat", 400, lambda n: orjson.dumps({"model": "m", "choices": _choices(n), "usage": _USAGE})),
    "whole, lists": ("chat", 2000, lambda n: orjson.dumps({"model": "m", "choices": [], "usage": _USAGE, "x": [[]] * n})),
    "whole, details": (
        "chat", 400, lambda n: orjson.dumps({"model": "m", "choices": [], "usage": _USAGE | {f"x{i}_tokens": 1 for i in range(n)}})),
    "whole, twice": ("chat", 50, lambda n: orjson.dumps({"model": "m", "choices": _choices(9), "usage": _USAGE}) * n),
    "whole, escapes": (
        "chat", 2000, lambda n: b'{"model":"m","choices":[],"usage":%s,"x":"%s"}' % (orjson.dumps(_USAGE), b"\\ud83d" * n)),
    "whole, cut": ("chat", 400, lambda n: orjson.dumps({"usage": _USAGE, "choices": _choices(n)})[:-3]),
    "messages, text": ("messages", 400, lambda n: _anthropic("text", n, {"type": "text_delta", "text": "hi "})),
    "messages, input": (
        "messages", 400, lambda n: _anthropic("tool_use", n, {"type": "input_json_delta", "partial_json": "1"})),
    "messages, thinking": (
        "messages", 400, lambda n: _anthropic("thinking", n, {"type": "thinking_delta", "thinking": "hm "})),
    "responses, items": ("responses", 400, lambda n: orjson.dumps(_response(n))),
    "responses, stream": (
        "responses", 400,
        lambda n: _named(*[{"type": "response.output_text.delta", "delta": "a"}] * n,
                         {"type": "response.completed", "response": _response(n)})),
    "generate, parts": (
        "generate", 400,
        lambda n: orjson.dumps({"candidates": [{"content": {"parts": [{"text": "a"}] * n}}],
                                "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1}})),
}  # fmt: skip


async def _steps_of_answer(folder: Path, operation: str, body: bytes, piece: int) -> int:
    house = house_of(folder, operation, **_GUARDED)
    stream = not body.startswith((b"{", b"["))
    pieces = [body[at : at + piece] for at in range(0, len(body), piece)]
    given: Fields = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    if operation == "responses":
        given = {"model": "m", "max_output_tokens": 50, "input": "hi", "stream": stream}
    if operation == "generate":
        given = {"contents": [{"parts": [{"text": "hi"}]}]}
    paths = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
    answer = Answer(*pieces, kind=b"text/event-stream" if stream else b"application/json")
    with counted_steps() as steps:
        told = await house.ask(
            answer, path=paths.get(operation, "/v1beta/models/m:generateContent"), chat=False, **given
        )
    assert told.status == 200
    return steps.total


@pytest.mark.parametrize("piece", [10**9, 1000, 40])
@pytest.mark.parametrize("shape", ANSWERS)
async def test_no_answer_is_more_work_than_it_is_long(tmp_path: Path, shape: str, piece: int) -> None:
    operation, n, build = ANSWERS[shape]
    await _steps_of_answer(tmp_path / "0", operation, build(2), piece)
    one = await _steps_of_answer(tmp_path / "1", operation, build(n), piece)
    two = await _steps_of_answer(tmp_path / "2", operation, build(2 * n), piece)
    assert two <= _MOST_GROWTH * one, (one, two)


def _form(n: int, fields_: int = 1) -> bytes:
    parts = [multipart.Part("model", b"m"), multipart.Part("file", b"\r\n--b0un" * n, b"a.mp3")]
    return multipart.encode(b"b0und", [*parts, *[multipart.Part(f"x{i}", b"y") for i in range(fields_)]])


def _in_pieces(feed: Callable[[bytes], Any], data: bytes, size: int = 50) -> None:
    for at in range(0, len(data), size):
        for _ in feed(data[at : at + size]) or ():
            pass


def _inflate(n: int) -> None:
    import zlib  # noqa: PLC0415

    packed = zlib.compress(bytes(range(256)) * n * 20, 0)
    for _ in Inflater(b"deflate").feed(packed):
        pass


READERS: dict[str, tuple[int, Callable[[int], Any]]] = {
    "form": (10_000, lambda n: media.parse_transcription("audio.transcriptions", _form(n))),
    "sse, one block": (4000, lambda n: _in_pieces(sse.Framer().feed, b"data: " + b"a" * n * 10)),
    "sse, line ends": (2000, lambda n: _in_pieces(sse.Framer().feed, b"data: a\r\n" * n)),
    "sse, blank lines": (2000, lambda n: _in_pieces(sse.Framer().feed, b"\r\n" * n)),
    "sse, oversized": (2000, lambda n: _in_pieces(sse.Framer(100).feed, b"data: " + b"a" * n * 10)),
    "ndjson, one line": (4000, lambda n: _in_pieces(ndjson.Framer().feed, b"a" * n * 10)),
    "ndjson, lines": (2000, lambda n: _in_pieces(ndjson.Framer().feed, b"{}\n" * n)),
    "aws, messages": (400, lambda n: _in_pieces(AwsFramer().feed, aws_encode("chunk", b"{}") * n)),
    "aws, a message": (4000, lambda n: _in_pieces(AwsFramer().feed, aws_encode("chunk", b"a" * n * 10))),
    "inflate": (400, _inflate),
    "lenient, values": (400, lambda n: lenient_answer(b'{"a":1} ' * n)),
    "lenient, lines": (400, lambda n: lenient_answer(b'{"a":1}\n' * n)),
    "lenient, cut": (400, lambda n: lenient_answer(b'{"a":[' + b'{"b":"c"},' * n)),
    "lenient, deep and cut": (200, lambda n: lenient_answer(b'{"a":[' * n)),
    "lenient, broken text": (2000, lambda n: lenient_answer(b'{"a":"' + b"\xff" * n + b'"}')),
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_does_more_than_its_input_is_long(reader: str) -> None:
    n, read = READERS[reader]
    read(2)
    counts = []
    for size in (n, 2 * n):
        with counted_steps() as steps:
            read(size)
        counts.append(steps.total)
    assert counts[1] <= _MOST_GROWTH * counts[0], counts


DENSE = {
    "lists": b"[],", "nested": b"[[[]]],", "objects": b"{},", "fields": b'{"a":1},', "numbers": b"0,", "texts": b'"ab",',
}  # fmt: skip
_USED = b'0],"model":"m","usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}'


@pytest.mark.parametrize(
    ("shape", "form"),
    [*[(shape, "whole") for shape in DENSE], *[("lists", form) for form in ("lines", "event", "events")]],
)
def test_an_answer_of_nothing_but_structure_is_not_opened(shape: str, form: str) -> None:
    """`orjson` makes a value in one step, however long that takes: counted is what it is given."""
    opened, counts = [], []
    for size in (4_500_000, 9_000_000):
        piece = DENSE[shape]
        body = b'{"x":[' + piece * (size // len(piece)) + _USED
        framed = {"whole": body, "lines": body + b"\n" + body, "event": b"data: " + body + b"\n\n"}
        data = framed.get(form, b"data: {}\n\n" * 2 + b"data: " + body + b"\n\n")
        with pytest.MonkeyPatch.context() as patch, counted_steps() as steps:
            patch.setattr(lenient.orjson, "loads", lambda text: opened.append(len(text)) or {})
            told = lenient_answer(data)
        counts.append(steps.total)
        assert all(value.get("usage", {"prompt_tokens": 7})["prompt_tokens"] == 7 for value in told.values)
        assert form != "whole" or (told.cut, told.values[0]["model"]) == (True, "m")
    assert sum(opened) < 1_000_000
    assert counts[1] <= _MOST_GROWTH * counts[0], counts


# What C does in one step: looked for by how it is written.

_FOLDERS = (
    "access",
    "budgets",
    "ceilings",
    "dialects",
    "downstream",
    "exchange",
    "meters",
    "sessions",
    "upstream",
    "wire",
)
_TEXTS = {
    "text",
    "arguments",
    "partial_json",
    "content",
    "input",
    "delta",
    "data",
    "piece",
    "chunk",
    "body",
    "raw",
    "answer",
    "head",
}
# Where a text does grow by pieces, and why that is no more work than its length.
_BOUNDED = {
    ("sse.py", "buffer"): "a bytearray",
    ("ndjson.py", "_buffer"): "a bytearray",
    ("aws_event_stream.py", "_buffer"): "a bytearray",
    ("aws_event_stream.py", "headers"): "for tests",
    ("asking.py", "answer"): "64 KB at most",
    ("limits.py", "answer"): "1 MB at most, of a server of one's own, once a minute",
    ("connect.py", "_answer"): "a proxy's head, bounded there",
    ("uploads.py", ""): "a form's fields: _MAX_FIELDS_BYTES",
    ("uploads.py", "collected"): "a bytearray",
    ("asking.py", "body"): "a bytearray",
    ("reads.py", "collected"): "a bytearray",
    ("passed_batches.py", "collected"): "a bytearray",
    ("json_items.py", "_kept"): "a bytearray",
    ("websocket.py", "_body"): "a bytearray",
    ("upload_entry.py", "collected"): "a bytearray",
    ("kept_stream.py", "held"): "a bytearray",
    ("kept_stream.py", "texts"): "a bytearray",
    ("connection.py", "later"): "reading stands still, but for what was read already",
    ("connection.py", "body"): "reading is paused above HIGH_WATER_LIMIT",
    ("uploads.py", "head"): "of one field, from parts that are bounded",
    ("multipart_stream.py", "_rest"): "what one piece leaves: a head, or a boundary that may have begun",
}


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        return node.slice.value if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str) else ""
    return node.id if isinstance(node, ast.Name) else ""


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def _sources() -> list[Path]:
    root = Path(proxy.__file__).parent
    return sorted(path for folder in _FOLDERS for path in (root / folder).rglob("*.py"))


def test_no_text_grows_by_being_copied() -> None:
    grown = [
        f"{path.name}:{node.lineno} {_last_name(node.target)}"
        for path in _sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AugAssign)
        and isinstance(node.op, ast.Add)
        and (_last_name(node.value) in _TEXTS or _is_text(node.value))
        and (path.name, _last_name(node.target)) not in _BOUNDED
    ]
    assert grown == []


def test_no_text_is_normalised_and_nothing_is_taken_from_the_front_of_a_list() -> None:
    """`normalize` is for single characters, in the table that `rendered.py` makes once."""
    found = [
        f"{path.name}:{node.lineno} {_last_name(node.func)}"
        for path in _sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (
            (_last_name(node.func) in ("normalize", "is_normalized") and path.name != "rendered.py")
            or (_last_name(node.func) == "pop" and [ast.dump(one) for one in node.args] == ["Constant(value=0)"])
            or (_last_name(node.func) == "insert" and node.args and ast.dump(node.args[0]) == "Constant(value=0)")
        )
    ]
    assert found == []


def test_a_turn_is_no_longer_than_what_it_is_read_from() -> None:
    """Results in results were texts in texts, each with all quotes of the one inside escaped once more."""
    sizes = [len(turns.turn_of(_results(depth)[0])) for depth in (8, 16)]
    assert sizes[1] <= _MOST_GROWTH * sizes[0]


@pytest.mark.parametrize("unit", [b"[],", b"{},", b"[[],{}],"])
def test_the_lists_and_objects_of_a_body_are_bounded(unit: bytes) -> None:
    raw = b'{"x":[' + unit * (fields._MAX_CONTAINERS + 1) + b"0]}"
    with pytest.raises(Refused) as refused:
        fields.parse_object(raw)
    assert refused.value.refusal.status == 400
    assert fields.parse_object(b'{"x":"' + b"a" * fields._MAX_CONTAINERS + b'"}')["x"]


_HEADS = {
    "chat": b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":%s}]}',
    "responses": b'{"model":"m","input":[{"role":"user","content":%s}]}',
    "messages": b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":%s}]}',
    "count_tokens": b'{"model":"m","messages":[{"role":"user","content":%s}]}',
    "generate": b'{"contents":[{"parts":%s}]}',
    "count": b'{"contents":[{"parts":%s}]}',
    "embed": b'{"content":{"parts":%s}}',
}


@pytest.mark.parametrize("operation", _HEADS)
@pytest.mark.parametrize("depth", [60, 120, 250, 480, 600])
@pytest.mark.parametrize("kind", [b'{"type":"tool_result","content":', b'{"text":"a","parts":', b'{"a":'])
async def test_depth_is_answered(tmp_path: Path, operation: str, depth: int, kind: bytes) -> None:
    """With 200 where it can be written again, else with 400."""
    house = house_of(tmp_path, operation, **_GUARDED)
    deep = (b"[" + kind) * depth + b'"x"' + b"}]" * depth
    told = await house.ask(path=PATHS[operation], raw=_HEADS[operation] % deep)
    assert told.status in (200, 400), told.body


@pytest.mark.parametrize(
    "work", [lambda n: [one for one in range(n) for _ in range(n)], lambda n: [("a" * n).find("b") for _ in range(n)]]
)
def test_work_that_grows_with_the_square_is_seen(work: Callable[[int], Any]) -> None:
    counts = []
    for size in (200, 400):
        with counted_steps() as steps:
            work(size)
        counts.append(steps.total)
    assert counts[1] > _MOST_GROWTH * counts[0]
