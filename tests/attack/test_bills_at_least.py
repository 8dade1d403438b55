"""A bill is at least what is priced of it; a usage beyond what the model can do is charged at the ceiling; a count that
cannot be read is not 0."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flow.house import Build, whole

HARD = [{"name": "b", "limit_usd": "100", "window": "total"}]
SEARCHED = {"prompt_tokens": 6000, "completion_tokens": 10, "total_tokens": 6010, "plugins": {"search": {"count": 1}}}
DASHSCOPE: dict[str, Any] = {
    "upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1", "provider": "dashscope"}},
    "prices": [{"provider": "dashscope", "model": "m", "input": "1", "output": "2"}],
    "budgets": HARD,
}


@pytest.mark.parametrize(("cap", "nanousd", "status"), [(100, 6_020_000, "settled"), (4000, None, "unconfirmed")])
async def test_a_unit_without_a_price_hides_none_of_the_rest(
    build: Build, monkeypatch: pytest.MonkeyPatch, cap: int, nanousd: int | None, status: str
) -> None:
    models = {"m": {"upstream": "up", "context_tokens": 8000, "max_output_tokens": cap}}
    house = build(**DASHSCOPE, models=models)
    monkeypatch.setattr(house.plane.configured.book.catalog, "lines", {})  # whatever the book has for a search
    house.plane.configured.book.catalog._providers.clear()
    await house.ask(whole(usage=SEARCHED), max_tokens=cap)
    intent, settle = house.records()[-2:]
    assert settle["usage"]["web_search"] == 1
    assert settle["status"] == status
    assert "partial" in settle["flags"]
    assert {line["unit"] for line in settle["cost_lines"]} == {"input", "output"}
    assert settle["cost_nanousd"] == (nanousd or intent["reserved_nanousd"]) >= 6_020_000
    assert settle["budgets"][0][-1] == settle["cost_nanousd"]
    assert house.reserved() == 0


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 8001, "completion_tokens": 1},
        {"prompt_tokens": 999_999_999, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": 8001},
    ],
)
async def test_more_than_the_model_can_is_charged_at_the_ceiling(build: Build, usage: dict[str, int]) -> None:
    house = build(budgets=HARD)
    await house.ask(whole(usage=usage))
    intent, settle = house.records()
    assert (settle["status"], settle["usage"]) == ("unconfirmed", {})
    assert "implausible" in settle["flags"]
    assert settle["cost_nanousd"] == intent["reserved_nanousd"]
    assert house.plane.learned.factors(0) == {}


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": 8000, "completion_tokens": 1}, {"prompt_tokens": 1, "completion_tokens": 4000}]
)
async def test_as_much_as_the_model_can_is_charged_as_told(build: Build, usage: dict[str, int]) -> None:
    house = build(budgets=HARD)
    await house.ask(whole(usage=usage))
    assert house.records()[-1]["status"] == "settled"


async def test_every_sequence_may_be_as_long_as_the_model_can(build: Build) -> None:
    house = build(budgets=HARD)
    await house.ask(whole(usage={"prompt_tokens": 9, "completion_tokens": 12_000}), n=4, max_tokens=4000)
    assert house.records()[-1]["status"] == "settled"


@pytest.mark.parametrize("count", [True, [], {}, "many", [12], "1e9", "", False])
async def test_a_count_that_cannot_be_read_is_not_nothing(build: Build, count: object) -> None:
    house = build(budgets=HARD)
    text = "one two three four five six seven eight nine ten " * 20
    body = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    usage = {"prompt_tokens": 20, "completion_tokens": count}
    await house.ask(whole(**body, usage=usage))
    settle = house.records()[-1]
    assert settle["usage_source"] in ("estimated", "partial", "none")
    assert settle["cost_nanousd"] > 100 * 2000


@pytest.mark.parametrize("count", [True, [], {}, "many", [12], "1e9"])
async def test_an_input_that_cannot_be_read_is_not_nothing(build: Build, count: object) -> None:
    house = build(budgets=HARD)
    usage = {"prompt_tokens": count, "completion_tokens": 2}
    asked = [{"role": "user", "content": "one two three four five six seven eight nine ten " * 100}]
    await house.ask(whole(choices=[{"message": {"content": "a b"}}], usage=usage), messages=asked)
    assert house.records()[-1]["cost_nanousd"] > 900 * 1000
