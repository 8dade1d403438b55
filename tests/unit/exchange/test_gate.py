"""The gate of a stream: what the client gets is what the upstream sent, but for what only we asked for."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.exchange.gate import Fault, Phase, StreamGate
from proxy.exchange.passed_headers import passed_headers
from proxy.meters import Context, reader

USAGE = b'{"prompt_tokens":19,"completion_tokens":21,"total_tokens":40}'
CONTENT = [
    b'data: {"id":"c","model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":{"content":"Hi \\"usage\\": {"}}],"usage":null}\n\n',
    b": keep-alive\n\n",
    b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n',
]
USAGE_CHUNK = b'data: {"id":"c","model":"gpt-4o-mini-2024-07-18","choices":[],"usage":' + USAGE + b"}\n\n"
DONE = b"data: [DONE]\n\n"
STREAM = b"".join([*CONTENT, USAGE_CHUNK, DONE])


def gate(*, strip: bool, **options: object) -> StreamGate:
    return StreamGate(reader("openai.chat", "openai"), Context(provider="openai"), strip_usage=strip, **options)  # type: ignore[arg-type]


def run(one: StreamGate, pieces: list[bytes]) -> bytes:
    return b"".join([one.feed(piece) for piece in pieces]) + one.close()


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(stream)]
    return [stream[a:b] for a, b in zip(edges, edges[1:], strict=False) if a < b]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_split_gives_the_same_bytes_and_the_same_usage(cuts: list[int]) -> None:
    kept, stripped = gate(strip=False), gate(strip=True)
    assert run(kept, pieces(STREAM, cuts)) == STREAM
    assert run(stripped, pieces(STREAM, cuts)) == b"".join([*CONTENT, DONE])
    assert kept.watch.reading().usage == stripped.watch.reading().usage == {"input": 19, "output": 21}
    assert kept.watch.reading().model == "gpt-4o-mini-2024-07-18"


def test_whole_events_pass_at_once() -> None:
    one = gate(strip=True)
    for chunk in CONTENT:
        assert one.feed(chunk) == chunk


def test_a_usage_chunk_that_has_choices_is_never_taken_out() -> None:
    """Some servers put the usage on the last content chunk."""
    last = b'data: {"choices":[{"index":0,"finish_reason":"stop"}],"usage":' + USAGE + b"}\n\n"
    assert run(gate(strip=True), [last, DONE]) == last + DONE


def test_the_last_event_may_lack_its_blank_line() -> None:
    stream = b"".join(CONTENT) + USAGE_CHUNK.rstrip()
    one = gate(strip=False)
    assert run(one, [stream]) == stream
    assert one.watch.reading().usage == {"input": 19, "output": 21}


def test_a_meter_that_raises_does_not_change_a_byte() -> None:
    def fold(*_: object) -> None:
        raise ZeroDivisionError

    broken = replace(reader("openai.chat", "openai"), fold=fold)
    one = StreamGate(broken, Context(provider="openai"), strip_usage=True)
    assert run(one, pieces(STREAM, [10, 200, 300])) == STREAM
    assert one.phase is Phase.UNOBSERVED


@pytest.mark.parametrize("junk", [b"\xff\xfe\x00", b'data: {"usage": {\n\n', b'data: {"usage":{}}\n\n', b"<html>\n\n"])
def test_junk_passes(junk: bytes) -> None:
    assert run(gate(strip=True), [junk, DONE]) == junk + DONE


def test_bytes_can_go_out_before_done() -> None:
    one = gate(strip=True, before_done=lambda: b": cost\n\n")
    assert run(one, [STREAM]) == b"".join([*CONTENT, b": cost\n\n", DONE])


def test_an_error_event_is_seen() -> None:
    one = gate(strip=False)
    error = b"data: " + orjson.dumps({"error": {"message": "overloaded", "code": 529}}) + b"\n\n"
    assert run(one, [CONTENT[0], error]) == CONTENT[0] + error
    assert one.fault is not Fault.NONE


def test_only_allowed_response_headers_pass() -> None:
    upstream = [
        (b"content-type", b"a/b"),
        (b"set-cookie", b"x"),
        (b"x-request-id", b"req"),
        (b"x-ratelimit-limit-tokens", b"1"),
    ]
    assert passed_headers(upstream) == [
        (b"content-type", b"a/b"),
        (b"x-upstream-request-id", b"req"),
        (b"x-ratelimit-limit-tokens", b"1"),
    ]


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b'data: {"a":1}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n', [{"a": 1}, {"b": 2}]),
        (b'data: {"a":1}\r\n\r\ndata: {"b":2}\r\n\r\n', [{"a": 1}, {"b": 2}]),
        (b'data: {"a":1}\n\n: note\n\ndata: {"b":2}\n\n', [{"a": 1}, {"b": 2}]),
        (b'data: {"a":1},{"x":0}\n\ndata: {"b":2}\n\n', [{"a": 1}, {"x": 0}, {"b": 2}]),
        (b'data: {"a":1}\n\nevent: e\ndata: {"b":2}\n\n', [{"a": 1}, {"b": 2}]),
        (b'data: {"a":1}\n\ndata: {"b":', [{"a": 1}]),
        (b"data: {}\n\ndata: \n\n", [{}]),
    ],
)
def test_what_a_stream_said_can_be_read_again(data: bytes, events: list[dict[str, int]]) -> None:
    one = gate(strip=False)
    run(one, [data])
    assert one.watch.events_seen() == events
