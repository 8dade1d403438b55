"""A stream's text is the one that its parsed events have, or it is left to those."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from proxy.dialects import turns
from proxy.dialects.stream_text import chat_text
from tests.support.rows import each_row

TEXTS = ["Hello", " wörld", "", "日本", '"quoted" \\ \n', "\U0001f600", None]
ODD_EVENTS: list[Any] = [
    {}, [], None, "text", {"choices": None}, {"choices": {}}, {"choices": [None]}, {"choices": [{}]}, {"choices": [{"delta": None}]},
    {"choices": [{"delta": []}]}, {"choices": [{"delta": {"content": ["a"]}}]}, {"choices": [{"delta": {"content": 1}}]},
    {"choices": [{"index": 1, "delta": {"content": "b"}}]}, {"choices": [{"index": "0", "delta": {"content": "b"}}]},
    {"choices": [{"delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]}, {"choices": [], "type": None},
    {"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}, {"choices": [{"delta": {"function_call": {"name": "f"}}}]},
    {"choices": [{"message": {"content": "whole"}}]}, {"choices": [{"delta": {}, "message": {"content": "whole"}}]},
    {"choices": [{"delta": {"content": "a"}}], "object": "response"}, {"choices": [{"delta": {"content": "a"}}], "object": 7},
    {"type": "message_start", "choices": [{"delta": {"content": "a"}}]},
]  # fmt: skip


def event(chance: random.Random) -> dict[str, Any]:
    said: dict[str, Any] = {"content": chance.choice(TEXTS)}
    for name, values in {
        "role": ["assistant"],
        "tool_calls": [None, []],
        "refusal": [None],
        "function_call": [None],
    }.items():
        if chance.random() < 0.2:
            said[name] = chance.choice(values)
    choice = {"delta": said, "finish_reason": None} | chance.choice([{"index": 0}, {"index": None}, {}])
    made: dict[str, Any] = {"id": "x", "object": "chat.completion.chunk", "created": 1.5, "choices": [choice]}
    return made if chance.random() < 0.9 else {"choices": [], "usage": {"completion_tokens": 7}}


def by_events(text: bytes) -> str | None:
    return turns._chat_text(orjson.loads(text))


def test_it_is_what_the_events_say() -> None:
    chance = random.Random(4)
    for _ in range(300):
        text = orjson.dumps([event(chance) for _ in range(chance.randrange(1, 9))])
        assert chat_text(text) == by_events(text), text


@each_row("odd", ODD_EVENTS, ids=str)
def test_odd_events_are_read_alike_or_left_to_who_parses(odd: Any) -> None:
    plain = event(random.Random(1))
    for events in ([odd], [plain, odd], [odd, plain]):
        text = orjson.dumps(events)
        assert chat_text(text) in (None, by_events(text)), text


@pytest.mark.parametrize(
    "text", [b"", b"[", b"{}", b'[{"choices":[{"delta":{"content":"\xff"}}]}]', b"[" * 100_000, b"[NaN]"]
)
def test_what_is_no_list_of_events_has_no_text(text: bytes) -> None:
    assert chat_text(text) is None


def test_a_text_with_half_a_pair_is_left_to_who_parses() -> None:
    assert chat_text(b'[{"choices":[{"delta":{"content":"\\ud83d"}}]}]') is None
