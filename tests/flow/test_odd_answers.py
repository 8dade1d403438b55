"""Answers that are not as they should be: they cost what the provider bills, and the client gets them as they came."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.upstream.response import UpstreamError
from proxy.wire import multipart
from proxy.wire.multipart import Part
from tests.flow.house import USAGE, Answer, Build, House
from tests.support import recordings as made

CASES = Path(__file__).parents[1] / "cases"
PROVIDERS = {"gpt-4o": "openai", "kimi-k2-0905-preview": "moonshot", "anthropic/claude-sonnet-4.5": "openrouter"}
KNOWN: dict[str, Any] = {
    "upstreams": {name: {"base_url": "http://127.0.0.1:1/v1", "provider": name} for name in PROVIDERS.values()},
    "models": {model: {"upstream": provider} for model, provider in PROVIDERS.items()},
    "prices": [],
}
SSE = b"text/event-stream"
RESET = UpstreamError("reset", "gone", sent=True)
TEXT = {"index": 0, "message": {"role": "assistant", "content": "five words or so here"}, "finish_reason": "stop"}
WHOLE = {"id": "c", "object": "chat.completion", "model": "m", "choices": [TEXT], "usage": USAGE}
DIALECTS = {"up": {"base_url": "http://127.0.0.1:1", "provider": "acme", "dialects": ["openai", "anthropic", "gemini"]}}


def events(*payloads: Any, done: bool = True) -> bytes:
    parts = [payload if isinstance(payload, bytes) else orjson.dumps(payload) for payload in payloads]
    return b"".join(b"data: " + part + b"\n\n" for part in [*parts, *([b"[DONE]"] if done else [])])


def chunk(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **fields}


COUNTED = {"input_tokens": 20, "output_tokens": 3, "total_tokens": 23}
LAST = {"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
COUNTS = {"model": "m", "choices": [], "usage": USAGE}


def end_of(house: House) -> dict[str, Any]:
    return house.records()[-1]


async def asked(house: House, body: bytes, *, stream: bool, path: str, model: str = "m", kind: bytes = b"") -> Any:
    fields: dict[str, Any] = {"model": model, "stream": stream, "path": path}
    if stream and path == "/v1/chat/completions":
        fields["stream_options"] = {"include_usage": True}
    if "responses" in path:
        fields |= {"chat": False, "input": "hi", "max_output_tokens": 100}
    return await house.ask(Answer(body, kind=kind or (SSE if stream else b"application/json")), **fields)


@pytest.mark.parametrize("case", json.loads((CASES / "proxy.json").read_text()), ids=lambda case: case["id"])
async def test_a_reported_case(build: Build, case: dict[str, Any]) -> None:
    house, body, expect = build(**KNOWN), (CASES / case["file"]).read_bytes(), case["expect"]
    path = case.get("path", "/v1/chat/completions")
    told = await asked(house, body, stream=case.get("stream", False), path=path, model=case["model"])
    assert told.body == body
    end = end_of(house)
    cost = Decimal(end["cost_nanousd"]) / 10**9
    assert end["status"] == "settled"
    assert cost <= Decimal(expect.get("cost_at_most", cost))
    assert cost == Decimal(expect.get("cost", cost))


# What cannot be read by the letter


@pytest.mark.parametrize(
    "text",
    [b"abc \\ud83d", b"\\ude00 abc", b"\\ud83d\\ud83d", b"caf\xe9", b"\xf0\x9f\x98", b"\xed\xa0\xbd", b"tab\there"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_text_that_no_string_can_hold(build: Build, text: bytes, stream: bool) -> None:
    """A token that ends in the middle of a character; servers that count in every chunk state the usage beside it."""
    house = build()
    content = orjson.dumps(chunk("?", usage=USAGE) if stream else WHOLE | {"choices": [{"message": {"content": "?"}}]})
    body = content.replace(b'"?"', b'"' + text + b'"')
    body = events(body, LAST | {"usage": USAGE}) if stream else body
    told = await asked(house, body, stream=stream, path="/v1/chat/completions")
    assert told.body == body
    assert (end_of(house)["usage_source"], end_of(house)["usage"]) == ("provider", {"input": 20, "output": 10})


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity"])
@pytest.mark.parametrize("stream", [False, True])
async def test_numbers_that_json_does_not_have(build: Build, value: bytes, stream: bool) -> None:
    house = build()
    body = orjson.dumps((COUNTS if stream else WHOLE) | {"logprob": "?"}).replace(b'"?"', value)
    body = events(chunk(), body) if stream else body
    told = await asked(house, body, stream=stream, path="/v1/chat/completions")
    assert (told.body, end_of(house)["usage"]) == (body, {"input": 20, "output": 10})


async def test_a_byte_order_mark_and_space_before_it(build: Build) -> None:
    house = build()
    body = b"\xef\xbb\xbf\n\n  " + orjson.dumps(WHOLE)
    told = await asked(house, body, stream=False, path="/v1/chat/completions")
    assert (told.body, end_of(house)["usage"]) == (body, {"input": 20, "output": 10})


@pytest.mark.parametrize("model", ["m\\ud83d", "\\udc00"])
async def test_half_a_surrogate_in_a_name_can_be_recorded(build: Build, model: str) -> None:
    house = build()
    body = orjson.dumps(WHOLE | {"model": "?"}).replace(b"?", model.encode())
    await asked(house, body, stream=False, path="/v1/chat/completions")
    assert (end_of(house)["status"], end_of(house)["usage"]) == ("settled", {"input": 20, "output": 10})


@pytest.mark.parametrize("count", [True, [12], {"tokens": 12}, "many", -7])
@pytest.mark.parametrize("taken", [False, True])
async def test_a_count_that_is_none_is_not_nothing(build: Build, count: Any, taken: bool) -> None:
    house = build()
    usage = {"prompt_tokens": count, "completion_tokens": 6 if taken else count, "total_tokens": count}
    await asked(house, orjson.dumps(WHOLE | {"usage": usage}), stream=False, path="/v1/chat/completions")
    end = end_of(house)
    assert (end["usage_source"], end["usage"]) == ("estimated", {"input": 9, "output": 6})


# The other form than the one that was asked for


async def test_events_where_one_answer_was_asked_for(build: Build) -> None:
    house = build()
    body = b": note\n\n" + events(chunk(), LAST, COUNTS)
    told = await asked(house, body, stream=False, path="/v1/chat/completions", kind=SSE)
    assert (told.body, end_of(house)["usage"]) == (body, {"input": 20, "output": 10})


@pytest.mark.parametrize("kind", [SSE, b"application/json"])
async def test_one_answer_where_events_were_asked_for(build: Build, kind: bytes) -> None:
    house = build()
    body = orjson.dumps(WHOLE)
    told = await asked(house, body, stream=True, path="/v1/chat/completions", kind=kind)
    assert (told.body, end_of(house)["usage"]) == (body, {"input": 20, "output": 10})


async def test_one_answer_where_a_stream_has_begun_already(build: Build) -> None:
    house = build(server={"keepalive_comment_s": 60})
    body = orjson.dumps(WHOLE)
    told = await asked(house, body, stream=True, path="/v1/chat/completions")
    assert (told.body, end_of(house)["usage"]) == (body, {"input": 20, "output": 10})


async def test_a_whole_answer_as_the_only_event(build: Build) -> None:
    house = build()
    await asked(house, events(WHOLE), stream=True, path="/v1/chat/completions")
    assert end_of(house)["usage"] == {"input": 20, "output": 10}


async def test_events_without_the_blank_lines_between_them(build: Build) -> None:
    house = build()
    body = events(chunk(), LAST, COUNTS).replace(b"\n\n", b"\n")
    told = await asked(house, body, stream=True, path="/v1/chat/completions")
    assert (told.body, end_of(house)["usage"]) == (body, {"input": 20, "output": 10})


async def test_the_same_answer_twice_is_charged_once(build: Build) -> None:
    house = build()
    await asked(house, orjson.dumps(WHOLE) * 2, stream=False, path="/v1/chat/completions")
    assert end_of(house)["usage"] == {"input": 20, "output": 10}


async def test_an_answer_that_is_cut_behind_its_text_is_counted(build: Build) -> None:
    house = build()
    body = orjson.dumps(WHOLE)
    cut = body[: body.index(b'"finish_reason"')]
    await asked(house, cut, stream=False, path="/v1/chat/completions")
    end = end_of(house)
    assert (end["status"], end["usage_source"], end["usage"]["output"]) == ("settled", "estimated", 6)


async def test_half_a_number_is_no_number(build: Build) -> None:
    house = build()
    body = orjson.dumps(WHOLE | {"usage": {"prompt_tokens": 20, "completion_tokens": 1000}})
    await asked(house, body[:-4], stream=False, path="/v1/chat/completions")
    assert end_of(house)["usage"] == {"input": 20, "output": 6}


async def test_a_whole_answer_whose_connection_breaks_behind_it_is_charged_as_it_says(build: Build) -> None:
    house = build()
    await house.ask(Answer(orjson.dumps(WHOLE), RESET))
    assert (end_of(house)["status"], end_of(house)["usage"]) == ("settled", {"input": 20, "output": 10})


@pytest.mark.parametrize("body", [b"", b"<html>bad gateway</html>", b"null", b"42", b"{}"])
async def test_what_says_nothing_costs_its_ceiling(build: Build, body: bytes) -> None:
    house = build()
    await asked(house, body, stream=False, path="/v1/chat/completions")
    assert end_of(house)["status"] == "unconfirmed"


@pytest.mark.parametrize(("given", "tokens"), [("hello world", 2), (["hello world"] * 3, 6), ([[1, 2, 3], [4]], 4)])
async def test_embeddings_without_usage_cost_what_was_embedded(build: Build, given: Any, tokens: int) -> None:
    house = build(models={"text-embedding-3-small": {"upstream": "up", "context_tokens": 8000}}, prices=[
        {"provider": "acme", "model": "*", "input": "1", "output": "2"}])  # fmt: skip
    body = orjson.dumps({"object": "list", "data": [{"embedding": [0.1], "index": 0}], "usage": None})
    fields = {"model": "text-embedding-3-small", "input": given}
    await house.ask(Answer(body), path="/v1/embeddings", chat=False, **fields)
    end = end_of(house)
    assert (end["status"], end["usage_source"], end["usage"]) == ("settled", "estimated", {"input": tokens})


# Errors


ERRORS: list[Any] = [
    {"error": {"message": "overloaded", "type": "server_error", "code": 503}},
    {"error": "overloaded"},
    {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
    {"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None},
    {"object": "error", "message": "no such model", "code": 404},
    {"id": "g", "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}], "error": {"code": 502}},
    {"id": "g", "choices": [{"index": 0, "error": {"code": 429, "message": "busy"}}]},
    {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}, "choices": None},
    {"code": "Throttling", "message": "Requests rate limit exceeded", "request_id": "r"},
    {"detail": "Not Found"},
    {"success": False, "message": "no channel"},
    {"id": "r", "object": "response", "status": "failed", "error": {"code": "server_error"}, "output": []},
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: next(iter(error)))
@pytest.mark.parametrize("form", ["whole", "events", "whole for events", "events for whole"])
async def test_an_error_under_200_costs_nothing(build: Build, error: Any, form: str) -> None:
    house = build()
    body = events(error) if form.startswith("events") else orjson.dumps(error)
    stream = form in ("events", "whole for events")
    told = await asked(house, body, stream=stream, path="/v1/chat/completions", kind=SSE if stream else b"")
    end = end_of(house)
    assert told.body == body
    assert (end["status"], end["cost_nanousd"], end["outcome"]) == ("settled", 0, "upstream_error")


@pytest.mark.parametrize("path", ["/v1/messages", "/v1beta/models/m:streamGenerateContent"])
async def test_an_error_as_the_first_event_of_another_dialect(build: Build, path: str) -> None:
    house = build(upstreams=DIALECTS)
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "busy", "code": 503}}
    body = events(error, done=False)
    fields = {"contents": [{"parts": [{"text": "hi"}]}], "chat": False} if "gemini" in path or "beta" in path else {}
    answer = Answer(body, kind=SSE)
    await house.ask(answer, path=path, **({"stream": True} | fields if "beta" not in path else fields))
    assert (end_of(house)["status"], end_of(house)["cost_nanousd"]) == ("settled", 0)


@pytest.mark.parametrize("error", ERRORS[:4], ids=lambda error: next(iter(error)))
async def test_what_was_written_before_an_error_is_counted(build: Build, error: Any) -> None:
    house = build()
    await asked(house, events(chunk("some words before it"), error), stream=True, path="/v1/chat/completions")
    end = end_of(house)
    assert (end["status"], end["usage_source"], end["outcome"]) == ("settled", "estimated", "upstream_error")
    assert end["usage"]["output"] == 5


async def test_a_model_that_writes_of_errors_has_not_failed(build: Build) -> None:
    house = build()
    told = '{"error": {"message": "x"}} "type": "error"'
    await asked(house, events(chunk(told, error=None), LAST, COUNTS), stream=True, path="/v1/chat/completions")
    assert (end_of(house)["outcome"], end_of(house)["usage"]) == ("ok", {"input": 20, "output": 10})


# Streams whose end is another one


def named(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\n".encode() + b"data: " + orjson.dumps(event) + b"\n\n"


RESPONSE = {"id": "r", "object": "response", "model": "m", "status": "completed", "output": []}
TOLD = {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30}


@pytest.mark.parametrize("name", ["completed", "incomplete", "done"])
@pytest.mark.parametrize("usage", [TOLD, None])
async def test_a_responses_stream_ends_with_or_without_usage(build: Build, name: str, usage: Any) -> None:
    house = build()
    body = named({"type": "response.created", "response": RESPONSE | {"status": "in_progress"}})
    body += named({"type": "response.output_text.delta", "delta": "hello"})
    body += named({"type": f"response.{name}", "response": RESPONSE | {"usage": usage}})
    told = await asked(house, body, stream=True, path="/v1/responses")
    assert (told.body, end_of(house)["outcome"]) == (body, "ok")


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("usage", [TOLD, None])
async def test_a_search_is_billed_streamed_and_whole(build: Build, streamed: bool, usage: Any) -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
    text = {"type": "message", "id": "m_1", "content": [{"type": "output_text", "text": "hello"}]}
    at_openai = {"base_url": "http://127.0.0.1:1/v1", "provider": "openai"}
    house = build(upstreams={"up": at_openai}, models={"m": {"upstream": "up", "model": "gpt-4o"}}, prices=[])
    body = named({"type": "response.output_item.done", "output_index": 0, "item": search})
    body += named({"type": "response.output_text.delta", "delta": "hello"})
    body += named({"type": "response.completed", "response": RESPONSE | {"usage": usage}})
    if not streamed:
        body = json.dumps(RESPONSE | {"output": [search, text], "usage": usage}).encode()
    told = await asked(house, body, stream=streamed, path="/v1/responses")
    assert told.status == 200, told.body
    end = end_of(house)
    assert (end["usage"]["web_search"], end["status"]) == (1, "settled")
    costs = {line["unit"]: Decimal(line["cost_usd"]) for line in end["cost_lines"]}
    assert costs["web_search"] == Decimal("0.01")


@pytest.mark.parametrize("missing", ["message_stop", "nothing"])
async def test_a_message_that_has_said_why_it_stops_is_whole(build: Build, missing: str) -> None:
    house = build(upstreams=DIALECTS)
    body = named(
        {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 20, "output_tokens": 1}}}
    )
    body += named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word"}})
    body += named({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}})
    body += b"" if missing == "message_stop" else named({"type": "message_stop"})
    told = await asked(house, body, stream=True, path="/v1/messages")
    assert (told.body, end_of(house)["outcome"]) == (body, "ok")
    assert end_of(house)["usage"] == {"input": 20, "output": 7}


async def test_done_ends_a_stream_of_any_dialect(build: Build) -> None:
    house = build(upstreams=DIALECTS)
    body = named(
        {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 20, "output_tokens": 1}}}
    )
    body += named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word"}})
    body += b"data: [DONE]\n\n"
    told = await asked(house, body, stream=True, path="/v1/messages")
    assert told.body == body


@pytest.mark.parametrize("pieces", [(chunk(), LAST, COUNTS, b"[DONE]"), (chunk(), LAST)], ids=["done", "stop"])
async def test_a_connection_that_breaks_behind_a_whole_answer_adds_no_error(build: Build, pieces: Any) -> None:
    house = build()
    body = events(*pieces, done=False)
    told = await house.ask(
        Answer(body, RESET, kind=SSE), stream=True, stream_options={"include_usage": COUNTS in pieces}
    )
    assert told.body == body
    # Without its usage it may have been billed for more than came through.
    end = end_of(house)
    assert (end["outcome"], end["status"]) == ("ok", "settled" if COUNTS in pieces else "unconfirmed")


async def test_a_whole_answer_without_the_usage_that_was_asked_for_is_not_whole(build: Build) -> None:
    house = build()
    body = events(chunk(), LAST, done=False)
    told = await house.ask(Answer(body, RESET, kind=SSE), stream=True, stream_options={"include_usage": True})
    assert told.body.startswith(body)
    assert b"upstream_unreachable" in told.body[len(body) :]


async def test_one_of_two_sequences_that_has_ended_is_no_whole_answer(build: Build) -> None:
    house = build()
    other = chunk() | {"choices": [{"index": 1, "delta": {"content": "x"}, "finish_reason": None}]}
    told = await house.ask(Answer(events(chunk(), other, LAST, done=False), RESET, kind=SSE), stream=True, n=2)
    assert b'"error"' in told.body
    assert end_of(house)["outcome"] == "upstream_error"


# Sound


SPEECH = {"input": "hello world", "voice": "alloy"}
SOUND = {
    "prices": [
        {"provider": "acme", "model": "by-token", "input": "1", "audio_out": "12"},
        {"provider": "acme", "model": "by-character", "character": "15"},
        {"provider": "acme", "model": "by-second", "audio_second": "0.0001"},
    ],
    "models": {
        f"by-{unit}": {"upstream": "up", "context_tokens": 8000, "max_output_tokens": 4000}
        for unit in ("token", "character", "second")
    },
}


@pytest.mark.parametrize(
    ("sound", "seconds"),
    [
        (made.mp3(125), 3),
        (made.wave(2, stated=0xFFFFFFFF), 2),
        (made.opus(4), 4),
        (made.flac(88_200), 2),
        (made.aac(75), 3.2),
    ],
)
async def test_speech_without_usage_costs_what_its_length_comes_to(build: Build, sound: bytes, seconds: float) -> None:
    house = build(**SOUND)
    await house.ask(Answer(sound, kind=b"audio/mpeg"), path="/v1/audio/speech", chat=False, model="by-token", **SPEECH)
    end = end_of(house)
    assert (end["status"], end["usage_source"]) == ("settled", "estimated")
    assert end["usage"] == {"input": 3, "audio_out": math.ceil(seconds * 25)}


async def test_speech_that_is_billed_by_the_second_or_the_character(build: Build) -> None:
    house = build(**SOUND)
    for model in ("by-second", "by-character"):
        await house.ask(Answer(made.mp3(125)), path="/v1/audio/speech", chat=False, model=model, **SPEECH)
    ends = [record for record in house.records() if record["t"] == "settle"]
    assert [end["usage"] for end in ends] == [{"audio_second": 3}, {"character": 11}]


async def test_sound_of_no_known_format_costs_its_ceiling(build: Build) -> None:
    house = build(**SOUND)
    await house.ask(Answer(b"?" * 100), path="/v1/audio/speech", chat=False, model="by-token", **SPEECH)
    assert end_of(house)["status"] == "unconfirmed"


@pytest.mark.parametrize(
    "body", [b'{"text": "hello"}', b"1\n00:00:00,000 --> 00:00:02,000\nhello\n"], ids=["json", "srt"]
)
async def test_a_transcript_without_usage_costs_what_was_heard(build: Build, body: bytes) -> None:
    house = build(**SOUND)
    sent = multipart.encode(b"b", [Part("model", b"by-second"), Part("file", made.mp3(250), b"a.mp3")])
    await house.ask(Answer(body), path="/v1/audio/transcriptions", raw=sent)
    end = end_of(house)
    assert (end["status"], end["usage"]) == ("settled", {"audio_second": 6})


async def test_a_streamed_transcript_without_usage_costs_what_was_heard(build: Build) -> None:
    house = build(**SOUND)
    parts = [Part("model", b"by-second"), Part("stream", b"true"), Part("file", made.mp3(250), b"a.mp3")]
    said = events(
        {"type": "transcript.text.delta", "delta": "hello"}, {"type": "transcript.text.done", "text": "hello"}
    )
    path = "/v1/audio/transcriptions"
    await house.ask(Answer(said, kind=SSE), path=path, raw=multipart.encode(b"b", parts))
    await house.ask(
        Answer(events({"error": {"message": "no"}}), kind=SSE), path=path, raw=multipart.encode(b"b", parts)
    )
    heard, failed = [record for record in house.records() if record["t"] == "settle"]
    assert (heard["status"], heard["usage"]) == ("settled", {"audio_second": 6})
    assert failed["cost_nanousd"] == 0


@pytest.mark.parametrize("status", ["completed", "incomplete", "cancelled", "failed"])
async def test_a_whole_response_as_a_streams_only_event_is_whole(build: Build, status: str) -> None:
    """As gateways send it that cannot stream: what it says is what it used, and the client is told of no cut."""
    said = [{"type": "message", "content": [{"type": "output_text", "text": "five words or so here"}]}]
    answer = {"object": "response", "status": status, "model": "m", "output": said, "usage": COUNTED}
    house, body = build(), events(answer, done=False)
    told = await asked(house, body, stream=True, path="/v1/responses")
    end = end_of(house)
    assert (end["usage"], end["usage_source"]) == ({"input": 20, "output": 3}, "provider")
    assert told.body == body
    assert end["outcome"] == ("upstream_error" if status == "failed" else "ok")


@pytest.mark.parametrize("error", [None, {}, {"code": "server_error", "message": "no"}], ids=["null", "empty", "said"])
@pytest.mark.parametrize("counts", [COUNTED, None], ids=["counted", "uncounted"])
@pytest.mark.parametrize("form", ["event", "whole", "json"])
async def test_a_response_that_failed_is_an_upstreams_error_in_any_form(
    build: Build, form: str, counts: dict[str, int] | None, error: dict[str, str] | None
) -> None:
    answer = {"object": "response", "status": "failed", "error": error, "model": "m", "output": [], "usage": counts}
    body = orjson.dumps(answer)
    if form != "json":
        body = events({"type": "response.failed", "response": answer} if form == "event" else answer, done=False)
    house = build()
    await asked(house, body, stream=True, path="/v1/responses")
    end = end_of(house)
    assert (end["outcome"], end["status"]) == ("upstream_error", "settled")
    assert end["usage"] == ({"input": 20, "output": 3} if counts else {})


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_what_is_billed_at_the_models_inside_is_not_counted_again(build: Build, *, stream: bool) -> None:
    """Groq's compound states its usage once for all, and once for each model that was asked: these are what is billed."""
    inside = {"model": "llama-3.3-70b-versatile", "usage": {"prompt_tokens": 200, "completion_tokens": 40}}
    said = {**TEXT, "delta": TEXT["message"]} if stream else TEXT
    answer = {
        "object": "chat.completion.chunk" if stream else "chat.completion",
        "model": "compound-beta",
        "choices": [said],
        "usage": {"prompt_tokens": 200, "completion_tokens": 40, "total_tokens": 240},
        "usage_breakdown": {"models": [inside]},
    }
    groq = {"groq": {"base_url": "http://127.0.0.1:1/v1", "provider": "groq"}}
    house = build(
        upstreams=groq, models={"m": {"upstream": "groq", "model": "compound-beta", "context_tokens": 9000}},
        prices=[{"provider": "groq", "model": "compound-beta", "input": "1", "output": "1"}],
    )  # fmt: skip
    body = events(answer) if stream else orjson.dumps(answer)
    await asked(house, body, stream=stream, path="/v1/chat/completions")
    end = end_of(house)
    assert (end["usage"], end["flags"]) == ({}, [])
    assert end["cost_nanousd"] == 200 * 590 + 40 * 790  # of llama-3.3-70b-versatile, as Groq has it


