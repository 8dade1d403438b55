"""Of a body that begins as an earlier one did only the rest is parsed; what is made of it is what parsing all of it makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from proxy.budgets.guards import request_digest
from proxy.dialects import anthropic, fields, known_beginnings
from proxy.dialects.plain_messages import PlainMessages
from proxy.dialects.unread_messages import Run, UnreadMessages
from proxy.types import Call
from tests.support.agent_bodies import FIELDS, PARSERS, outcome
from tests.support.rows import each_row

LINE = "of no use at all, "


@pytest.fixture(autouse=True)
def _recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlainMessages, "hash_is_secret", True)
    monkeypatch.setattr(anthropic, "_PLAIN", PlainMessages("messages", anthropic._PLAIN_WORDS))


def _messages(count: int) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[number % 2], "content": [{"type": "text", "text": f"{number}: {LINE * 200}"}]} for number in range(count)]  # fmt: skip


def _body(messages: list[Any], **more: Any) -> bytes:
    body = {"model": "m", "max_tokens": 99, "messages": messages, **more}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _parsed(raw: bytes) -> Call:
    call = anthropic.parse_messages(raw)
    sent = fields.encode(call, "up").written({})
    assert orjson.loads(sent) == {**orjson.loads(raw), "model": "up"}
    return call


def _unread(call: Call) -> int:
    """How many of its messages nobody has read."""
    listed = call.body["messages"]
    pieces = listed.pieces() if isinstance(listed, UnreadMessages) else []
    return sum(len(piece.marks) for piece in pieces if type(piece) is Run)


def _after(*bodies: bytes) -> Call:
    """What becomes of the last one."""
    for raw in bodies[:-1]:
        _parsed(raw)
    return _parsed(bodies[-1])


def test_of_a_conversation_that_goes_on_the_latest_messages_are_parsed() -> None:
    said = _messages(44)
    call = _after(_body(said[:40]), _body(said[:40]), _body(said[:42]))
    assert 34 <= _unread(call) < 42
    assert call.prompts == 42
    assert call.body["messages"] == said[:42]


def test_what_stands_before_and_behind_the_messages_may_be_another() -> None:
    said = _messages(40)
    _after(_body(said), _body(said))
    call = _parsed(b'{"stream":true,' + _body(said, system="other", metadata={"messages": [1]})[1:])
    assert _unread(call) >= 34
    assert call.body["system"] == "other"
    assert call.stream


@each_row(
    "change",
    [
        lambda raw: raw.replace(b'"messages":[', b'"messages": ['),
        lambda raw: raw.replace(b'"0: ', b'"0; '),
        lambda raw: raw.replace(b'{"model"', b'{"x":{"messages":[{}]},"model"'),
        lambda raw: raw[:-1] + b',"messages":[{"role":"user","content":"a"}]}',
        lambda raw: raw[:-1] + b',"mess\\u0061ges":[{"role":"user","content":"a"}]}',
        lambda raw: (
            raw.replace(b'"max_tokens":99,', b"").replace(b'"messages":[', b'"max_tokens":9,"x":{"messages":[') + b"}"
        ),
    ],
)
def test_what_begins_otherwise_is_parsed_as_if_nobody_had_been_here(change: Callable[[bytes], bytes]) -> None:
    said = _messages(40)
    _after(_body(said), _body(said))
    raw = change(_body(said))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlainMessages, "hash_is_secret", False)
        expected = _outcome(raw)
    assert _outcome(raw) == expected


def test_who_learned_what_stood_for_a_beginning_cannot_put_it_anywhere() -> None:
    said = _messages(40)
    _after(_body(said), _body(said))
    read: list[bytes] = []
    parse = orjson.loads

    def noting(text: bytes) -> Any:
        read.append(text)
        return parse(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orjson, "loads", noting)
        anthropic.parse_messages(_body(said))
    token = next(body["messages"][0] for body in map(parse, read) if isinstance(body["messages"][0], str))
    raw = b'{"x":{"messages":%b},"messages":%b}' % tuple(map(orjson.dumps, (said, [token, *_messages(39)])))
    known = anthropic._PLAIN.beginnings
    begun = known.find(raw)
    assert begun is not None
    assert begun.blocks
    assert known.parse(raw, begun) is None


def _outcome(raw: bytes) -> Any:
    try:
        call = anthropic.parse_messages(raw)
    except Exception as error:
        return type(error), str(error), getattr(error, "refusal", None)
    assert not _unread(call)
    return call.body, fields.encode(call, "up").written({})


@each_row("raw", [b"\xff", b"}}", b",", b'"'])
def test_bad_json_behind_a_known_beginning_is_refused_at_its_place(raw: bytes) -> None:
    said = _messages(40)
    _after(_body(said), _body(said))
    bad = _body(said)[:-1] + raw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlainMessages, "hash_is_secret", False)
        expected = _outcome(bad)
    assert _outcome(bad) == expected


def _said_in(dialect: str, count: int) -> dict[str, Any]:
    """A body of that dialect, of words that no other test says."""
    roles = ("user", "model" if dialect == "gemini" else "assistant")
    texts = [f"{dialect} {number}: {'as nobody says, ' * 300}" for number in range(count)]
    said = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
    if dialect == "gemini":
        said = [{"role": one["role"], "parts": [{"text": one["content"]}]} for one in said]
    elif dialect == "converse":
        said = [{**one, "content": [{"text": one["content"]}]} for one in said]
    return {"model": "m", FIELDS.get(dialect, "messages"): said}


@each_row("dialect", ["chat", "anthropic", "responses", "compact", "gemini", "converse"])
def test_in_every_dialect_a_call_that_is_recognised_comes_to_the_same(dialect: str) -> None:
    """Also in machine code, which knows lists better than their classes do (`make compiled`)."""
    bodies = [orjson.dumps(_said_in(dialect, count)) for count in (40, 42)]
    odd = _said_in(dialect, 42)
    name = FIELDS.get(dialect, "messages")
    odd[name].append(7)
    bodies.append(orjson.dumps(odd))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlainMessages, "hash_is_secret", False)
        expected = [outcome(dialect, raw) for raw in bodies]
    PARSERS[dialect](bodies[0])
    call = PARSERS[dialect](bodies[1])
    assert any(type(piece) is Run for piece in call.body[name].pieces())
    assert request_digest(call) == request_digest(call._replace(body=orjson.loads(bodies[1])))
    assert [outcome(dialect, raw) for raw in bodies] == expected
    assert f"{name}[42]" in expected[2]["refused"][1]


def test_of_many_short_messages_in_one_block_no_notes_are_kept() -> None:
    said = [*[{"role": "user"}] * 1000, *_messages(80)]
    known = anthropic._PLAIN.beginnings
    _after(_body(said), _body(said))
    assert max([len(block.marks) for block in known._young.values()], default=0) <= 128
    assert not _unread(_parsed(_body(said)))


def test_a_picture_in_the_midst_is_looked_at_each_time_and_what_is_behind_it_is_known() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "aaaa"}
    said = _messages(40)
    said[20]["content"].append({"type": "image", "source": source})
    call = _after(*[_body(said)] * 5)  # beside a picture only the latest messages are looked at by themselves
    assert call.media_items == 1
    assert 33 <= _unread(call) < 40
    assert call.body["messages"] == said


def test_a_message_written_in_another_way_ends_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    said = _messages(40)
    raw = _body(said).replace(b'"20: ', b'"20\\u003a ')
    assert 10 < _unread(_after(raw, raw, raw)) <= 20


def test_where_there_is_no_room_some_are_known_and_the_others_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_beginnings, "_MOST_BLOCKS", 8)
    monkeypatch.setattr(known_beginnings, "_LIVING", 20)
    one, other, third = (
        _body([{**said, "role": role} for said in _messages(40)]) for role in ("user", "assistant", "x")
    )
    assert _unread(_after(one, one))
    assert not _unread(_after(other, other))
    assert _parsed(other).marks is None, "it is not written and hashed"
    assert _unread(_parsed(one))
    for _ in range(20):
        _parsed(one)
    assert _unread(_after(other, other)), "there is room again, of who was forgotten"
    assert _unread(_after(one, one))
    assert not _unread(_parsed(third))
