"""Streams that do not end as they should: the client gets an end that it can read, and nobody is charged too little."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.upstream.response import UpstreamError
from tests.flow.house import Answer, Build, House

ANTHROPIC = {"up": {"base_url": "http://127.0.0.1:1", "provider": "acme", "dialect": "anthropic"}}
KIND = b"text/event-stream"


def named(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\n".encode() + b"data: " + orjson.dumps(event) + b"\n\n"


def start(usage: dict[str, Any]) -> bytes:
    return named({"type": "message_start", "message": {"model": "m", "usage": usage}})


def text(words: str) -> bytes:
    return named({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": words}})


def delta(usage: dict[str, Any]) -> bytes:
    return named({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage})


CHUNK = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"hello"}}]}\n\n'
BEGUN = start({"input_tokens": 20, "output_tokens": 1})
STOP = named({"type": "message_stop"})
RESET = UpstreamError("reset", "gone", sent=True)


def last_event(body: bytes) -> dict[str, Any]:
    """The last event of a body that is nothing but whole events."""
    assert body.endswith(b"\n\n")
    blocks = body[:-2].split(b"\n\n")
    payloads = [line[6:] for block in blocks for line in block.split(b"\n") if line.startswith(b"data: ")]
    found: dict[str, Any] = [orjson.loads(payload) for payload in payloads if payload != b"[DONE]"][-1]
    return found


async def messages(house: House, *pieces: bytes | Exception) -> bytes:
    answer = Answer(*pieces, kind=KIND)
    return (await house.ask(answer, path="/v1/messages", stream=True)).body


@pytest.mark.parametrize("broken", [True, False], ids=["the connection broke", "the stream ended"])
async def test_half_of_an_event_is_left_out_and_the_error_behind_it_can_be_read(build: Build, broken: bool) -> None:
    pieces: list[bytes | Exception] = [CHUNK, b'data: {"model":"m","cho']
    told = await build().ask(Answer(*pieces, *([RESET] if broken else []), kind=KIND), stream=True)
    assert told.body.startswith(CHUNK)
    assert b'"cho' not in told.body.removeprefix(CHUNK)
    assert last_event(told.body)["error"]["code"] == "upstream_unreachable"


@pytest.mark.parametrize("missing", [1, 2], ids=["half of its blank line", "its blank line"])
async def test_an_error_is_an_event_of_its_own_behind_one_that_lacks_its_end(build: Build, missing: int) -> None:
    told = await build().ask(Answer(CHUNK, CHUNK[:-missing], RESET, kind=KIND), stream=True)
    assert told.body.count(b'"hello"') == 2
    assert last_event(told.body)["error"]["code"] == "upstream_unreachable"


@pytest.mark.parametrize("broken", [True, False], ids=["the connection broke", "the stream ended"])
async def test_a_response_that_is_cut_fails_under_the_names_that_it_began_with(build: Build, broken: bool) -> None:
    begun = {
        "object": "response",
        "id": "resp_1",
        "created_at": 5,
        "model": "m-2",
        "status": "in_progress",
        "usage": None,
    }
    piece = {"type": "response.output_text.delta", "sequence_number": 1, "delta": "Zebras"}
    pieces: list[bytes | Exception] = [
        named({"type": "response.created", "sequence_number": 0, "response": begun}), named(piece), *([RESET] if broken else []),
    ]  # fmt: skip
    told = last_event((await build().ask(Answer(*pieces, kind=KIND), path="/v1/responses", stream=True)).body)
    assert (told["type"], told["sequence_number"]) == ("response.failed", 2)
    response = told["response"]
    assert (response["id"], response["created_at"], response["model"], response["status"]) == (
        "resp_1",
        5,
        "m-2",
        "failed",
    )


async def test_a_line_end_that_is_cut_in_two_is_no_half_event(build: Build) -> None:
    stream = CHUNK.replace(b"\n", b"\r\n") + b"data: [DONE]\r\n\r\n"
    told = await build().ask(Answer(stream[:-1], stream[-1:], kind=KIND), stream=True)
    assert told.body == stream


async def test_the_cost_is_an_event_of_its_own_behind_one_that_lacks_its_end(build: Build) -> None:
    wish = {"x-taximeter-stream-cost": "1"}
    told = await build().ask(Answer(CHUNK, CHUNK.rstrip(), kind=KIND), stream=True, headers=wish)
    assert told.body.startswith(CHUNK + CHUNK + b": taximeter cost_usd=")


async def test_a_last_event_that_lacks_nothing_but_its_blank_line_passes(build: Build) -> None:
    told = await build().ask(Answer(CHUNK, b"data: [DONE]\n", kind=KIND), stream=True)
    assert told.body == CHUNK + b"data: [DONE]\n"


async def test_a_message_that_never_stops_is_ended_as_an_error(build: Build) -> None:
    house = build(upstreams=ANTHROPIC)
    body = await messages(house, BEGUN, text("and a few words"))
    assert last_event(body)["type"] == "error"
    end = house.records()[-1]
    assert (end["outcome"], end["usage_source"], end["usage"]["input"]) == ("upstream_error", "estimated", 20)
    assert end["usage"]["output"] > 1


async def test_chat_servers_may_leave_out_their_last_event(build: Build) -> None:
    assert (await build().ask(Answer(CHUNK, kind=KIND), stream=True)).body == CHUNK


async def test_a_stream_of_nothing_is_an_error(build: Build) -> None:
    house = build()
    told = await house.ask(Answer(kind=KIND), stream=True)
    assert (told.status, told.code) == (502, "upstream_unreachable")
    assert house.records()[-1]["status"] == "unconfirmed"


async def test_the_placeholder_of_a_message_start_is_not_what_a_broken_stream_costs(build: Build) -> None:
    house = build(upstreams=ANTHROPIC)
    await messages(house, BEGUN, text("word"), RESET)
    intent, end = house.records()
    assert (end["status"], end["cost_nanousd"]) == ("unconfirmed", intent["reserved_nanousd"])


@pytest.mark.parametrize("output", [-5, None, "many"])
async def test_the_placeholder_does_not_stand_for_a_count_that_is_none(build: Build, output: Any) -> None:
    house = build(upstreams=ANTHROPIC)
    words = "more than one word, surely"
    await messages(house, BEGUN, text(words), delta({"output_tokens": output}), STOP)
    end = house.records()[-1]
    assert (end["status"], end["usage_source"]) == ("settled", "estimated")
    assert end["usage"]["output"] >= 5


async def test_a_true_final_count_is_taken_as_it_is(build: Build) -> None:
    house = build(upstreams=ANTHROPIC)
    body = await messages(house, BEGUN, text("word"), delta({"output_tokens": 7}), STOP)
    assert body.endswith(STOP)
    end = house.records()[-1]
    assert (end["outcome"], end["usage_source"], end["usage"]) == ("ok", "provider", {"input": 20, "output": 7})


async def test_no_output_is_not_believed_where_there_is_text(build: Build) -> None:
    house = build()
    usage = {"prompt_tokens": 20, "completion_tokens": 0, "total_tokens": 20}
    choices = [{"index": 0, "message": {"role": "assistant", "content": "five words or so here"}}]
    await house.ask(Answer(orjson.dumps({"model": "m", "choices": choices, "usage": usage})))
    end = house.records()[-1]
    assert end["usage_source"] == "estimated"
    assert end["usage"]["output"] >= 5


async def test_no_output_is_believed_where_there_is_none(build: Build) -> None:
    house = build()
    usage = {"prompt_tokens": 20, "completion_tokens": 0, "total_tokens": 20}
    choices = [{"index": 0, "message": {"role": "assistant", "content": ""}}]
    await house.ask(Answer(orjson.dumps({"model": "m", "choices": choices, "usage": usage})))
    end = house.records()[-1]
    assert (end["usage_source"], end["usage"]) == ("provider", {"input": 20})


async def test_a_usage_beyond_what_can_be_is_charged_at_the_ceiling_and_kept_for_a_person(build: Build) -> None:
    house = build()
    usage = {"prompt_tokens": 20, "completion_tokens": 10**18, "total_tokens": 20 + 10**18}
    await house.ask(Answer(orjson.dumps({"model": "m", "choices": [], "usage": usage})))
    intent, end = house.records()
    assert (end["status"], end["cost_nanousd"], end["usage"]) == ("unconfirmed", intent["reserved_nanousd"], {})
    assert "implausible" in end["flags"]
    assert end["told_usage"]
