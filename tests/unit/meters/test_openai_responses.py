"""Calls of hosted tools in Responses: billed by the call, read alike from a whole answer and from a stream, whatever the
stream's last event leaves out."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pricing.usage import Reading
from proxy.meters import Context, reader
from tests.support.rows import each_row

USAGE = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
CALLS = [
    {"type": "web_search_call", "id": "a", "status": "completed", "action": {"type": "search", "query": "x"}},
    {"type": "web_search_call", "id": "b", "status": "completed", "action": {"type": "open_page", "url": "x"}},
    {"type": "web_search_call", "id": "c", "status": "failed", "action": {"type": "search", "query": "x"}},
    {"type": "file_search_call", "id": "d", "status": "completed", "queries": ["x"]},
    {"type": "code_interpreter_call", "id": "e", "status": "completed", "code": "1", "container_id": "cntr_1"},
    {"type": "code_interpreter_call", "id": "f", "status": "completed", "code": "2", "container_id": "cntr_1"},
    {"type": "message", "id": "g", "content": [{"type": "output_text", "text": "a web_search_call"}]},
]
BILLED = {"web_search": 1, "file_search": 1, "code_session": 1}
TOKENS = {"input": 1000, "output": 100}
DONE = [{"type": "response.output_item.done", "output_index": index, "item": item} for index, item in enumerate(CALLS)]


def whole(**fields: Any) -> dict[str, Any]:
    return {"object": "response", "status": "completed", "model": "gpt-4o", "output": CALLS, "usage": USAGE, **fields}


def streamed(*events: dict[str, Any], context: Context | None = None, dialect: str = "openai.responses") -> Reading:
    """What a stream comes to, of whose events only those are opened that may say something."""
    stream = (own := reader(dialect)).stream(context or Context(provider="openai", model="gpt-4o"))
    for event in events:
        if own.wants(orjson.dumps(event)):
            stream.event(event)
    return stream.finish()


@pytest.mark.parametrize("output", [CALLS, [], None, CALLS[-1:]], ids=["all", "none", "null", "without calls"])
@pytest.mark.parametrize("times", [1, 2])
def test_calls_that_passed_are_billed_once(output: Any, times: int) -> None:
    last = {"type": "response.completed", "response": whole(output=output)}
    assert streamed(*DONE * times, last).usage == TOKENS | BILLED
    assert reader("openai.responses").whole(whole()).usage == TOKENS | BILLED


def test_a_stream_that_was_cut_knows_what_it_called_and_none_of_its_tokens() -> None:
    cut = streamed(*DONE, {"type": "response.output_text.delta", "delta": "x"})
    assert (cut.source, cut.usage) == ("none", BILLED)
    assert reader("openai.responses").whole(whole(usage=None)) == cut._replace(model="gpt-4o")


@pytest.mark.parametrize("item", ["code_interpreter_call", "shell_call"])
def test_code_without_a_named_container_ran_in_one_and_a_shell_perhaps_at_the_client(item: str) -> None:
    calls = [{"type": item, "id": name, "status": "completed"} for name in "ab"]
    expected = 1 if item == "code_interpreter_call" else None
    assert reader("openai.responses").whole(whole(output=calls)).usage.get("code_session") == expected


def test_the_preview_tool_of_the_request_counts_where_the_answer_repeats_no_tools() -> None:
    request = {"tools": [{"type": "web_search_preview_2025_03_11"}]}
    theirs = Context(provider="openai", model="gpt-4o", request=request, from_client=True)
    last = {"type": "response.completed", "response": whole()}
    assert streamed(last, context=theirs).requested == {"web_search": "preview"}
    assert streamed(last, context=theirs._replace(from_client=False)).conditions == {"web_search": "preview"}
    said = {"type": "response.completed", "response": whole(tools=[{"type": "web_search"}])}
    assert (streamed(said, context=theirs).requested, streamed(said, context=theirs).conditions) == ({}, {})


@each_row(
    ("tool", "sessions"),
    [
        ({"type": "code_interpreter", "container": {"type": "auto"}}, 1),
        ({"type": "code_interpreter", "container": "cntr_1"}, 1),
        ({"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}, 4),
        ({"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "64g"}}, 64),
        ({"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "1tb"}}, 64),
        ({"type": "code_interpreter", "container": {"type": "auto", "memory_limit": 4}}, 64),
        ({"type": "shell", "environment": {"type": "container_auto", "memory_limit": "16g"}}, 16),
    ],
)
@each_row("told", [True, False])
def test_a_container_is_billed_by_its_gigabytes(tool: dict[str, Any], sessions: int, told: bool) -> None:
    """Told: the response repeats its tools, and they count; else those of the request."""
    calls = [{"type": "code_interpreter_call", "id": f"c{n}", "container_id": "cntr_1", "code": "1"} for n in range(2)]
    response = {
        "object": "response",
        "status": "completed",
        "output": calls,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    context = Context(provider="openai", request={"tools": [tool]}, from_client=True)
    reading = reader("openai.responses", "openai").whole(response | ({"tools": [tool]} if told else {}), context)
    assert reading.usage["code_session"] == sessions


@pytest.mark.parametrize("output", ["all", "none"])
def test_a_model_that_writes_a_picture_is_billed_beside_it(output: str) -> None:
    svg = {
        "model": "gpt-6-astra",
        "input_tokens": 2000,
        "output_tokens": 500,
        "reasoning_tokens": 100,
        "total_tokens": 2500,
    }
    item = {"type": "image_generation_call", "id": "a", "status": "completed", "result": "x", "svg_usage": svg}
    parts = [("gpt-6-astra", {"input": 2000, "reasoning": 100, "output": 400}), ("gpt-image-2", {"image_out": 7024})]
    tools = [{"type": "image_generation", "model": "gpt-image-2"}]
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    response = whole(output=[item] if output == "all" else [], tools=tools, model="gpt-5.6")
    read = streamed(done, {"type": "response.completed", "response": response})
    assert [(part.model, dict(part.usage)) for part in read.parts] == parts
    assert reader("openai.responses").whole(whole(output=[item], tools=tools)).parts == read.parts


@pytest.mark.parametrize(
    ("tool", "made", "tokens"),
    [
        ({}, {"size": "1024x1024", "quality": "high"}, 7024),
        ({"model": "gpt-image-2.6-sunburst"}, {"size": "1024x1024", "quality": "medium"}, 1756),
        ({"model": "gpt-image-2"}, {"size": "1024x1536", "quality": "high"}, 6240),
        ({"model": "gpt-image-1"}, {"size": "1024x1024", "quality": "high"}, 4192),
        ({"model": "gpt-image-1.5"}, {}, 6240),
    ],
)
def test_pictures_that_nobody_counted_are_estimated_at_no_less_than_their_model_bills(
    tool: dict[str, str], made: dict[str, str], tokens: int
) -> None:
    item = {"type": "image_generation_call", "id": "a", "status": "completed", "result": "x", **made}
    read = reader("openai.responses").whole(whole(output=[item], tools=[{"type": "image_generation", **tool}]))

    assert "estimated" in read.flags
    assert [part.usage["image_out"] for part in read.parts] == [pytest.approx(tokens, abs=64)]


def test_a_picture_of_no_size_is_estimated_without_an_error() -> None:
    item = {"type": "image_generation_call", "id": "a", "status": "completed", "size": "00x99999"}
    assert reader("openai.responses").whole(whole(output=[item])).parts[0].usage["image_out"] > 0
