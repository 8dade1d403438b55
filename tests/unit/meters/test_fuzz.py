"""No reader ever raises and nothing is ever negative, whatever comes back; whatever the details say, totals are kept."""

from __future__ import annotations

import copy
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import example, given, note
from hypothesis import strategies as st

from pricing.usage import Quantity, Reading
from proxy.meters import Context, reader, registry
from tests.support.examples import examples
from tests.support.fixtures import Fixture, load, total_usage

READERS = sorted(registry.all_readers(), key=lambda one: one.dialect)
FIXTURES = [one for one in load() if one.line["dialect"] != "session"]
# Every word that the readers look for, so that random objects hit their branches.
SOURCES = Path(registry.__file__).parent.glob("*.py")
WORDS = sorted({word for path in SOURCES for word in re.findall(r'"([\w.:-]{2,50})"', path.read_text())})

numbers = st.one_of(
    st.integers(-5, 3000),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([True, False, "12", "-3", "abc", "", "1e400", "NaN", 0.5, 431.0]),
)
scalars = st.one_of(st.none(), numbers, st.sampled_from([*WORDS, "completed", "succeeded", "message", "compaction"]))
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(WORDS), inner, max_size=6)),
    max_leaves=15,
)
objects = st.dictionaries(st.sampled_from(WORDS), values, max_size=6)
quick = examples(15)


def check(reading: Reading) -> None:
    for usage in (reading.usage, *(part.usage for part in reading.parts)):
        for unit, quantity in usage.items():
            assert isinstance(unit, str)
            assert type(quantity) in {int, Decimal}
            assert quantity > 0
            assert Decimal(quantity).is_finite()
    cost = reading.provider_cost_usd
    assert cost is None or (cost.is_finite() and cost >= 0)
    assert all(isinstance(value, str) for value in reading.conditions.values())
    assert reading.model is None or isinstance(reading.model, str)


@examples(60)
@given(response=st.one_of(objects, values), events=st.lists(objects, max_size=3), facts=objects)
def test_any_json_is_survived_by_every_reader(response: Any, events: list[Any], facts: dict[str, Any]) -> None:
    headers = {"fireworks-cached-prompt-tokens": "x", "x-amzn-bedrock-input-token-count": "-1"}
    for one in READERS:
        note(one.dialect)  # said with what failed
        context = Context(request=facts, selector=facts, response_headers=headers)
        stream = one.stream(context)
        for event in events:
            stream.event(event)
        for reading in (one.whole(response, context), one.usage_only(response, context), stream.finish()):
            check(reading)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [found for key, one in inner for found in places(one, (*path, key))]


@quick
@given(st.sampled_from(FIXTURES), st.data())
def test_one_wrong_value_anywhere_is_survived(fixture: Fixture, data: st.DataObject) -> None:
    mutate_and_check(fixture, data)


# The same again, many more: one wrong value in a true response reaches branches that random objects do not.
@examples(500)
@given(st.sampled_from(FIXTURES), st.data())
def test_wrong_values_anywhere_are_survived(fixture: Fixture, data: st.DataObject) -> None:
    mutate_and_check(fixture, data)


def mutate_and_check(fixture: Fixture, data: st.DataObject) -> None:
    line = copy.deepcopy(fixture.line)
    body = {key: line[key] for key in ("response", "usage", "events", "request", "selector") if line.get(key)}
    for _ in range(data.draw(st.integers(1, 3))):
        spots = places(body)
        if not spots:
            break
        *parents, last = data.draw(st.sampled_from(spots))
        holder: Any = body
        for key in parents:
            holder = holder[key]
        holder[last] = data.draw(scalars if data.draw(st.booleans()) else values)
    for key in ("request", "selector"):
        if not isinstance(body.get(key, {}), dict):
            body[key] = {}
    if not isinstance(body.get("events", []), list):
        del body["events"]
    keep = {key: value for key, value in line.items() if key not in {"response", "usage", "events"}}
    check(Fixture(fixture.name, {**keep, **body}, {}).read())


tokens = st.integers(0, 10_000)
maybe = st.one_of(st.none(), tokens)


def summed(usage: dict[str, Quantity]) -> Quantity:
    return sum(usage.values())