@pytest.mark.parametrize(
    "inside", [{"prompt_tokens": 10, "completion_tokens": 2}, {"prompt_tokens": 10}, {"completion_tokens": 2}]
)
async def test_what_the_models_inside_leave_out_is_billed_at_theirs(build: Build, inside: dict[str, int]) -> None:
    """The sum says 200 and 40: a breakdown that says less is not all of it."""
    answer = {
        "object": "chat.completion",
        "model": "compound-beta",
        "choices": [TEXT],
        "usage": {"prompt_tokens": 200, "completion_tokens": 40, "total_tokens": 240},
        "usage_breakdown": {"models": [{"model": "llama-3.3-70b-versatile", "usage": inside}]},
    }
    groq = {"groq": {"base_url": "http://127.0.0.1:1/v1", "provider": "groq"}}
    models = {"m": {"upstream": "groq", "model": "compound-beta", "context_tokens": 9000}}
    prices = [{"provider": "groq", "model": "compound-beta", "input": "1", "output": "1"}]
    house = build(upstreams=groq, models=models, prices=prices)
    await asked(house, orjson.dumps(answer), stream=False, path="/v1/chat/completions")
    end = end_of(house)
    assert end["cost_nanousd"] == 200 * 590 + 40 * 790
    assert "inconsistent_usage" in end["flags"]


