"""Words that prices go by (tier, geography, speed) are text in every dialect; anything else is refused by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
import pytest

from proxy.dialects import anthropic, bedrock, gemini, openai, responses
from proxy.errors import Refused
from proxy.types import Call

TURNS = [{"role": "user", "content": "hi"}]
CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]
BLOCKS = [{"role": "user", "content": [{"text": "hi"}]}]
CHAT = (openai.parse_chat, {"model": "m", "messages": TURNS})
RESPONSES = (responses.parse, {"model": "m", "input": "hi"})
COMPACT = (responses.parse_compact, {"model": "m", "input": "hi"})
MESSAGES = (anthropic.parse_messages, {"model": "m", "messages": TURNS, "max_tokens": 5})
GENERATE = (partial(gemini.parse_generate, "m", False), {"contents": CONTENTS})
CONVERSE = (partial(bedrock.parse_converse, "m", False), {"messages": BLOCKS})
INVOKE = (
    partial(bedrock.parse_invoke, "m", False),
    {"anthropic_version": "bedrock-2023-05-31", "messages": TURNS, "max_tokens": 5},
)
WORDS = [
    (CHAT, "service_tier"), (RESPONSES, "service_tier"), (COMPACT, "service_tier"), (MESSAGES, "service_tier"),
    (MESSAGES, "inference_geo"), (MESSAGES, "speed"), (GENERATE, "serviceTier"), (INVOKE, "service_tier"),
]  # fmt: skip


@pytest.mark.parametrize("value", [5, 1.5, True, [], ["priority"], {}, {"type": "priority"}], ids=repr)
@pytest.mark.parametrize(("way", "name"), WORDS, ids=lambda it: it if isinstance(it, str) else "")
def test_what_is_no_text_is_refused_by_its_name(
    way: tuple[Callable[[bytes], Call], dict[str, Any]], name: str, value: object
) -> None:
    parse, body = way
    with pytest.raises(Refused) as refused:
        parse(orjson.dumps(body | {name: value}))

    assert (refused.value.refusal.status, refused.value.refusal.code) == (400, "invalid_request_error")
    assert refused.value.refusal.param == name


@pytest.mark.parametrize("value", ["priority", "", None], ids=repr)
@pytest.mark.parametrize(("way", "name"), WORDS, ids=lambda it: it if isinstance(it, str) else "")
def test_text_and_nothing_pass(way: tuple[Callable[[bytes], Call], dict[str, Any]], name: str, value: object) -> None:
    parse, body = way

    assert parse(orjson.dumps(body | {name: value})).body[name] == value


@pytest.mark.parametrize(("name", "inside"), [("serviceTier", "type"), ("performanceConfig", "latency")])
@pytest.mark.parametrize("value", [5, "priority", ["priority"], {"type": 5, "latency": 5}], ids=repr)
def test_bedrocks_stand_in_objects(name: str, inside: str, value: object) -> None:
    parse, body = CONVERSE
    with pytest.raises(Refused) as refused:
        parse(orjson.dumps(body | {name: value}))

    assert refused.value.refusal.param in (name, inside)
    assert parse(orjson.dumps(body | {name: {inside: "optimized"}})).body[name] == {inside: "optimized"}
