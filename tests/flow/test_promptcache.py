"""At the end of the money a long conversation is bounded by what the provider's cache holds, until that cache fails once."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.flow.house import Answer, Build, House

TEXT = "The quick brown fox jumps over the lazy dog, and the dog takes no notice of it at all. " * 800
TOKENS, NEW = 16_000, 30  # of the text, and of each turn after it
READ, WRITTEN, OUTPUT = 1_000, 12_500, 10_000  # nano-dollars a token
LIMIT = 800_000_000


class Talk:
    """One conversation, marked at its end with every turn, with a provider that has a cache."""

    def __init__(self, build: Build, provider: str = "anthropic", **budget: Any) -> None:
        self.house: House = build(
            upstreams={"up": {"base_url": "http://127.0.0.1:1", "api_key": "sk-up", "provider": provider}},
            models={"m": {"upstream": "up", "model": "claude-x", "context_tokens": 400_000}},
            prices=[{"provider": provider, "model": "claude-x", "input": "10", "cache_read": "1", "cache_write_5m": "12.5", "cache_write_1h": "20", "output": "10"}],
            budgets=[{"name": "b", "limit_usd": "0.80", "window": "total"} | budget],
        )  # fmt: skip
        self.house.answering = self._answer
        self.messages: list[dict[str, Any]] = [{"role": "user", "content": TEXT}]
        self.in_cache = self.billed = 0
        self.forgets = False

    async def _answer(self, body: dict[str, Any]) -> Answer:
        if "max_tokens" not in body:
            return Answer(b"{}", status=404)  # it counts nothing beforehand
        tokens = TOKENS + NEW * (len(self.messages) - 1)
        read = 0 if self.forgets else self.in_cache
        self.in_cache = tokens
        self.billed += read * READ + (tokens - read) * WRITTEN + 10 * OUTPUT
        usage = {"input_tokens": 0, "cache_read_input_tokens": read, "cache_creation_input_tokens": tokens - read, "output_tokens": 10}  # fmt: skip
        content = [{"type": "text", "text": "yes"}]
        return Answer(orjson.dumps({"type": "message", "model": "claude-x", "content": content, "usage": usage}))

    async def turn(self) -> int:
        last = self.messages[-1]
        marked = {"type": "text", "text": last["content"], "cache_control": {"type": "ephemeral"}}
        messages = [*self.messages[:-1], last | {"content": [marked]}]
        told = await self.house.ask(path="/v1/messages", chat=False, model="m", max_tokens=2000, messages=messages)
        if told.status == 200:
            self.messages += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": "and then?"}]
        return told.status

    async def until_refused(self) -> int:
        """Turns until the first refusal."""
        for number in range(1000):
            if (status := await self.turn()) != 200:
                assert status == 402
                return number
        raise AssertionError("nothing stops it")


@pytest.mark.parametrize("provider", ["anthropic", "claude", "Anthropic"])
async def test_what_the_cache_holds_is_bounded_at_the_price_of_reading_it(build: Build, provider: str) -> None:
    talk = Talk(build, provider)
    await talk.until_refused()
    assert LIMIT - 2 * TOKENS * READ - 1024 * OUTPUT < talk.billed <= LIMIT


async def test_a_strict_budget_takes_every_cache_for_empty(build: Build) -> None:
    talk = Talk(build, ceiling="strict", limit_usd="1.60")  # its bounds are in bytes: the first call takes more
    await talk.until_refused()
    assert talk.billed <= 2 * LIMIT - TOKENS * WRITTEN


async def test_a_cache_that_fails_before_it_is_trusted_never_is(build: Build) -> None:
    talk = Talk(build)
    for number in range(10):
        talk.forgets = number == 5
        assert await talk.turn() == 200
    await talk.until_refused()
    assert talk.billed <= LIMIT - TOKENS * WRITTEN


async def test_a_cache_that_fails_at_the_end_is_charged_whole_and_not_trusted_again(build: Build) -> None:
    talk = Talk(build)
    while talk.billed < LIMIT - TOKENS * WRITTEN // 2:
        assert await talk.turn() == 200
    talk.forgets = True
    assert await talk.turn() == 200
    assert talk.billed > LIMIT
    records = talk.house.records()
    reserved, end = (one for one in records if one["id"] == records[-1]["id"] and one["t"] in ("reserved", "settle"))
    assert end["cost_nanousd"] > reserved["reserved_nanousd"]
    assert sum(one["cost_nanousd"] for one in records if one["t"] == "settle") == talk.billed
    learned = talk.house.plane.learned
    assert not learned.trusts_cache("up", "claude-x")
    assert learned.factors(0) == {}  # the count was right, only not where it was read from
    assert await talk.turn() == 402
