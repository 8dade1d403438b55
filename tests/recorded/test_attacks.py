"""No valid request is billed more than its ceiling under a budget that blocks: bounded, or refused by the name of what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.flow.house import Answer, House
from tests.recorded.attacks import ATTACKS, HI, Attack, chat

_DIALECTS = {"anthropic": "anthropic", "google": "gemini"}
_HARD = {"name": "b", "limit_usd": 1000, "window": "total", "clamp": False}


def _house(folder: Path, attack: Attack) -> House:
    dialect = attack.dialect or _DIALECTS.get(attack.provider, "openai")
    return House(
        folder,
        upstreams={"up": {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-up", "provider": attack.provider, "dialect": dialect}},
        models={"m": {"upstream": "up", "model": attack.model, **attack.route}},
        prices=[*attack.prices],
        budgets=[_HARD],
    )  # fmt: skip


def _answer(attack: Attack) -> Answer:
    usage = {"usageMetadata": attack.usage} if attack.provider == "google" else {"usage": attack.usage}
    envelope = (
        {"type": "message", "content": []} if "anthropic" in (attack.provider, attack.dialect) else {"choices": []}
    )
    return Answer(orjson.dumps({"model": attack.model, **envelope, **usage, **attack.answer}))


def _without_model(attack: Attack) -> dict[str, Any]:
    return dict(attack.request) if attack.provider == "google" else {"model": "m", **attack.request}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_a_bill_is_within_its_ceiling_or_the_call_is_refused_by_name(tmp_path: Path, attack: Attack) -> None:
    house = _house(tmp_path, attack)

    body = orjson.dumps(_without_model(attack))
    plain, written = map(str.encode, attack.raw)
    raw = body.replace(plain, written, 1) if plain else body
    told = await house.ask(_answer(attack), path=attack.path, headers=dict(attack.headers), chat=False, raw=raw)

    if attack.refused:
        error = orjson.loads(told.body)["error"]
        assert (told.status, attack.refused in error["message"]) == (400, True), told.body
        assert house.sent == []
        return
    assert told.status == 200, told.body
    records = {record["t"]: record for record in house.records()}
    reserved, cost = records["intent"]["reserved_nanousd"], records["settle"]["cost_nanousd"]
    assert records["settle"]["status"] == "settled"
    assert 0 < cost <= reserved, f"{cost / reserved:.1f} times its ceiling"


async def _sent(folder: Path, provider: str, path: str, **request: Any) -> dict[str, Any]:
    prices = [{"provider": provider, "model": "*", "input": "1", "output": "2"}]
    house = House(
        folder,
        upstreams={"up": {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-up", "provider": provider, "dialect": "openai"}},
        models={"m": {"upstream": "up", "context_tokens": 8000, "max_output_tokens": 4000}},
        prices=prices,
        budgets=[_HARD],
    )  # fmt: skip
    told = await house.ask(
        Answer(orjson.dumps({"choices": [], "usage": chat(1, 1)})), path=path, chat=False, model="m", **request
    )
    assert told.status == 200, told.body
    return house.sent[0][1]


@pytest.mark.parametrize("provider", ["ollama", "deepseek", "mistral", "acme", "together"])
async def test_a_cap_is_said_under_the_name_that_the_provider_knows(tmp_path: Path, provider: str) -> None:
    body = await _sent(tmp_path, provider, "/v1/chat/completions", messages=HI, max_completion_tokens=5)

    assert body["max_tokens"] == 5


@pytest.mark.parametrize("provider", ["openai", "groq", "vllm"])
async def test_a_cap_that_the_provider_knows_is_left_as_it_is(tmp_path: Path, provider: str) -> None:
    body = await _sent(tmp_path, provider, "/v1/chat/completions", messages=HI, max_completion_tokens=5)

    assert "max_tokens" not in body


@pytest.mark.parametrize("given", [{}, {"max_tokens": None}])
@pytest.mark.parametrize("provider", ["llama.cpp", "ollama", "openai"])
async def test_a_completion_without_a_cap_is_sent_with_the_one_that_is_reserved_for(
    tmp_path: Path, provider: str, given: dict[str, Any]
) -> None:
    body = await _sent(tmp_path, provider, "/v1/completions", prompt="hi", **given)

    assert body["max_tokens"] == 16


@pytest.mark.parametrize(
    "field",
    [
        {"search_parameters": {"mode": "off"}},
        {"enable_search": False},
        {"plugins": []},
        {"tools": [{"type": "function", "function": {"name": "web_search"}}]},
        {"guided_json": {}},
        {"agent_name": "x"},
        {"top_k": 5},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"metadata": {"web_search": "1"}},
    ],
)
async def test_what_costs_nothing_passes(tmp_path: Path, field: dict[str, Any]) -> None:
    body = await _sent(tmp_path, "acme", "/v1/chat/completions", messages=HI, max_tokens=5, **field)

    assert field.items() <= body.items()


@pytest.mark.parametrize("asked", [["image"], ["text", "audio"]])
async def test_a_call_that_looks_like_one_before_it_is_refused_for_what_it_asks(
    tmp_path: Path, asked: list[str]
) -> None:
    house = House(
        tmp_path,
        upstreams={"up": {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-up", "provider": "openrouter"}},
        models={"m": {"upstream": "up", "model": "openai/gpt-4o-mini"}},
        budgets=[_HARD],
    )
    statuses = []
    for modalities in (["text"], ["text"], asked):
        told = await house.ask(
            Answer(orjson.dumps({"choices": [], "usage": chat(1, 1)})), max_tokens=5, modalities=modalities
        )
        statuses.append(told.status)
    assert statuses == [200, 200, 400]


async def test_without_a_budget_that_blocks_a_field_without_a_bound_passes(tmp_path: Path) -> None:
    house = House(tmp_path)

    told = await house.ask(enable_search=True)

    assert told.status == 200
    assert house.sent[0][1]["enable_search"] is True


async def test_what_stands_behind_a_url_may_change_after_it_was_counted(tmp_path: Path) -> None:
    """The provider's count of a URL's picture says nothing of the picture that it fetches for the call."""
    house = House(
        tmp_path,
        upstreams={"up": {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-up", "provider": "anthropic", "dialect": "anthropic"}},
        models={"m": {"upstream": "up", "model": "claude-sonnet-4-5"}},
        prices=[],
        budgets=[_HARD | {"limit_usd": "0.01"}],
    )  # fmt: skip

    async def answer(body: dict[str, Any]) -> Answer:
        return Answer(orjson.dumps({"input_tokens": 20}))  # a document of one word, when it is counted

    house.answering = answer
    document = {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}}
    told = await house.ask(
        path="/v1/messages", chat=False, model="m", max_tokens=16, messages=[{"role": "user", "content": [document]}]
    )

    assert told.status == 402, told.body


@pytest.mark.parametrize(
    ("provider", "model", "field"),
    [
        ("xai", "grok-4.3", {"reasoning_effort": "none"}),
        ("xai", "grok-4-fast-non-reasoning", {}),
        ("dashscope", "qwen-plus", {"enable_thinking": False}),
        ("dashscope", "qwen3.5-plus", {"thinking_budget": 100}),
    ],
)
async def test_thoughts_that_are_off_or_capped_are_not_reserved(
    tmp_path: Path, provider: str, model: str, field: dict[str, Any]
) -> None:
    """What the provider documents as a cap, or as none at all, is not the whole output of the model."""
    attack = Attack("", provider, model, {"messages": HI, "max_tokens": 100, **field}, chat(20, 100))
    house = _house(tmp_path, attack)
    told = await house.ask(_answer(attack), chat=False, **_without_model(attack))
    assert told.status == 200, told.body
    assert house.records()[0]["reserved_nanousd"] < 20 * 200 * 1000


async def test_a_lowered_cap_holds_under_every_name(tmp_path: Path) -> None:
    prices = [{"provider": "acme", "model": "m", "input": "1", "output": "1000"}]
    house = House(
        tmp_path,
        models={"m": {"upstream": "up", "context_tokens": 8000, "max_output_tokens": 6000}},
        prices=prices,
        budgets=[{"name": "b", "limit_usd": 3, "window": "total"}],
    )
    told = await house.ask(
        Answer(orjson.dumps({"choices": [], "usage": chat(1, 1)})), max_tokens=5000, max_new_tokens=4500
    )
    assert told.status == 200, told.body
    sent = house.sent[0][1]
    assert sent["max_tokens"] == sent["max_new_tokens"] < 4500


@pytest.mark.parametrize("field", [{"max_length": 512}, {"length": 512}])
async def test_a_length_of_what_is_read_is_no_cap(tmp_path: Path, field: dict[str, int]) -> None:
    sent = await _sent(tmp_path, "acme", "/v1/embeddings", input="a", **field)
    assert sent.items() >= field.items()


@pytest.mark.parametrize("mine", [True, False])
async def test_an_answer_without_thoughts_is_not_reserved_at_their_price(tmp_path: Path, mine: bool) -> None:
    """Alibaba prices thoughts apart: a call that turns them off is bounded by the price of answers, negotiated or not."""
    prices = ({"provider": "dashscope", "model": "qwen-plus", "input": "0.1", "output": "0.4"},) if mine else ()
    quiet = Attack(
        "",
        "dashscope",
        "qwen-plus",
        {"messages": HI, "max_tokens": 1000, "enable_thinking": False},
        chat(20, 1000),
        prices=prices,
    )
    house = _house(tmp_path, quiet)
    await house.ask(_answer(quiet), chat=False, **_without_model(quiet))
    intent, settle = house.records()
    assert settle["cost_nanousd"] <= intent["reserved_nanousd"] < 1.5 * settle["cost_nanousd"]
