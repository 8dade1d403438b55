"""What is known of messages that were sent before changes nothing of a call, and is seen to be known."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from pricing.load import load_book
from proxy.ceilings.ceiling import impossible_units
from proxy.config.model import Config
from proxy.dataplane.process import build_plane
from proxy.dialects import anthropic, fields, gemini, known_beginnings, openai, plain_messages, responses
from proxy.dialects.outgoing import json_body
from proxy.dialects.plain_messages import PlainMessages
from proxy.errors import Refused
from proxy.wire.written_list import WrittenList
from tests.support import agent_bodies
from tests.support.examples import tried
from tests.support.rows import each_row

LONG = "of no use " * 8000


@pytest.fixture(autouse=True)
def _recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlainMessages, "hash_is_secret", True)


@pytest.fixture
def short_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short bodies are treated as long ones are."""
    monkeypatch.setattr(plain_messages, "FROM_BYTES", 0)
    monkeypatch.setattr(openai, "FROM_BYTES", 0)
    monkeypatch.setattr(plain_messages, "_LEAST_BYTES", 1)
    monkeypatch.setattr(plain_messages, "_LEAST_MESSAGES", 1)
    monkeypatch.setattr(known_beginnings, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(known_beginnings, "_LEAST_BYTES", 1)


@pytest.mark.usefixtures("short_too")
@each_row("dialect", agent_bodies.PARSERS)
def test_what_is_known_changes_nothing(dialect: str) -> None:
    """Refusals, ceilings, bytes sent on and conversations of agents' bodies in which anything may stand, escaped or twice. With
    another commit they are compared by hand: `tests/support/agent_bodies.py`."""
    first = int.from_bytes(os.urandom(3))
    for seed in range(first, first + tried(6)):
        for number, raw in enumerate(agent_bodies.bodies(dialect, seed)):
            warm = agent_bodies.outcome(dialect, raw)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(PlainMessages, "hash_is_secret", False)  # nothing is recognised then
                assert warm == agent_bodies.outcome(dialect, raw), f"{dialect}, agent {seed}, body {number}"


def _messages(*more: Any) -> dict[str, Any]:
    said = [{"role": ("user", "assistant")[number % 2], "content": [{"type": "text", "text": f"{number} {LONG[:9000]}"}]} for number in range(9)]  # fmt: skip
    return {"model": "m", "max_tokens": 9, "messages": [*said, *more]}


MESSAGE = {
    "role": "user",
    "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "a"}]}],
}
MARKED = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}


def test_a_message_is_looked_at_once() -> None:
    plain = PlainMessages("messages", '"(?:1h)"')

    def fresh(body: dict[str, Any]) -> list[Any]:
        messages = plain.parse(json.dumps(body).encode())
        messages.remember(lambda _: True, nothing_found=True)
        return list(messages.fresh)

    first = _messages()
    assert fresh(first) == first["messages"]
    assert fresh(first) == []
    assert fresh(_messages(MESSAGE)) == [MESSAGE]
    assert fresh(_messages(MESSAGE, {"role": "user", "content": "1h"})) == [{"role": "user", "content": "1h"}]
    assert fresh(_messages(MESSAGE, {"role": "user", "content": "1h"})) == [{"role": "user", "content": "1h"}], (
        "a price may go by it"
    )
    assert fresh(_messages({"role": "user", "content": LONG})) == [{"role": "user", "content": LONG}]
    assert fresh(_messages({"role": "user", "content": LONG})) == [{"role": "user", "content": LONG}], (
        "too long to be remembered"
    )


@each_row(
    "way",
    [
        lambda text: text,
        lambda text: text.replace('"1h"', '"\\u0031h"'),
        lambda text: text.replace('"cache_control"', '"cache\\u005fcontrol"').replace('"1h"', '"1\\u0068"'),
        lambda text: text.replace('"ttl"', '"ttl": "5m", "ttl"'),
    ],
)
def test_an_hours_cache_is_seen_in_a_message_that_had_none(way: Callable[[str], str]) -> None:
    """In a tool's result, escaped, or under a name that stands twice; and no longer once it is gone."""
    asked = {"role": "user", "content": [{**MESSAGE["content"][0], "content": [MARKED]}]}  # type: ignore[dict-item]
    for body, hour in ((_messages(MESSAGE), False), (_messages(asked), True), (_messages(MESSAGE), False)):
        call = anthropic.parse_messages(way(json.dumps(body)).encode())
        sent = fields.encode(call, "up").written({})
        assert ("cache_write_1h" not in impossible_units(call, sent)) is hour


