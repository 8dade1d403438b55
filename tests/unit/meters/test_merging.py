"""Counts that come more than once, under two names, in unusual places, or with parts that exceed their whole."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from pricing.usage import Reading
from proxy.meters import Context, reader
from tests.support.fixtures import total_usage
from tests.support.rows import each_row


def whole(dialect: str, provider: str, usage: dict[str, Any], **context: Any) -> Reading:
    return reader(dialect, provider).usage_only(usage, Context(provider=provider, **context))


def streamed(dialect: str, provider: str, *events: Any) -> Reading:
    stream = reader(dialect, provider).stream(Context(provider=provider))
    for event in events:
        stream.event(event)
    return stream.finish()


def start(**usage: Any) -> dict[str, Any]:
    return {"type": "message_start", "message": {"type": "message", "content": [], "usage": usage}}


def delta(**usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}


STOP = {"type": "message_stop"}
SPLIT = {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 20}


# Messages: what comes later stands in the place of what came before


@each_row(
    ("name", "events", "usage"),
    [
        (
            "vLLM: all of the prompt first, then what was not read from the cache",
            [
                start(input_tokens=424, output_tokens=0),
                delta(input_tokens=40, cache_read_input_tokens=384, output_tokens=7),
            ],
            {"input": 40, "cache_read": 384, "output": 7},
        ),
        (
            "vLLM, a fresh prompt: the rest was written",
            [start(input_tokens=424), delta(input_tokens=40, cache_creation_input_tokens=384, output_tokens=7)],
            {"input": 40, "cache_write_5m": 384, "output": 7},
        ),
        (
            "Ollama: a guess first",
            [start(input_tokens=903, output_tokens=0), delta(input_tokens=256, output_tokens=10)],
            {"input": 256, "output": 10},
        ),
        (
            "all of it was cached",
            [start(input_tokens=424), delta(input_tokens=0, cache_read_input_tokens=424, output_tokens=7)],
            {"cache_read": 424, "output": 7},
        ),
        (
            "Anthropic: the split is in the beginning alone",
            [
                start(input_tokens=10, cache_creation_input_tokens=50, cache_creation=SPLIT, output_tokens=1),
                delta(input_tokens=10, cache_creation_input_tokens=50, cache_read_input_tokens=0, output_tokens=9),
            ],
            {"input": 10, "cache_write_5m": 30, "cache_write_1h": 20, "output": 9},
        ),
        (
            "Anthropic: server tools make the input grow",
            [start(input_tokens=2679, output_tokens=3), delta(input_tokens=10682, output_tokens=510)],
            {"input": 10682, "output": 510},
        ),
        (
            "Anthropic, older: the output alone",
            [start(input_tokens=10, cache_read_input_tokens=384, output_tokens=1), delta(output_tokens=9)],
            {"input": 10, "cache_read": 384, "output": 9},
        ),
        (
            "a gateway that fills in zeros",
            [
                start(input_tokens=10, cache_read_input_tokens=384),
                delta(input_tokens=0, cache_read_input_tokens=0, cache_creation_input_tokens=0, output_tokens=9),
            ],
            {"input": 10, "cache_read": 384, "output": 9},
        ),
        (
            "a gateway that fills in nulls",
            [
                start(input_tokens=10, cache_read_input_tokens=384),
                delta(input_tokens=None, cache_read_input_tokens=None, output_tokens=9),
            ],
            {"input": 10, "cache_read": 384, "output": 9},
        ),
        (
            "a gateway that says nothing at first",
            [
                start(input_tokens=0, output_tokens=0),
                delta(input_tokens=40, cache_read_input_tokens=384, output_tokens=7),
            ],
            {"input": 40, "cache_read": 384, "output": 7},
        ),
        (
            "an input that is told again, without what the beginning said of the cache",
            [start(input_tokens=10, cache_read_input_tokens=384), delta(input_tokens=10, output_tokens=9)],
            {"input": 10, "cache_read": 384, "output": 9},
        ),
        (
            "a split that the last total leaves no room for",
            [
                start(input_tokens=10, cache_creation_input_tokens=50, cache_creation=SPLIT),
                delta(input_tokens=40, cache_creation_input_tokens=20, output_tokens=9),
            ],
            {"input": 40, "cache_write_1h": 20, "output": 9},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@each_row("twice", [False, True])
def test_the_last_counts_of_a_message_are_its_own(
    name: str, events: list[dict[str, Any]], usage: dict[str, int], twice: bool
) -> None:
    """Also where each event, or the whole stream, comes twice."""
    for order in ([*events, STOP], [*events, STOP, *events, STOP]) if twice else ([*events, STOP],):
        assert streamed("anthropic.messages", "acme", *order).usage == usage, name


def test_deltas_of_a_message_are_cumulative() -> None:
    events = [start(input_tokens=10, output_tokens=1), delta(output_tokens=5), delta(output_tokens=9), STOP]
    assert streamed("anthropic.messages", "anthropic", *events).usage == {"input": 10, "output": 9}


def test_a_message_that_stops_without_a_count_has_only_its_placeholder() -> None:
    ends = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": None}
    reading = streamed("anthropic.messages", "anthropic", start(input_tokens=10, output_tokens=1), ends)
    assert reading.source == "partial"


# Chat: cumulative counts, twice, and in other places


CUMULATIVE = [
    {"choices": [{"index": 0, "delta": {"content": "a"}}], "usage": {"prompt_tokens": 9, "completion_tokens": n}}
    for n in (1, 2, 3)
]
LAST = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}


@each_row("events", [CUMULATIVE, [*CUMULATIVE, LAST], [LAST, LAST], [*CUMULATIVE, LAST, *CUMULATIVE]])
@each_row("provider", ["openai", "vllm", "acme"])
def test_counts_of_chunks_are_cumulative(events: list[Any], provider: str) -> None:
    assert streamed("openai.chat", provider, *events).usage == {"input": 9, "output": 3}


IN_CHOICE = {"prompt_tokens": 100, "completion_tokens": 31, "total_tokens": 131, "cached_tokens": 80}


@pytest.mark.parametrize("provider", ["moonshot", "openai", "acme", "groq", "mistral", "fireworks"])
def test_usage_in_the_choice_is_found_in_streams_and_whole_answers(provider: str) -> None:
    choice = {"index": 0, "delta": {}, "finish_reason": "stop", "usage": IN_CHOICE}
    event = {"model": "m", "choices": [choice]}
    text = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None, "usage": None}]}
    expected = {"input": 20, "cache_read": 80, "output": 31}
    assert streamed("openai.chat", provider, text, event).usage == expected
    assert reader("openai.chat", provider).whole(event, Context(provider=provider)).usage == expected


def test_two_choices_with_usage_share_their_prompt() -> None:
    events = [
        {"choices": [{"index": n, "delta": {}, "usage": {"prompt_tokens": 9, "completion_tokens": 3 + n}}]}
        for n in (0, 1)
    ]
    assert streamed("openai.chat", "moonshot", *events).usage == {"input": 9, "output": 7}


# One number under several names


@pytest.mark.parametrize(
    ("dialect", "usage", "expected"),
    [
        (
            "openai.chat",
            {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "input_tokens": 9, "output_tokens": 3},
            {"input": 9, "output": 3},
        ),
        (
            "openai.responses",
            {"prompt_tokens": 0, "input_tokens": 9, "output_tokens": 3, "completion_tokens": 0,
             "prompt_tokens_details": {"cached_tokens": 0}, "input_tokens_details": {"cached_tokens": 4}},
            {"input": 5, "cache_read": 4, "output": 3},
        ),
        (
            "openai.chat",
            {"input_tokens": 0, "prompt_tokens": 9, "completion_tokens": 3, "output_tokens": 0,
             "completion_tokens_details": {"reasoning_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 2}},
            {"input": 9, "output": 1, "reasoning": 2},
        ),
        ("bedrock.converse", {"inputTokens": 0, "inputTokenCount": 9, "outputTokens": 3}, {"input": 9, "output": 3}),
        (
            "bedrock.converse",
            {"inputTokens": 9, "outputTokens": 3, "cacheReadInputTokens": 0, "cacheReadInputTokenCount": 5},
            {"input": 9, "cache_read": 5, "output": 3},
        ),
        ("gemini", {"promptTokenCount": 9, "candidatesTokenCount": 0, "responseTokenCount": 3}, {"input": 9, "output": 3}),
        ("llamacpp.chat", {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 0}},
         {"input": 9, "output": 3}),
        (
            "perplexity.responses",
            {"input_tokens": 9, "output_tokens": 3,
             "input_tokens_details": {"cached_tokens": 0, "cache_read_input_tokens": 4}},
            {"input": 5, "cache_read": 4, "output": 3},
        ),
    ],
)  # fmt: skip
def test_the_first_name_that_says_something_counts(
    dialect: str, usage: dict[str, Any], expected: dict[str, int]
) -> None:
    assert whole(dialect, dialect.partition(".")[0], usage).usage == expected


def test_zero_under_every_name_is_zero() -> None:
    usage = {"prompt_tokens": 0, "input_tokens": 0, "completion_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    reading = whole("openai.chat", "openai", usage)
    assert (reading.usage, reading.source) == ({}, "provider")


def test_llamacpp_says_in_its_timings_what_was_cached_though_its_usage_says_none() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": None}
    body = {"usage": usage, "timings": {"cache_n": 6, "prompt_n": 3, "predicted_n": 3}}
    assert reader("llamacpp.chat").whole(body).usage == {"input": 3, "cache_read": 6, "output": 3}


# Cache counters beside the details


CACHE = {"cache_read_input_tokens": 60, "cache_creation_input_tokens": 30}


@each_row("provider", ["databricks", "openai", "acme", "snowflake", "vertex"])
@each_row(
    ("usage", "given"),
    [
        ({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}, 10),
        ({"prompt_tokens": 100, "completion_tokens": 5}, 10),
        ({"prompt_tokens": 10, "completion_tokens": 5}, 10),  # too small to hold them: beside it, as Anthropic counts
        ({"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 195}, 100),  # the total says beside
    ],
)
def test_anthropics_cache_names_in_openais_shape(provider: str, usage: dict[str, int], given: int) -> None:
    reading = whole("openai.chat", provider, usage | CACHE)
    by_unit = total_usage(reading)
    writes = sum(count for unit, count in by_unit.items() if unit.startswith("cache_write"))
    assert (by_unit["input"], by_unit["cache_read"], writes, by_unit["output"]) == (given, 60, 30, 5)
    assert reading.flags == ()


def test_the_same_cache_read_in_both_places_counts_once() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 60}, **CACHE}
    by_unit = total_usage(whole("openai.chat", "acme", usage))
    assert (by_unit["input"], by_unit["cache_read"]) == (10, 60)


# Parts that exceed their whole


@each_row("names", ["anthropic", "openai", "bedrock"])
@each_row(("short", "long", "kept"), [(50, 50, (0, 50)), (50, 20, (30, 20)), (0, 70, (0, 50)), (80, 0, (50, 0))])
def test_a_split_by_time_to_live_never_exceeds_its_total(
    names: str, short: int, long: int, kept: tuple[int, int]
) -> None:
    split = {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long}
    reading = {
        "anthropic": lambda: whole(
            "anthropic.messages", "anthropic",
            {"input_tokens": 9, "output_tokens": 1, "cache_creation_input_tokens": 50, "cache_creation": split},
        ),
        "openai": lambda: whole(
            "openai.chat", "databricks",
            {"prompt_tokens": 59, "completion_tokens": 1, "cache_creation_input_tokens": 50, "cache_creation": split},
        ),
        "bedrock": lambda: whole(
            "bedrock.converse", "aws",
            {"inputTokens": 9, "outputTokens": 1, "cacheWriteInputTokens": 50,
             "cacheDetails": [{"ttl": "5m", "inputTokens": short}, {"ttl": "1h", "inputTokens": long}]},
        ),
    }[names]()  # fmt: skip
    assert (reading.usage.get("cache_write_5m", 0), reading.usage.get("cache_write_1h", 0)) == kept
    assert reading.usage["input"] == 9
    if names != "openai" or long > 50:
        assert reading.flags == ("inconsistent_usage",)


# What a router says that it charged


@each_row("provider", ["vercel", "vercel-ai-gateway", "openrouter", "aihubmix", "some-router"])
@each_row("dialect", ["openai.chat", "anthropic.messages", "openai.responses"])
def test_a_charge_is_read_in_every_dialect(provider: str, dialect: str) -> None:
    usage = {"input_tokens": 9, "output_tokens": 3, "cost": 0.0025}
    assert whole(dialect, provider, usage).provider_cost_usd == Decimal("0.0025")


@pytest.mark.parametrize("provider", ["openai", "azure", "anthropic", "groq", "together", "databricks"])
def test_a_host_that_states_no_charge_is_not_believed_one(provider: str) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "cost": 0.0000001}
    assert whole("openai.chat", provider, usage).provider_cost_usd is None


@pytest.mark.parametrize("cost", [0, 0.0, "0.1", True, None, -1, float("nan"), float("inf"), {"usd": 1}, [1]])
def test_an_unknown_host_that_fills_in_nothing_useful_has_no_charge(cost: Any) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12, "cost": cost}
    reading = whole("openai.chat", "some-router", usage)
    assert (reading.provider_cost_usd, reading.usage) == (None, {"input": 9, "output": 3})


def test_a_free_model_of_a_router_that_says_its_charge_costs_nothing() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "cost": 0}
    assert whole("openai.chat", "openrouter", usage).provider_cost_usd == 0


# A count that is none, where the total tells


@pytest.mark.parametrize("nonsense", [-5, True, "many", [], 1e400])
@pytest.mark.parametrize(
    ("name", "told"), [("prompt_tokens", "completion_tokens"), ("completion_tokens", "prompt_tokens")]
)
def test_a_total_tells_what_a_count_that_is_none_does_not(name: str, told: str, nonsense: Any) -> None:
    usage = {name: nonsense, told: 12, "total_tokens": 36, "completion_tokens_details": {"reasoning_tokens": 4}}
    reading = whole("openai.chat", "acme", usage)
    given, taken = (24, 12) if name == "prompt_tokens" else (12, 24)
    assert dict(reading.usage) == {"input": given, "output": taken - 4, "reasoning": 4}
    assert reading.flags == ("inconsistent_usage",)