async def test_an_answers_text_is_counted_where_only_its_picture_says_what_it_took(build: Build) -> None:
    tool = {"type": "image_generation", "model": "gpt-image-1"}
    said = [{"type": "message", "content": [{"type": "output_text", "text": "five words or so here"}]}]
    answer = {
        "object": "response",
        "status": "completed",
        "model": "m",
        "tools": [tool],
        "output": said,
        "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
        "tool_usage": {"image_gen": {"input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210}},
    }
    house = build()
    await asked(house, orjson.dumps(answer), stream=False, path="/v1/responses")
    end = end_of(house)
    assert end["usage"].get("output", 0) >= 5
    assert "estimated" in end["flags"] or end["usage_source"] == "estimated"


@pytest.mark.parametrize("envelope", ["response", "data", "result", "body"])
async def test_an_answer_in_an_envelope_of_a_gateway_is_read(build: Build, envelope: str) -> None:
    house = build()
    inner = {"model": "m", "choices": [{"message": {"content": "word"}}], "usage": USAGE}
    await house.ask(Answer(orjson.dumps({"code": 0, envelope: inner})))
    assert house.records()[-1]["usage"] == {"input": 20, "output": 10}


# Text that stands in another place, and counts of which a half is missing

SEEN = "five words or so here"
BESIDE = [
    ("/v1/chat/completions", {"choices": [{"message": {"content": "", "reasoning_details": [{"type": "reasoning.text", "text": SEEN}]}}]}),
    ("/v1/chat/completions", {"data": {"choices": [{"message": {"content": SEEN}}]}}),
    ("/v1/chat/completions", {"role": "assistant", "content": SEEN}),
    ("/v1/messages", {"type": "message", "content": SEEN}),
    ("/v1/messages", {"type": "completion", "completion": SEEN, "stop_reason": "stop_sequence"}),
    ("/v1/messages", {"type": "message", "content": [{"type": "text", "text": SEEN}], "usage": {"output_tokens": 6}}),
    ("/v1/responses", {"object": "response", "status": "completed", "output_text": SEEN}),
    ("/v1beta/models/m:generateContent", {"candidates": [{"content": {"parts": [{"text": SEEN}]}}], "usageMetadata": {"candidatesTokenCount": 6}}),
]  # fmt: skip
GIVEN: dict[str, Any] = {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 100}}


@pytest.mark.parametrize(("path", "answer"), BESIDE)
async def test_text_is_counted_wherever_it_stands(build: Build, path: str, answer: dict[str, Any]) -> None:
    house = build(upstreams=DIALECTS)
    fields = (
        {"chat": False, **GIVEN}
        if "v1beta" in path
        else {"chat": False, "model": "m", "input": "hi", "max_output_tokens": 99}
    )
    await house.ask(
        Answer(orjson.dumps(answer)), path=path, **({} if path in ("/v1/chat/completions", "/v1/messages") else fields)
    )
    end = end_of(house)
    written = end["usage"].get("output", 0) + end["usage"].get("reasoning", 0)
    assert (end["status"], end["usage_source"], written) == ("settled", "estimated", 6)
    assert 0 < end["usage"]["input"] < 20


@pytest.mark.parametrize("stop", [{"type": "message_stop"}, {"type": "message_stop", "usage": {"output_tokens": 7}}])
async def test_a_message_that_ends_without_its_counts_is_counted(build: Build, stop: dict[str, Any]) -> None:
    house = build(upstreams=DIALECTS)
    start = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 20, "output_tokens": 1}}}
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": SEEN}}
    body = b"".join(map(named, (start, text, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, stop)))
    await asked(house, body, stream=True, path="/v1/messages")
    assert end_of(house)["usage"] == {"input": 20, "output": 7 if "usage" in stop else 6}


@pytest.mark.parametrize("count", [b"1e999", b"true", b'"many"', b"[]", b"-3"])
async def test_an_input_that_is_no_number_is_counted_though_nothing_else_can_be(build: Build, count: bytes) -> None:
    house = build()
    body = b'{"model":"m","choices":[],"usage":{"prompt_tokens":?,"completion_tokens":5}}'.replace(b"?", count)
    await asked(house, body, stream=False, path="/v1/chat/completions")
    assert end_of(house)["usage"] == {"input": 9, "output": 5}
