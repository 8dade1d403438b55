"""What is billed by the call, beside tokens: searches, interpreters, pictures, fees; in whole answers, and in those that were cut."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.flow.house import Answer, Build, House, whole

KIND = b"text/event-stream"
TEXT = "so much was written by then, and a little more"


def _upstream(provider: str, dialect: str = "openai") -> dict[str, Any]:
    return {
        "upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1", "provider": provider, "dialect": dialect, "api_key": "sk-up"}},
        "prices": [],
    }  # fmt: skip


def _house(build: Build, provider: str, model: str, dialect: str = "openai") -> House:
    return build(**_upstream(provider, dialect), models={"m": {"upstream": "up", "model": model}})


def _events(*events: dict[str, Any]) -> Answer:
    return Answer(*[b"data: " + orjson.dumps(event) + b"\n\n" for event in events], kind=KIND)


def _settled(house: House) -> dict[str, Any]:
    record = house.records()[-1]
    assert (record["t"], record["status"]) == ("settle", "settled"), record
    return record


def _lines(house: House) -> dict[str, tuple[str, str]]:
    return {line["unit"]: (line["quantity"], line["cost_usd"]) for line in _settled(house)["cost_lines"]}


def _item(kind: str, number: int = 0, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "id": f"call_{number}", **fields}


def _added(item: dict[str, Any]) -> dict[str, Any]:
    begun = {"status": "in_progress", **{name: item[name] for name in ("type", "id", "container_id") if name in item}}
    return {"type": "response.output_item.added", "output_index": 0, "item": begun}


def _done(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": 0, "item": item}


BEGUN: dict[str, Any] = {
    "type": "response.created",
    "response": {"object": "response", "model": "gpt-5", "usage": None},
}
WORDS = {"type": "response.output_text.delta", "delta": TEXT}
SEARCH = _item("web_search_call", 1, status="completed", action={"type": "search", "query": "q"})
OPENED = _item("web_search_call", 2, status="completed", action={"type": "open_page", "url": "u"})
FILES = _item("file_search_call", 3, status="completed")
CODE = _item("code_interpreter_call", 4, status="completed", container_id="cntr_1")


@pytest.mark.parametrize("shown", [_added, _done])
@pytest.mark.parametrize(
    ("items", "fees"),
    [
        ([SEARCH], {"web_search": "0.01"}),
        ([SEARCH, SEARCH | {"id": "another"}, FILES], {"web_search": "0.02", "file_search": "0.0025"}),
        ([CODE, CODE | {"id": "another"}], {"code_session": "0.03"}),
    ],
)
async def test_a_responses_stream_that_is_cut_is_billed_the_calls_that_were_seen(
    build: Build, items: list[dict[str, Any]], fees: dict[str, str], shown: Any
) -> None:
    house = _house(build, "openai", "gpt-5")
    await house.ask(
        _events(BEGUN, *map(shown, items), WORDS), path="/v1/responses", chat=False, model="m", input="hi", stream=True
    )
    lines = _lines(house)
    assert {unit: float(usd) for unit, (_, usd) in lines.items() if unit in fees} == {
        u: float(f) for u, f in fees.items()
    }
    assert lines["output"]


async def test_a_page_that_was_opened_is_no_search_once_that_is_said(build: Build) -> None:
    house = _house(build, "openai", "gpt-5")
    events = [BEGUN, _added(OPENED), _done(OPENED), WORDS]
    await house.ask(_events(*events), path="/v1/responses", chat=False, model="m", input="hi", stream=True)
    assert "web_search" not in _lines(house)


@pytest.mark.parametrize(
    ("picture", "tokens"),
    [
        ({"size": "1024x1024", "quality": "high", "result": "aGk="}, 4160),
        ({"size": "1024x1536", "quality": "medium", "result": "aGk="}, 1584),
        ({"size": "1024x1024", "quality": "low", "result": "aGk="}, 272),
        ({"result": "aGk="}, 6208),
    ],
)
async def test_a_picture_made_on_the_way_is_in_the_bill_of_a_cut_stream(
    build: Build, picture: dict[str, str], tokens: int
) -> None:
    """At least what the provider's table says (docs: image generation, cost)."""
    house = _house(build, "openai", "gpt-5")
    item = _item("image_generation_call", 5, status="completed", **picture)
    tools = [{"type": "image_generation", "model": "gpt-image-1"}]
    body = {"model": "m", "input": "hi", "stream": True, "tools": tools}
    begun = {"type": "response.created", "response": {**BEGUN["response"], "tools": tools}}
    await house.ask(_events(begun, _done(item), WORDS), path="/v1/responses", chat=False, **body)
    quantity, usd = _lines(house)["image_out"]
    assert tokens <= int(quantity) <= tokens + 32
    assert float(usd) == pytest.approx(int(quantity) * 40 / 1e6)


def _searched(number: int) -> dict[str, Any]:
    block = {"type": "server_tool_use", "id": f"srvtoolu_{number}", "name": "web_search", "input": {}}
    return {"type": "content_block_start", "index": number, "content_block": block}


async def test_a_message_that_is_cut_is_billed_the_searches_that_were_seen(build: Build) -> None:
    house = _house(build, "anthropic", "claude-sonnet-4-5", "anthropic")
    start = {
        "type": "message_start",
        "message": {"model": "claude-sonnet-4-5", "usage": {"input_tokens": 20, "output_tokens": 1}},
    }
    fetched = _searched(3)
    fetched["content_block"] |= {"name": "web_fetch"}
    text = {"type": "content_block_delta", "index": 4, "delta": {"type": "text_delta", "text": TEXT}}
    await house.ask(
        _events(start, _searched(1), _searched(2), fetched, text), path="/v1/messages", stream=True, max_tokens=1000
    )
    assert _lines(house)["web_search"] == ("2", "0.020")


