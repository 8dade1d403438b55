"""Nothing that a client sends lowers its price: for every provider, and every word that any price depends on.

A word of the request can make a price dearer (a provider may serve the tier without a word about it), and is settled only
where the response says so too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from pricing.load import load_book
from pricing.price import Row
from proxy.meters import reader
from proxy.meters.reader import Context
from tests.flow.house import Answer, Build, whole

BOOK = load_book()
AT_S = 1_795_000_000
USAGE = {"prompt_tokens": 300_000, "completion_tokens": 10_000, "total_tokens": 310_000}
SILENT = {"choices": [{"message": {"content": "x"}}], "usage": USAGE}
# By whatever name a client may try it.
FIELDS = (
    "service_tier", "serviceTier", "processing", "speed", "inference_geo", "geo", "region", "size", "quality", "resolution",
    "steps", "hardware", "search_type", "search_context_size", "web_search", "endpoint", "route", "bedrock_region",
    "deployment_type", "traffic_type", "latency", "mode", "gpus", "base_url", "data_residency", "zone",
)  # fmt: skip
WORDS = (
    "provisioned",
    "Provisioned",
    "batch",
    "free",
    "flex",
    "fast",
    "on_demand_flex",
    "provisioned_throughput",
    "auto",
)


def _rows(provider: str) -> Iterator[Row]:
    for model in BOOK.catalog.provider(provider).models.values():
        if not model.name.endswith("*"):
            yield from (row for row in model.rows if row.when)


def _words(provider: str) -> set[str]:
    named = {
        value for row in _rows(provider) for name, values in row.when.items() if name != "clock" for value in values
    }
    for multiplier in BOOK.catalog.multipliers.get(provider, ()):
        named |= {value for name, values in multiplier.when.items() if name != "clock" for value in values}
    return {word for word in (*named, *WORDS) if word}


def _models(provider: str) -> list[str]:
    """A few models whose prices depend on something, each dependence at least once, and one that depends on nothing."""
    models: dict[object, str] = {}
    for row in _rows(provider):
        models.setdefault(tuple(sorted(row.when.items())), row.model)
    plain = [name for name, model in BOOK.catalog.provider(provider).models.items() if "*" not in name and model.rows]
    return list(dict.fromkeys([*list(models.values())[:12], *plain[:1]]))


def _cost(
    provider: str, model: str, request: dict[str, Any], response: dict[str, Any], dialect: str = "openai.chat"
) -> Any:
    context = Context(provider=provider, model=model, request=request, from_client=True)
    reading = reader(dialect, provider).whole(response, context)
    return BOOK.cost(reading, provider=provider, model=model, at_s=AT_S).cost_usd


@pytest.mark.parametrize("provider", sorted(BOOK.catalog.lines))
def test_no_word_of_a_request_makes_a_silent_answer_cheaper(provider: str) -> None:
    for model in _models(provider):
        default = _cost(provider, model, {}, SILENT)
        for word in sorted(_words(provider)):
            asked = {**dict.fromkeys(FIELDS, word), "web_search_options": dict.fromkeys(FIELDS, word)}
            for request in (asked, {"service_tier": word}, {"serviceTier": word}):
                cost = _cost(provider, model, request, SILENT)
                assert (cost is None) == (default is None), (model, word)
                assert cost is None or cost >= default, (model, word, request)


@pytest.mark.parametrize("model", ["dall-e-2", "dall-e-3", "gpt-image-1.5"])
@pytest.mark.parametrize("word", ["256x256", "512x512", "1024x1024", "1792x1024", "low", "standard", "hd", "medium"])
def test_no_word_of_a_request_makes_a_silent_picture_cheaper(model: str, word: str) -> None:
    response = {"data": [{"b64_json": ""}]}
    asked = dict.fromkeys(FIELDS, word)
    default = _cost("openai", model, {}, response, "openai.images")
    cost = _cost("openai", model, asked, response, "openai.images")
    assert default is None or cost >= default


def test_what_was_asked_and_is_dearer_is_charged_where_nothing_says_otherwise() -> None:
    default = _cost("openai", "gpt-5.5", {}, SILENT)
    assert _cost("openai", "gpt-5.5", {"service_tier": "priority"}, SILENT) > default
    assert _cost("openai", "gpt-5.5", {"service_tier": "priority"}, SILENT | {"service_tier": "default"}) == default


@pytest.mark.parametrize("word", ["provisioned", "batch", "free"])
def test_an_echo_of_what_nobody_can_buy_confirms_nothing(word: str) -> None:
    default = _cost("openai", "gpt-4o", {}, SILENT)
    assert _cost("openai", "gpt-4o", {"service_tier": word}, SILENT | {"service_tier": word}) == default


def test_a_cheaper_tier_is_settled_where_the_response_says_so() -> None:
    asked = {"service_tier": "flex"}
    assert _cost("openai", "gpt-5.5", asked, SILENT) == _cost("openai", "gpt-5.5", {}, SILENT)
    served = _cost("openai", "gpt-5.5", asked, SILENT | {"service_tier": "flex"})
    assert served < _cost("openai", "gpt-5.5", {}, SILENT)


PRICES = [
    {"provider": "acme", "model": "m", "input": "10", "output": "20"},
    {"provider": "acme", "model": "m", "input": "1", "output": "2", "when": {"service_tier": ["flex"]}},
    {"provider": "acme", "model": "m", "input": "30", "output": "60", "when": {"service_tier": ["priority"]}},
]
HARD = [{"name": "b", "limit_usd": "100", "window": "total"}]


@pytest.mark.parametrize("tier", ["provisioned", "Provisioned", "batch", "flex", "free", "auto", "unheard-of"])
async def test_a_call_is_billed_as_if_it_had_not_asked(build: Build, tier: str) -> None:
    house = build(prices=PRICES, budgets=HARD)
    assert (await house.ask(service_tier=tier)).headers["x-taximeter-cost-usd"] == "0.0004"
    assert [record["service_tier"] for record in house.records() if record["t"] == "settle"] == [None]


@pytest.mark.parametrize("tier", [7, [], {}])
async def test_what_is_no_name_of_a_tier_is_not_passed_on(build: Build, tier: object) -> None:
    house = build(prices=PRICES, budgets=HARD)
    assert (await house.ask(service_tier=tier)).status == 400
    assert house.sent == []


@pytest.mark.parametrize(("said", "usd"), [({}, "0.0012"), ({"service_tier": "default"}, "0.0004")])
async def test_a_dearer_tier_is_reserved_and_billed_unless_the_answer_denies_it(
    build: Build, said: dict[str, str], usd: str
) -> None:
    house = build(prices=PRICES, budgets=HARD)
    assert (await house.ask(whole(**said), service_tier="priority")).headers["x-taximeter-cost-usd"] == usd
    intent, settle = house.records()
    assert intent["reserved_nanousd"] > settle["cost_nanousd"]
    assert settle["service_tier"] == ("priority" if usd == "0.0012" else None)


async def test_the_tier_that_a_gemini_call_asks_for_is_in_its_ceiling(build: Build) -> None:
    house = build(
        upstreams={"up": {"base_url": "http://127.0.0.1:1/v1beta", "provider": "google"}},
        models={"g": {"upstream": "up", "model": "gemini-4-argon"}},
        prices=[],
        budgets=HARD,
    )
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 100}}
    for tier in ({}, {"serviceTier": "priority"}, {"service_tier": "priority"}):
        answer = Answer(orjson.dumps({"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 5}}))
        await house.ask(answer, path="/v1beta/models/g:generateContent", chat=False, **body, **tier)
    plain, camel, snake = (record for record in house.records() if record["t"] == "intent")
    assert plain["reserved_nanousd"] < camel["reserved_nanousd"] == snake["reserved_nanousd"]
    settled = [record["cost_nanousd"] for record in house.records() if record["t"] == "settle"]
    assert settled[0] < settled[1] == settled[2] <= camel["reserved_nanousd"]