def test_what_is_forgotten_of_a_message_is_forgotten_each_time() -> None:
    raw = json.dumps(_messages({**MESSAGE, "previous_message_id": "msg_01"})).encode()
    for _ in range(3):
        call = anthropic.parse_messages(raw)
        assert call.body["messages"][-1]["previous_message_id"] is None
        assert b"msg_01" not in fields.encode(call, "up").written({})


def test_a_file_of_another_team_is_refused_each_time() -> None:
    file = {"type": "document", "source": {"type": "file", "file_id": "file_0123456789abcdef"}}
    for _ in range(3):
        assert anthropic.parse_messages(json.dumps(_messages({"role": "user", "content": [file]})).encode()).held
    audio = {"role": "user", "content": [{"type": "input_audio", "audio": {"id": "audio_0123456789"}}]}
    for _ in range(3):
        with pytest.raises(Refused, match="not_found"):
            responses.parse(json.dumps({"model": "m", "input": [*_messages()["messages"], audio]}).encode())


def test_a_number_that_its_reader_changes_is_refused_where_its_like_has_passed() -> None:
    """As a float it passes; as a whole number it would be passed on as that float."""
    for number, passes in (("1.8446744073709552e19", True), ("18446744073709551616", False)) * 2:
        body = json.dumps(
            {"contents": [*[{"role": "user", "parts": [{"text": LONG}]}] * 9, {"role": "model", "n": "N"}]}
        )
        raw = body.replace('"N"', number).encode()
        if passes:
            gemini.parse_generate("m", False, raw)
        else:
            with pytest.raises(Refused) as caught:
                gemini.parse_generate("m", False, raw)
            assert "64 bits" in caught.value.refusal.message


def test_the_json_of_the_messages_is_held_until_the_body_is_written() -> None:
    call = anthropic.parse_messages(json.dumps(_messages()).encode())
    assert call.written is not None
    first = fields.encode(call, "one").written({})
    assert call.written.placed() is call.body["messages"]
    assert fields.encode(call, "two").written({}) == first.replace(b'"model":"one"', b'"model":"two"')


def test_the_json_of_the_messages_takes_no_more_than_its_bytes() -> None:
    """A result of orjson's has the whole buffer that it was written into, four to sixty-four kilobytes for each message."""
    said = [{"role": ("user", "assistant")[number % 2], "content": [{"type": "text", "text": f"{number} {LONG[:500]}"}]} for number in range(200)]  # fmt: skip
    raw = json.dumps({"model": "m", "max_tokens": 9, "messages": said}).encode()
    tracemalloc.start()
    try:
        call = anthropic.parse_messages(raw)
        assert call.written is not None
        with_it = tracemalloc.get_traced_memory()[0]
        call = call._replace(written=None)
        freed = with_it - tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(raw) / 2 < freed < 2 * len(raw)


@each_row("count", [1, 2, 3])
def test_a_body_is_written_with_its_list_in_place(count: int) -> None:
    """However many items that has; and as it is where that list is no longer in it."""
    items = [{"text": f"{number}\n{LONG}"} for number in range(count)]
    for body in ({"a": 1, "x": items, "b": "\n"}, {"a": {}, "x": items}, {"x": items}, {"x": [*items], "b": 2}):
        written_list = WrittenList(items, [*map(orjson.dumps, items)])
        outgoing, plain = json_body(body, 10**6, written_list), json_body(body, 10**6)
        assert outgoing.written({}) == plain.written({})
        assert outgoing.written({"max_tokens": 5}) == plain.written({"max_tokens": 5})


def test_a_hash_whose_secret_is_known_is_not_relied_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for environ, secret in (({"PYTHONHASHSEED": "7"}, False), ({}, True), ({"PYTHONHASHSEED": "random"}, True)):
        build_plane(Config(data_dir=str(tmp_path)), "0", environ, load_book())
        assert PlainMessages.hash_is_secret is secret