async def test_what_a_message_says_of_its_searches_stands(build: Build) -> None:
    """A search that failed is none, and only the usage knows."""
    house = _house(build, "anthropic", "claude-sonnet-4-5", "anthropic")
    usage = {"input_tokens": 20, "output_tokens": 1, "server_tool_use": {"web_search_requests": 1}}
    start = {
        "type": "message_start",
        "message": {"model": "claude-sonnet-4-5", "usage": {"input_tokens": 20, "output_tokens": 1}},
    }
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    await house.ask(
        _events(start, _searched(1), _searched(2), end, {"type": "message_stop"}),
        path="/v1/messages", stream=True, max_tokens=1000,
    )  # fmt: skip
    assert _lines(house)["web_search"] == ("1", "0.010")


async def test_a_gemini_stream_that_is_cut_is_billed_the_grounding_that_was_seen(build: Build) -> None:
    house = _house(build, "google", "gemini-2.5-flash", "gemini")
    grounded = {
        "content": {"parts": [{"text": TEXT}]},
        "groundingMetadata": {"webSearchQueries": ["a"], "searchEntryPoint": {"x": 1}},
    }
    await house.ask(
        _events({"modelVersion": "gemini-2.5-flash", "candidates": [grounded]}),
        path="/v1beta/models/m:streamGenerateContent", query_string=b"alt=sse", chat=False, contents=[{"parts": [{"text": "hi"}]}],
    )  # fmt: skip
    assert _lines(house)["grounding"][0] == "1"


CHAT_USAGE = {"prompt_tokens": 20, "completion_tokens": 16, "total_tokens": 36}


@pytest.mark.parametrize(
    "model", ["gpt-4o-search-preview", "gpt-4o-mini-search-preview", "gpt-4o-search-preview-2025-03-11"]
)
@pytest.mark.parametrize("cut", [False, True])
async def test_a_chat_model_that_always_searches_is_billed_its_search(build: Build, model: str, cut: bool) -> None:
    house = _house(build, "openai", model)
    chunk = {"model": model, "choices": [{"index": 0, "delta": {"content": TEXT}}]}
    end = {"model": model, "choices": [], "usage": CHAT_USAGE}
    await house.ask(_events(chunk, *([] if cut else [end])), stream=True)
    quantity, usd = _lines(house)["web_search"]
    assert (quantity, float(usd)) == ("1", 0.025)


async def test_a_search_that_failed_costs_nothing(build: Build) -> None:
    house = _house(build, "openai", "gpt-4o-search-preview")
    await house.ask(Answer(b'{"error": {"message": "no"}}', status=500))
    assert _settled(house)["cost_nanousd"] == 0


async def test_a_sonar_stream_that_is_cut_is_billed_its_request(build: Build) -> None:
    house = _house(build, "perplexity", "sonar")
    await house.ask(_events({"model": "sonar", "choices": [{"index": 0, "delta": {"content": TEXT}}]}), stream=True)
    assert _lines(house)["request"][0] == "1"


async def test_moderations_with_a_price_are_billed_by_their_tokens(build: Build) -> None:
    prices = [{"provider": "mistral", "model": "mistral-moderation-latest", "input": "0.1"}]
    house = build(
        **(_upstream("mistral") | {"prices": prices}),
        models={"m": {"upstream": "up", "model": "mistral-moderation-latest"}},
    )
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000}
    await house.ask(
        Answer(orjson.dumps({"model": "mistral-moderation-latest", "results": [], "usage": usage})),
        path="/v1/moderations", chat=False, model="m", input="x",
    )  # fmt: skip
    assert _settled(house)["cost_nanousd"] == 100_000_000


async def test_moderations_that_state_nothing_are_free(build: Build) -> None:
    house = _house(build, "openai", "omni-moderation-latest")
    await house.ask(
        Answer(orjson.dumps({"model": "omni-moderation-latest", "results": []})),
        path="/v1/moderations",
        chat=False,
        model="m",
        input="x",
    )
    assert _settled(house)["cost_nanousd"] == 0


@pytest.mark.parametrize("cut", [False, True])
async def test_a_fee_of_the_operators_for_each_request_is_in_the_bill(build: Build, cut: bool) -> None:
    house = build(prices=[{"provider": "acme", "model": "m", "input": "1", "output": "2", "request": "0.01"}])
    if cut:
        await house.ask(_events({"model": "m", "choices": [{"index": 0, "delta": {"content": TEXT}}]}), stream=True)
    else:
        await house.ask(whole())
    assert _lines(house)["request"] == ("1", "0.01")
    assert _settled(house)["usage"]["request"] == 1
    assert house.records()[0]["reserved_nanousd"] >= _settled(house)["cost_nanousd"] > 10_000_000


async def test_a_call_that_failed_is_billed_no_fee(build: Build) -> None:
    house = build(prices=[{"provider": "acme", "model": "m", "input": "1", "output": "2", "request": "0.01"}])
    await house.ask(Answer(b'{"error": {"message": "no"}}', status=500))
    assert _settled(house)["cost_nanousd"] == 0


async def test_mistrals_connectors_are_seen_and_hold_the_ceiling_while_they_have_no_price(build: Build) -> None:
    house = _house(build, "mistral", "mistral-large-latest")
    usage = CHAT_USAGE | {"connector_tokens": 500, "total_tokens": 536, "connectors": {"web_search": 2}}
    await house.ask(whole(model="mistral-large-latest", usage=usage))
    intent, end = house.records()
    assert (end["usage"]["web_search"], end["usage"]["input"]) == (2, 520)
    assert "partial" in end["flags"]
    assert end["cost_nanousd"] == intent["reserved_nanousd"]
