"""Anthropic request bodies: caps, thinking budgets, tools that run at the provider, and how a refusal looks."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.dialects import anthropic, find
from proxy.errors import Refusal, Refused

MESSAGES: dict[str, Any] = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}


def parse(**changes: Any) -> Any:
    return anthropic.parse_messages(orjson.dumps(MESSAGES | changes))


def refused_field(**changes: Any) -> str | None:
    with pytest.raises(Refused) as refused:
        parse(**changes)
    assert refused.value.refusal.status == 400
    return refused.value.refusal.param


@pytest.mark.parametrize("value", [True, -1, 1.5, "7", [], 2**31])
def test_the_cap_must_be_a_whole_number(value: Any) -> None:
    assert refused_field(max_tokens=value) == "max_tokens"


@pytest.mark.parametrize("value", [True, 0, -1, 1.5, "7"])
def test_the_thinking_budget_must_be_a_whole_number(value: Any) -> None:
    assert refused_field(thinking={"type": "enabled", "budget_tokens": value}) == "budget_tokens"


@pytest.mark.parametrize(
    ("name", "value"),
    [("Max_Tokens", 5), ("base_url", "x"), ("n_predict", 9), ("messages", "hi"), ("messages", ["hi"]), ("stream", 1),
     ("tools", {}), ("tools", ["x"]), ("system", 5), ("thinking", 5), ("speed", 1)],
)  # fmt: skip
def test_priced_and_bounded_fields_are_read_strictly(name: str, value: Any) -> None:
    assert refused_field(**{name: value}) == name.lower()


def test_a_call_that_only_fills_the_cache_is_not_made_to_write_anything() -> None:
    call = parse(max_tokens=0)
    assert (call.output_caps, call.least_output_tokens) == ((0,), 2**31 - 1)


def test_a_call_is_never_made_smaller_than_its_thinking() -> None:
    assert parse(thinking={"type": "enabled", "budget_tokens": 4000}).least_output_tokens == 4001
    assert parse(thinking={"type": "enabled", "budget_tokens": 10}).least_output_tokens == 1024


@pytest.mark.parametrize(
    ("content", "media"),
    [
        ([{"type": "text", "text": "a"}], 0),
        ([{"type": "image", "source": {}}, {"type": "text", "text": "a"}], 1),
        ([{"type": "tool_result", "content": [{"type": "image", "source": {}}]}], 1),
        ([{"type": "something_new"}], 1),
    ],
)
def test_media_are_found_in_tool_results_too(content: list[Any], media: int) -> None:
    assert parse(messages=[{"role": "user", "content": content}]).media_items == media


def test_searches_are_bounded_and_counted() -> None:
    call = parse(tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert call.body["tools"][0]["max_uses"] == 10
    assert (call.extra, call.passes) == ({"web_search": 10}, 11)
    call = parse(tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}])
    assert call.extra == {"web_search": 3}


def test_tools_of_the_client_do_not_loop() -> None:
    call = parse(tools=[{"name": "f", "input_schema": {}}, {"type": "bash_20250124", "name": "bash"}])
    assert (call.extra, call.passes) == ({}, 1)


@pytest.mark.parametrize(
    ("edits", "passes"),
    [
        ([{"type": "clear_thinking_20251015", "keep": "all"}], 1),
        ([{"type": "clear_tool_uses_20250919"}, {"type": "clear_thinking_20251015"}], 1),
        ([], 1),
        ([{"type": "clear_thinking_20251015"}, {"type": "compact_20260112"}], 2),
        ([{"type": "something_new"}], 2),
        ([{}], 2),
        ("compact", 2),
    ],
)
def test_only_what_reads_the_context_once_more_is_another_pass(edits: object, passes: int) -> None:
    """Claude Code has old thoughts cleared in every request; that makes a prompt smaller and costs nothing."""
    assert parse(context_management={"edits": edits}).passes == passes


@pytest.mark.parametrize("changes", [{"fallbacks": [{"model": "x"}]}, {"tools": [{"type": "advisor_20260301"}]}])
def test_what_bills_another_model_has_no_bound(changes: dict[str, Any]) -> None:
    assert parse(**changes).unbounded


def test_fast_mode_is_priced_as_such() -> None:
    assert parse(speed="fast").fixed == {"speed": "fast"}
    assert parse(speed="standard").fixed == parse().fixed == {}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (402, "billing_error"), (404, "not_found_error"),
     (413, "request_too_large"), (415, "invalid_request_error"), (429, "rate_limit_error"), (500, "api_error"),
     (502, "api_error"), (503, "overloaded_error")],
)  # fmt: skip
def test_refusals_wear_anthropics_shape(status: int, kind: str) -> None:
    body = orjson.loads(anthropic.refusal_body(Refusal(status, "code", "why")))
    assert body == {"type": "error", "error": {"type": kind, "message": "why"}}


def test_a_cut_stream_ends_with_an_error_event_that_names_the_code() -> None:
    end = anthropic.stream_end(Refusal(402, "budget_exceeded", "why"))
    assert end.startswith(b"event: error\ndata: ")
    assert orjson.loads(end.split(b"data: ")[1])["error"] == {
        "type": "billing_error",
        "message": "budget_exceeded: why",
    }


@pytest.mark.parametrize(
    ("query", "target"),
    [(b"", "/v1/messages"), (b"beta=true", "/v1/messages?beta=true"), (b"x=1&beta=true", "/v1/messages?beta=true"),
     (b"beta=false&key=k", "/v1/messages")],
)  # fmt: skip
def test_only_known_queries_are_passed_on(query: bytes, target: str) -> None:
    for path in ("/v1/messages", "/anthropic/v1/messages"):
        endpoint = find("POST", path, query)
        assert endpoint is not None
        assert endpoint.target_of("m", query) == target
