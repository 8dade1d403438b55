"""The short way of reading a plain usage says exactly what the long way says, or steps aside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.meters.openai_usage import host_of, read_plainly, read_usage
from proxy.meters.reader import Context
from proxy.meters.reading_builder import ReadingBuilder

COUNTS = st.one_of(st.integers(-2, 60), st.none(), st.sampled_from(["7", 1.5, True, 10**18]))
DETAILS = st.none() | st.dictionaries(
    st.sampled_from(["cached_tokens", "reasoning_tokens", "audio_tokens", "cache_write_tokens", "text_tokens"]),
    COUNTS,
    max_size=3,
)
USAGES = st.fixed_dictionaries(
    {"prompt_tokens": COUNTS, "completion_tokens": COUNTS},
    optional={
        "total_tokens": COUNTS,
        "prompt_tokens_details": DETAILS,
        "completion_tokens_details": DETAILS,
        "cached_tokens": COUNTS,
        "cost": COUNTS,
    },
)


@given(
    USAGES,
    st.booleans(),
    st.sampled_from(["openai", "groq", "xai", "deepseek", "vllm", "fake", "openrouter", "google"]),
)
def test_the_short_way_equals_the_long_way(usage: dict[str, Any], adds_up: bool, provider: str) -> None:
    if adds_up and all(type(usage[name]) is int for name in ("prompt_tokens", "completion_tokens")):
        usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    context, host = Context(provider=provider), host_of(provider)
    short, long = ReadingBuilder(), ReadingBuilder()
    read_usage(usage, context, short, host)
    read_usage(usage, context, long, replace(host, more=lambda *_: None))  # which the short way leaves to the long one
    assert short.reading() == long.reading()


def test_a_plain_usage_takes_the_short_way() -> None:
    usage = {
        "prompt_tokens": 19,
        "completion_tokens": 21,
        "total_tokens": 40,
        "prompt_tokens_details": {"cached_tokens": 9, "audio_tokens": 0},
    }
    builder = ReadingBuilder()
    assert read_plainly(usage, builder, host_of("fake"))
    assert builder.usage == {"cache_read": 9, "input": 10, "output": 21}
    assert not read_plainly(usage, ReadingBuilder(), replace(host_of("fake"), more=lambda *_: None))
