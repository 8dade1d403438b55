"""Which usage is charged where a call was translated, and how it gets from the translator to the data plane."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import orjson
import pytest

from pricing.usage import Part, Reading
from proxy.meters.reader import Context
from proxy.meters.translated import HEADER, encode, event, translated
from proxy.translate import answers
from proxy.translate.answers import settled

HALVES = {"id": "c", "choices": [{"index": 0, "delta": {"content": "\ud83e \udd93 \ud800"}}], "n": 2**70}


@pytest.mark.parametrize("operation", ["chat", "responses", "messages"])
def test_half_a_character_and_a_large_number_are_json_too(operation: str) -> None:
    """Pieces of a stream end where tokens do, in the middle of a pair of surrogates as anywhere."""
    for written in (
        answers.whole(operation, dict(HALVES)),
        answers.event(operation, HALVES | {"type": "x"}, 0, wants_usage=True).partition(b"data: ")[2],
        answers.anthropic_event(HALVES).partition(b"data: ")[2],
    ):
        assert json.loads(written)["choices"][0]["delta"] == {"content": "\ud83e \udd93 \ud800"}
        assert json.loads(written)["n"] == 2**70


NATIVE = Reading(
    usage={"input": 20, "cache_read": 10, "cache_write_1h": 4, "output": 9, "reasoning": 4}, source="provider"
)


@pytest.mark.parametrize(
    ("operation", "stated", "differs"),
    [
        ("chat", {"prompt_tokens": 34, "completion_tokens": 13, "prompt_tokens_details": {"cached_tokens": 10}}, False),
        ("chat", {"prompt_tokens": 30, "completion_tokens": 13, "prompt_tokens_details": {"cached_tokens": 10}}, True),
        ("chat", {"prompt_tokens": 34, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 10}}, True),
        ("chat", {"prompt_tokens": 34, "completion_tokens": 13}, True),
        ("responses", {"input_tokens": 34, "output_tokens": 13, "input_tokens_details": {"cached_tokens": 10}}, False),
        (
            "messages",
            {"input_tokens": 20, "output_tokens": 13, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 4},
            False,
        ),
        ("messages", {"input_tokens": 34, "output_tokens": 13}, True),
        ("chat", None, False),
    ],
)
def test_the_providers_own_word_wins(operation: str, stated: Any, differs: bool) -> None:
    reading = settled(operation, NATIVE, stated)

    assert reading.usage == NATIVE.usage
    assert ("translation_differs" in reading.flags) == differs


def test_litellms_word_is_taken_where_no_meter_reads_the_provider() -> None:
    stated = {"prompt_tokens": 30, "completion_tokens": 13, "prompt_tokens_details": {"cached_tokens": 10}}

    reading = settled("chat", Reading(), stated)

    assert reading == Reading({"input": 20, "cache_read": 10, "output": 13}, "provider", flags=("translated_usage",))
    assert settled("chat", Reading(), None).source == "none"


@pytest.mark.parametrize(
    "reading",
    [
        NATIVE,
        Reading(),
        Reading(
            {"input": 1},
            "partial",
            "modèle-\u2028",
            {"geo": "eu"},
            {"service_tier": "flex"},
            flags=("inconsistent_usage",),
        ),
        Reading(
            {"gpu_second": Decimal("1.5")},
            "provider",
            parts=(Part("other", {"output": 3}),),
            provider_cost_usd=Decimal("0.1"),
        ),
    ],
)
def test_a_reading_comes_back_as_it_was(reading: Reading) -> None:
    line = encode(reading)
    stream = translated.stream(Context(from_client=True))
    stream.event(orjson.loads(event(reading).removeprefix(b"data: ")))

    assert line.isascii()
    assert b"\n" not in line
    assert (
        translated.whole({"usage": {"prompt_tokens": 999}}, Context(response_headers={HEADER: line.decode()}))
        == reading
    )
    assert stream.finish() == reading


def test_what_the_translated_answer_says_is_not_read() -> None:
    stream = translated.stream()
    stream.event({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 5}})

    assert translated.whole({"usage": {"prompt_tokens": 5}}).source == "none"
    assert stream.finish().source == "none"
