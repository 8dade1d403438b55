"""The ceiling's layers: closer counts of an input that a byte bound would refuse, asked for only then, and never a hole."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.ceilings.ceiling import CACHE_WRITES, impossible_units
from proxy.ceilings.learned import Learned
from proxy.ceilings.rendered import rendered_bytes
from proxy.dialects import find
from proxy.exchange import asking
from proxy.times import now_s
from proxy.upstream.response import UpstreamError
from tests.flow.house import Answer, Build, House, Told, whole

TEXT = (
    "The quick brown fox jumps over the lazy dog, and the dog takes no notice of it at all. " * 800
)  # 70 KB, 16,000 tokens
MESSAGES = [{"role": "user", "content": TEXT}]


def at(provider: str, model: str, limit: str, **budget: Any) -> dict[str, Any]:
    dialects = {"anthropic": "anthropic", "google": "gemini"}
    return {
        "upstreams": {
            "up": {
                "base_url": "http://127.0.0.1:1/v1",
                "api_key": "sk-up",
                "provider": provider,
                **({"dialect": dialects[provider]} if provider in dialects else {}),
            }
        },
        "models": {"m": {"upstream": "up", "model": model, "context_tokens": 400_000}},
        "prices": [{"provider": provider, "model": model, "input": "10", "output": "10"}],
        "budgets": [{"name": "b", "limit_usd": limit, "window": "total"} | budget],
    }


def counted(**fields: int) -> Answer:
    return Answer(orjson.dumps(fields))


def anthropic_answer() -> Answer:
    usage = {"input_tokens": 16_000, "output_tokens": 10}
    return Answer(orjson.dumps({"type": "message", "model": "claude-x", "content": [], "usage": usage}))


async def messages(house: House, *answers: Any, **fields: Any) -> Told:
    house.answers += answers[:-1]
    return await house.ask(answers[-1], path="/v1/messages", messages=MESSAGES, max_tokens=100, **fields)


def paths(house: House) -> list[str]:
    return [head.split(b" ")[1].decode() for head, _ in house.sent]


async def test_what_fits_by_its_bytes_is_counted_no_closer(build: Build) -> None:
    house = build(**at("openai", "gpt-4o", "5"))
    assert (await house.ask(messages=MESSAGES)).status == 200
    assert house.kinds() == ["intent", "settle"]


async def test_openais_own_tokenizer_lets_a_long_text_through(build: Build) -> None:
    """70 KB at $10 a million: $0.70 by bytes, $0.16 by tokens."""
    house = build(**at("openai", "gpt-4o", "0.25"))
    told = await house.ask(whole(usage={"prompt_tokens": 16_000, "completion_tokens": 10}), messages=MESSAGES)
    assert told.status == 200
    assert house.kinds() == ["intent", "waiting", "reserved", "settle"]
    intent, _, reserved, settle = house.records()
    assert intent["reserved_nanousd"] > 690_000_000
    assert settle["cost_nanousd"] <= reserved["reserved_nanousd"] < 200_000_000
    assert house.reserved() == 0


async def test_the_providers_own_count_is_asked_for_where_there_is_no_tokenizer(build: Build) -> None:
    house = build(**at("anthropic", "claude-x", "0.25", ceiling="strict"))
    told = await messages(house, counted(input_tokens=16_000), anthropic_answer(), system="be brief")
    assert told.status == 200
    assert paths(house) == ["/v1/v1/messages/count_tokens", "/v1/v1/messages"]
    asked = house.sent[0][1]
    assert asked.keys() == {"model", "messages", "system"}
    assert asked["model"] == "claude-x"
    assert house.records()[2]["reserved_nanousd"] < 170_000_000


async def test_a_provider_is_asked_by_whatever_name_the_configuration_calls_it(build: Build) -> None:
    house = build(**at("Claude", "claude-x", "0.25", ceiling="strict"))
    assert (await messages(house, counted(input_tokens=16_000), anthropic_answer())).status == 200
    assert paths(house) == ["/v1/v1/messages/count_tokens", "/v1/v1/messages"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"no", status=500),
        Answer(b"{}", status=429),
        Answer(b"not json"),
        Answer(b'{"input_tokens":"16000"}'),
        Answer(b'{"input_tokens":-5}'),
        Answer(b"[]"),
        UpstreamError("refused", "gone", sent=False),
    ],
)
async def test_a_count_that_does_not_come_leaves_the_bound_as_it_is(build: Build, answer: Any) -> None:
    house = build(**at("anthropic", "claude-x", "0.25", ceiling="strict"))
    told = await messages(house, answer)
    assert (told.status, paths(house)) == (402, ["/v1/v1/messages/count_tokens"])
    assert house.kinds() == ["intent", "waiting", "refused"]


async def test_a_count_that_takes_too_long_is_not_waited_for(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_COUNT_TIMEOUT_S", 0.01)
    house = build(**at("anthropic", "claude-x", "0.25", ceiling="strict"))
    assert (await messages(house, asyncio.Event().wait)).status == 402


async def test_a_calibrated_count_stands_in_for_an_unknown_tokenizer(build: Build) -> None:
    house = build(**at("acme", "m-1", "0.30"))
    told = await house.ask(whole(usage={"prompt_tokens": 17_000, "completion_tokens": 10}), messages=MESSAGES)
    assert told.status == 200
    reserved = house.records()[2]["reserved_nanousd"]
    assert 16_000 * 10_000 * 1.2 * 1.2 < reserved < 300_000_000


async def test_a_strict_budget_takes_no_calibrated_count(build: Build) -> None:
    house = build(**at("acme", "m-1", "0.30", ceiling="strict"))
    assert (await house.ask(messages=MESSAGES)).status == 402
    assert house.sent == []


async def test_a_family_that_counts_more_is_learned_from(build: Build) -> None:
    house = build(**at("acme", "m-1", "0.30"))
    await house.ask(whole(usage={"prompt_tokens": 24_000, "completion_tokens": 10}), messages=MESSAGES)
    assert 1.4 < house.plane.learned.ratio("other", 1.2) < 1.5
    told = await house.ask(messages=MESSAGES)
    assert told.status == 402


async def test_a_spent_budget_refuses_at_once_and_asks_nobody(build: Build) -> None:
    house = build(**at("anthropic", "claude-x", "0.001", clamp=False))
    assert (await messages(house, counted(input_tokens=1))).status == 402
    assert house.sent == []
    assert house.kinds() == ["intent", "refused"]


async def test_the_count_of_an_adversary_still_bounds_the_call(build: Build) -> None:
    """Unusual text makes a token of nearly every byte: the closer count says so too."""
    house = build(**at("openai", "gpt-4o", "0.25"))
    noise = "".join(chr(0x1E000 + (i * 7919) % 4000) for i in range(15_000))
    assert (await house.ask(messages=[{"role": "user", "content": noise}])).status == 402


async def test_a_bill_beyond_its_ceiling_raises_the_next_ones(build: Build, tmp_path: Path) -> None:
    house = build(**at("acme", "m-1", "100"))
    small = [{"role": "user", "content": "hi"}]
    await house.ask(whole(usage={"prompt_tokens": 30_000, "completion_tokens": 10}), messages=small)
    first = house.records()[0]["reserved_nanousd"]
    await house.ask(messages=small)
    second = [record for record in house.records() if record["t"] == "intent"][1]["reserved_nanousd"]
    assert second >= 300_100_000 > first
    again = Learned(tmp_path / "data" / "learned-data-0.json")
    now = now_s()
    assert again.factors(now) == house.plane.learned.factors(now)
    assert again.factor("team:t", "acme", "m-1", now_s()) > 1


def test_what_was_learned_survives_a_damaged_file(tmp_path: Path) -> None:
    file = tmp_path / "learned.json"
    for text in ("", "[]", '{"overruns": 3, "ratios": {}}', '{"overruns": {"team:t a/b": ["x", 1]}, "ratios": {}}'):
        file.write_text(text)
        assert Learned(file).factor("team:t", "a", "b", 0) == 1.0


def test_text_that_a_tokenizer_may_rewrite_counts_as_what_it_may_become() -> None:
    ligature = "\ufdfa" * 100  # NFKC makes 18 characters of each
    body = orjson.dumps({"messages": ligature})
    assert rendered_bytes(body, "openai") == len(body)
    assert rendered_bytes(body, "anthropic") > 10 * len(body)
    assert rendered_bytes(b'{"a":"plain"}', "anthropic") == 13


@pytest.mark.parametrize(
    ("control", "possible"),
    [
        (None, set()),
        ({"type": "ephemeral"}, {"cache_write_5m"}),
        ({"type": "ephemeral", "ttl": "1h"}, {"cache_write_5m", "cache_write_30m", "cache_write_1h"}),
    ],
)
def test_a_cache_is_written_only_where_it_is_asked_for(control: dict[str, str] | None, possible: set[str]) -> None:
    endpoint = find("POST", "/v1/messages", b"")
    assert endpoint is not None
    block: dict[str, Any] = {"type": "text", "text": "hi"} | ({"cache_control": control} if control else {})
    raw = orjson.dumps({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": [block]}]})
    call = endpoint.parse(raw.replace(b"cache_control", b"cache\\u005fcontrol"))
    assert CACHE_WRITES - impossible_units(call, endpoint.encode(call, "m").written({})) == possible


async def test_where_money_is_short_the_providers_tools_are_called_less_often(build: Build) -> None:
    """Codex sends a web search with every call and says no number: ten more contexts would not fit into $5, one does."""
    house = build(
        **at("openai", "gpt-4o", "5")
        | {"prices": [{"provider": "openai", "model": "gpt-4o", "input": "2", "output": "10", "web_search": "0.01"}]}
    )
    usage = {"input_tokens": 30_000, "output_tokens": 10, "total_tokens": 30_010}
    body = {"id": "resp_1", "object": "response", "model": "gpt-4o", "output": [], "usage": usage}
    told = await house.ask(
        Answer(orjson.dumps(body)), path="/v1/responses", chat=False, model="m", input="hi",
        max_output_tokens=1000, tools=[{"type": "web_search"}],
    )  # fmt: skip
    assert told.status == 200, told.body
    assert 1 <= house.sent[-1][1]["max_tool_calls"] <= 5
    reserved = next(record for record in house.records() if record["t"] == "reserved")
    assert 1_000_000_000 < reserved["reserved_nanousd"] <= 5_000_000_000


async def test_a_number_of_tool_calls_that_the_client_said_is_the_clients(build: Build) -> None:
    house = build(
        **at("openai", "gpt-4o", "5")
        | {"prices": [{"provider": "openai", "model": "gpt-4o", "input": "2", "output": "10"}]}
    )
    told = await house.ask(
        path="/v1/responses", chat=False, model="m", input="hi", max_output_tokens=1000, max_tool_calls=10,
        tools=[{"type": "web_search"}],
    )  # fmt: skip
    assert told.status == 402