@given(tokens, tokens, st.fixed_dictionaries(dict.fromkeys(("cached", "write", "audio", "image", "reasoning", "audio_out"), maybe)),
       st.sampled_from(["openai.chat", "groq.chat", "openrouter.chat", "vllm.chat", "deepseek.chat", "mistral.chat"]))  # fmt: skip
@example(
    0,
    0,
    dict.fromkeys(("cached", "write", "audio", "image"), None) | {"reasoning": 1, "audio_out": None},
    "openai.chat",
)
@example(
    0, 0, dict.fromkeys(("cached", "write", "audio", "image"), None) | {"reasoning": 1, "audio_out": None}, "groq.chat"
)
def test_openai_prompt_and_completion_are_kept(
    given_: int, taken: int, part: dict[str, int | None], dialect: str
) -> None:
    inside = {"cached_tokens": part["cached"], "cache_write_tokens": part["write"], "audio_tokens": part["audio"]}
    outside = {"reasoning_tokens": part["reasoning"], "audio_tokens": part["audio_out"]}
    usage = {
        "prompt_tokens": given_, "completion_tokens": taken, "total_tokens": given_ + taken,
        "prompt_tokens_details": {**inside, "image_tokens": part["image"]}, "completion_tokens_details": outside,
    }  # fmt: skip
    beside = part["reasoning"] if given_ + taken == 0 and part["reasoning"] else 0
    assert (
        summed(total_usage(reader(dialect, dialect.split(".", maxsplit=1)[0]).usage_only(usage)))
        == given_ + taken + beside
    )


@given(tokens, tokens, st.integers(1, 9_999))
def test_reasoning_beside_is_kept_too(given_: int, taken: int, reasoning: int) -> None:
    usage = {
        "prompt_tokens": given_, "completion_tokens": taken, "total_tokens": given_ + taken + reasoning,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }  # fmt: skip
    for dialect in ("openai.chat", "xai.chat", "sglang.chat"):
        reading = reader(dialect, "").usage_only(usage)
        assert (summed(total_usage(reading)), reading.flags) == (given_ + taken + reasoning, ())


@given(tokens, tokens, tokens, tokens, tokens, st.booleans())
def test_anthropic_counts_are_kept(given_: int, read: int, short: int, long: int, taken: int, split: bool) -> None:
    usage: dict[str, Any] = {"input_tokens": given_, "cache_read_input_tokens": read, "output_tokens": taken,
                             "cache_creation_input_tokens": short + long}  # fmt: skip
    if split:
        usage["cache_creation"] = {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long}
    reading = reader("anthropic.messages").usage_only(usage)
    assert (summed(total_usage(reading)), reading.flags) == (given_ + read + short + long + taken, ())


@given(
    tokens,
    tokens,
    tokens,
    tokens,
    st.booleans(),
    st.fixed_dictionaries(dict.fromkeys(("TEXT", "AUDIO", "IMAGE"), tokens)),
)
def test_gemini_totals_are_kept(
    prompt: int, tool: int, out: int, thoughts: int, within: bool, kinds: dict[str, int]
) -> None:
    within = within and thoughts <= out
    total = prompt + tool + out + (0 if within else thoughts)
    usage = {
        "promptTokenCount": prompt, "toolUsePromptTokenCount": tool, "candidatesTokenCount": out,
        "thoughtsTokenCount": thoughts, "totalTokenCount": total,
        "promptTokensDetails": [{"modality": kind, "tokenCount": count} for kind, count in kinds.items()],
    }  # fmt: skip
    reading = reader("gemini").usage_only(usage)
    if total:
        assert summed(total_usage(reading)) == total


@given(tokens, tokens, tokens, tokens, st.booleans())
def test_bedrock_counts_are_kept(given_: int, read: int, written: int, taken: int, cache_in_total: bool) -> None:
    usage = {"inputTokens": given_, "outputTokens": taken, "cacheReadInputTokens": read, "cacheWriteInputTokens": written,
             "totalTokens": given_ + taken + (read + written if cache_in_total else 0)}  # fmt: skip
    reading = reader("bedrock.converse").usage_only(usage)
    assert (summed(total_usage(reading)), reading.flags) == (given_ + read + written + taken, ())
