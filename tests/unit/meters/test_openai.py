"""OpenAI-shaped usage: what is part of what, and what happens when the numbers do not fit."""

from __future__ import annotations

import pytest

from proxy.meters import Context, reader

CHAT = reader("openai.chat", "openai")


@pytest.mark.parametrize(
    ("usage", "expected", "flags"),
    [
        ({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}, {"input": 100, "output": 20}, ()),
        (
            {"prompt_tokens": 100, "completion_tokens": 200, "prompt_tokens_details": {"cached_tokens": None},
             "completion_tokens_details": {"reasoning_tokens": 120}},
            {"input": 100, "output": 80, "reasoning": 120},
            (),
        ),
        (
            {"prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
             "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 1920}},
            {"input": 86, "output": 300, "cache_write_30m": 1920},
            (),
        ),
        (  # the total says that reasoning stands beside the completion
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 45,
             "completion_tokens_details": {"reasoning_tokens": 30}},
            {"input": 10, "output": 5, "reasoning": 30},
            (),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 11}},
            {"cache_read": 10, "output": 5},
            ("inconsistent_usage",),
        ),
        ({"prompt_tokens": -4, "completion_tokens": 5}, {"output": 5}, ("inconsistent_usage",)),
        ({"prompt_tokens": True, "completion_tokens": float("nan")}, {}, ("inconsistent_usage",)),
        ({"completion_tokens": 5}, {"output": 5}, ("input_unknown",)),
    ],
)  # fmt: skip
def test_usage_becomes_disjoint(usage: object, expected: object, flags: object) -> None:
    reading = CHAT.usage_only(usage)
    assert reading.usage == expected
    assert reading.flags == flags


def test_no_usage_is_said_to_be_none() -> None:
    assert CHAT.whole({"model": "m", "choices": []}).source == "none"


def test_stream_usage_is_overwritten_not_summed() -> None:
    stream = CHAT.stream(Context(provider="openai"))
    stream.event({"model": "", "choices": [], "usage": None})
    for n in (1, 7, 12):
        stream.event({"model": "m-1", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": n}})
    stream.event("[DONE]")
    reading = stream.finish()
    assert (reading.model, reading.usage) == ("m-1", {"input": 9, "output": 12})


def test_only_chunks_with_a_usage_object_are_worth_parsing() -> None:
    assert CHAT.wants(b'{"choices":[],"usage": {"prompt_tokens":1}}')
    assert not CHAT.wants(b'{"choices":[{"delta":{"content":"\\"usage\\":{1}"}}],"usage":null}')


@pytest.mark.parametrize("prompt", [-5, 20])
def test_what_an_embedding_total_has_more_is_input(prompt: int) -> None:
    """There is no output that it could be."""
    told = reader("openai.embeddings", "openai").whole({"usage": {"prompt_tokens": prompt, "total_tokens": 37}})

    assert (told.usage, told.flags) == ({"input": 37}, ("inconsistent_usage",))


@pytest.mark.parametrize("place", ["prompt_tokens_details", ""])
def test_how_long_writes_are_kept_is_known_by_litellms_name_too(place: str) -> None:
    kept = {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 15}
    details: dict[str, object] = {
        "cache_creation_tokens": 20,
        "cached_tokens": 30,
        "cache_creation_token_details": kept,
    }
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    read = CHAT.usage_only(usage | ({place: details} if place else {"cache_creation_input_tokens": 20} | details))
    assert read.usage["cache_write_1h"] == 15
    assert sum(read.usage.values()) == 150
