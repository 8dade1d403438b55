"""Bodies of OpenAI's Responses: caps, tools that run at the provider, and what is stored there."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.access.stored_owners import Holder, StoredOwners, digest, digests_of
from proxy.dialects import find, responses
from proxy.errors import Refusal, Refused
from proxy.types import Identity
from tests.support.rows import each_row

# Of a response (openai SDK 3.57, `types/responses/response.py`), and of what strict clients besides ask for.
REQUIRED = {"created_at", "id", "model", "object", "output", "parallel_tool_calls", "status", "tool_choice", "tools"}


def parse(**changes: Any) -> Any:
    return responses.parse(orjson.dumps({"model": "m", "input": "hi"} | changes))


def refusal(**changes: Any) -> Refusal:
    with pytest.raises(Refused) as refused:
        parse(**changes)
    return refused.value.refusal


@each_row("value", [True, 0, -1, 1.5, "7", [], 2**31])
@each_row("name", ["max_output_tokens", "max_tool_calls"])
def test_bounded_numbers_must_be_whole_and_in_range(name: str, value: Any) -> None:
    assert (refusal(**{name: value}).status, refusal(**{name: value}).param) == (400, name)


@pytest.mark.parametrize(
    ("name", "value"),
    [("n", 2), ("n", 1), ("background", "yes"), ("Max_Output_Tokens", 5), ("chat_template", "x"),
     ("input", 5), ("input", ["hi"]), ("stream", 1), ("tools", {}), ("previous_response_id", 5)],
)  # fmt: skip
def test_priced_and_bounded_fields_are_read_strictly(name: str, value: Any) -> None:
    assert (refusal(**{name: value}).status, refusal(**{name: value}).param) == (400, name.lower())


@pytest.mark.parametrize(
    "changes",
    [
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"prompt": {"id": "p"}},
        {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
    ],
)
def test_what_nobody_made_here_does_not_exist(changes: dict[str, Any]) -> None:
    assert refusal(**changes).status == 404


def test_stored_context_is_bounded_by_the_models() -> None:
    call = parse(previous_response_id="resp_1", input=[{"type": "item_reference", "id": "msg_1"}, {"id": "rs_1"}])
    assert call.held == ("msg_1", "rs_1", "resp_1")
    assert call.media_items == 3


def test_tool_calls_are_bounded_and_counted() -> None:
    call = parse(tools=[{"type": "web_search"}, {"type": "file_search"}])
    assert call.body["max_tool_calls"] == 10
    assert (call.extra, call.passes) == ({"web_search": 10, "file_search": 10}, 11)
    assert parse(tools=[{"type": "web_search"}], max_tool_calls=2).extra == {"web_search": 2}


def test_tools_of_the_client_bring_nothing() -> None:
    call = parse(tools=[{"type": "function", "name": "f"}, {"type": "custom"}, {"type": "local_shell"}])
    assert (call.extra, call.passes) == ({}, 1)
    assert "max_tool_calls" not in call.body


@pytest.mark.parametrize(
    "changes", [{"prompt": {"variables": {}}}, {"tools": [{"type": "image_generation"}]}, {"tools": [{"type": "mcp"}]}]
)
def test_what_cannot_be_seen_has_no_bound(changes: dict[str, Any]) -> None:
    assert parse(**changes).unbounded


def test_images_are_media() -> None:
    content = [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "data:,"}]
    assert parse(input=[{"role": "user", "content": content}]).media_items == 1


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "/v1/responses/resp_1", "responses.get"),
        ("DELETE", "/openai/v1/responses/resp_1", "responses.delete"),
        ("POST", "/responses/resp_1/cancel", "responses.cancel"),
        ("POST", "/v1/responses/compact", "responses.compact"),
        ("POST", "/v1/responses/input_tokens", "responses.input_tokens"),
    ],
)
def test_paths_of_a_stored_response(method: str, path: str, operation: str) -> None:
    endpoint = find(method, path, b"")
    assert endpoint is not None
    assert (endpoint.operation, endpoint.method) == (operation, method.encode())
    assert endpoint.target == path.removeprefix("/openai").removeprefix("/v1")


@pytest.mark.parametrize(
    "path",
    ["/v1/responses/..", "/v1/responses/", "/v1/responses/a/b", "/v1/responses/a?b", "/v1/responses/a#b", "/v1/responses/a\n",
     "/v1/responses/a/cancel/", "/v1/responses/a/../b", "/v1/responses/" + "a" * 201, "/v2/responses/a", "/v1/responses/%2e"],
)  # fmt: skip
def test_tricks_with_paths_find_nothing(path: str) -> None:
    assert find("GET", path, b"") is None


def test_no_two_owners_and_ids_have_one_digest() -> None:
    who = [Identity("1", "a", team="t"), Identity("t", "a"), Identity("1", "a", team="tr"), Identity("tr", "a")]
    seen = {digest(one, name) for one in who for name in ("resp", "esp", "t:resp")}
    assert len(seen) == len(who) * 3
    assert digest(Identity("2", "b", team="t"), "resp") == digest(who[0], "resp")  # whichever key of the team


def test_ids_belong_to_the_team_that_made_them() -> None:
    held = StoredOwners(max_ids=3)
    team, other, alone = (Identity("1", "a", team="t"), Identity("2", "b", team="u"), Identity("3", "c"))
    held.note(digests_of(team, {"id": "resp_1", "output": [{"id": "msg_1"}, {}, 5]}), Holder("up", "m"))
    held.note([digest(alone, "resp_2")], Holder("up", "m"))
    assert held.find(Identity("9", "z", team="t"), "msg_1") == Holder("up", "m")
    for who, one in ((other, "resp_1"), (alone, "resp_1"), (team, "resp_2"), (Identity("4", "d"), "resp_2")):
        with pytest.raises(Refused):
            held.find(who, one)
    held.note([digest(team, "resp_3")], Holder("up", "m"))
    with pytest.raises(Refused):
        held.find(team, "resp_1")  # the oldest makes room


def test_a_cut_stream_ends_as_a_failed_response() -> None:
    event = orjson.loads(responses.stream_end(Refusal(402, "budget_exceeded", "why")).split(b"data: ")[1])
    assert (event["type"], event["response"]["error"]["code"]) == ("response.failed", "budget_exceeded")
    assert not REQUIRED - event["response"].keys()


def test_a_cut_stream_ends_with_the_response_that_it_began_with() -> None:
    begun = {"id": "resp_1", "created_at": 5, "model": "m", "status": "in_progress", "tools": [{"type": "function"}]}
    seen = [
        {"type": "response.created", "sequence_number": 0, "response": begun},
        {"type": "response.output_text.delta", "sequence_number": 1, "delta": "Zebras"},
        "no event",
        {"response": "none either", "sequence_number": "2"},
    ]
    event = orjson.loads(responses.stream_end(Refusal(502, "upstream_unreachable", "why"), seen).split(b"data: ")[1])
    assert event["sequence_number"] == 2
    response = event["response"]
    assert (response["id"], response["created_at"], response["model"], response["status"]) == (
        "resp_1",
        5,
        "m",
        "failed",
    )
    assert not REQUIRED - response.keys()


@pytest.mark.parametrize(("name", "value"), [("stream", True), ("store", False)])
def test_a_background_response_is_asked_for_by_its_id(name: str, value: bool) -> None:
    assert (refusal(background=True, **{name: value}).status, refusal(background=True, **{name: value}).param) == (
        400,
        name,
    )
