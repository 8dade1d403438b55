"""Conversations known by their beginnings: an answer reads the same when it comes back, whatever the dialect and its client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from proxy.ceilings.prefixes import CountedPrefixes
from proxy.dialects.turns import answer_turns, has_no_answer, turn_of
from proxy.sessions.chains import Beginning, Chains
from proxy.sessions.keyed_hash import KeyedHash
from proxy.types import Call
from tests.support.calls import call_of
from tests.support.rows import each_row


def chunk(**delta: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}


TOOL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "x"}'}}
USER = {"role": "user", "content": "hello"}
GEMINI_USER = {"role": "user", "parts": [{"text": "hello"}]}
CLAUDE_BLOCKS = [
    {"type": "thinking", "thinking": "hm", "signature": "s"},
    {"type": "text", "text": "Let me look."},
    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "x", "deep": True}},
]
RESPONSE_OUTPUT = [
    {"type": "reasoning", "id": "rs_1", "summary": []},
    {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [{"type": "output_text", "text": "hi", "annotations": []}]},
    {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "look", "arguments": "{}", "status": "completed"},
]  # fmt: skip

# (what the answer was, as events or a whole body; what the client sends back of it)
ANSWERS: list[tuple[str, list[Any], list[Any]]] = [
    ("chat", [{"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi", "refusal": None}}]}], [{"role": "assistant", "content": "hi"}]),
    ("chat", [chunk(role="assistant", content=""), chunk(content="h"), chunk(content="i"), {"choices": [], "usage": {}}], [{"role": "assistant", "content": [{"type": "text", "text": "hi"}]}]),
    ("chat", [{"choices": [{"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [TOOL]}}]}], [{"role": "assistant", "tool_calls": [TOOL | {"id": "renamed"}]}]),
    (
        "chat",
        [
            chunk(role="assistant", content=None, tool_calls=[{"index": 0, "id": "call_1", "function": {"name": "look", "arguments": ""}}]),
            chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"at":'}}]),
            chunk(tool_calls=[{"index": 0, "function": {"arguments": ' "x"}'}}]),
        ],
        [{"role": "assistant", "content": None, "tool_calls": [TOOL]}],
    ),
    ("messages", [{"type": "message", "role": "assistant", "content": CLAUDE_BLOCKS}], [{"role": "assistant", "content": CLAUDE_BLOCKS[1:]}]),
    (
        "messages",
        [
            {"type": "message_start", "message": {"role": "assistant", "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Let me "}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "look."}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "look", "input": {}}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"at":"x",'}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '"deep":true}'}},
        ],
        [{"role": "assistant", "content": [CLAUDE_BLOCKS[1], CLAUDE_BLOCKS[2] | {"cache_control": {"type": "ephemeral"}}]}],
    ),
    ("responses", [{"object": "response", "output": RESPONSE_OUTPUT}], RESPONSE_OUTPUT[1:]),
    ("responses", [{"type": "response.created", "response": {"object": "response", "output": []}}, {"type": "response.completed", "response": {"object": "response", "output": RESPONSE_OUTPUT}}], RESPONSE_OUTPUT[1:]),
    (
        "gemini",
        [{"candidates": [{"content": {"role": "model", "parts": [{"text": "h"}]}}]}, {"candidates": [{"content": {"role": "model", "parts": [{"text": "i"}]}}]}],
        [{"role": "model", "parts": [{"text": "hi"}]}],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "events", "back"), ANSWERS)
def test_a_call_that_carries_an_answer_on_is_of_its_session(kind: str, events: list[Any], back: list[Any]) -> None:
    known = Chains(KeyedHash(b"secret"))
    user = GEMINI_USER if kind == "gemini" else USER
    first = known.conversation(call_of(kind, [user]), "key client")
    assert known.session(first) is None
    known.answered(first, answer_turns(events), "session-1")
    more = {"role": "user", "parts": [{"text": "go on"}]} if kind == "gemini" else {"role": "user", "content": "go on"}
    assert known.session(known.conversation(call_of(kind, [user, *back, more]), "key client")) == "session-1"
    assert known.session(known.conversation(call_of(kind, [user, *back, more]), "another key")) is None
    assert known.session(known.conversation(call_of(kind, [user, more]), "key client")) is None, (
        "its answer is not there"
    )


def test_the_same_beginning_without_the_answer_is_another_conversation() -> None:
    known = Chains(KeyedHash(b"secret"))
    first = known.conversation(call_of("chat", [USER]), "k")
    known.answered(first, answer_turns([{"choices": [{"index": 0, "message": {"content": "hi"}}]}]), "s")
    other = call_of("chat", [USER, {"role": "assistant", "content": "hello"}, USER])
    assert known.session(known.conversation(other, "k")) is None


def test_another_system_prompt_is_another_conversation() -> None:
    known = Chains(KeyedHash(b"secret"))
    answer = answer_turns([{"type": "message", "content": [{"type": "text", "text": "hi"}]}])
    back = [USER, {"role": "assistant", "content": "hi"}, USER]
    known.answered(known.conversation(call_of("messages", [USER], system="be brief"), "k"), answer, "s")
    assert known.session(known.conversation(call_of("messages", back, system="be brief"), "k")) == "s"
    assert known.session(known.conversation(call_of("messages", back, system="be long"), "k")) is None


def bound_of(known: CountedPrefixes, call: Call, model: str = "m", provider: str = "openai") -> int | None:
    return known.bound(known.prefixes(call, "k", model), call, provider)


def test_a_count_bounds_what_begins_with_it() -> None:
    known = CountedPrefixes(KeyedHash(b"secret"))
    first = call_of("messages", [USER], tools=[{"name": "t", "input_schema": {}}])
    known.count(known.prefixes(first, "k", "m"), first, 5000)
    answer = {"role": "assistant", "content": "hi"}
    longer = call_of(
        "messages", [USER, answer], tools=[{"name": "t", "input_schema": {}, "cache_control": {"type": "ephemeral"}}]
    )
    bound = bound_of(known, longer)
    assert bound is not None
    assert 5000 + len(orjson.dumps(answer)) <= bound < 5100
    other_tools = call_of("messages", [USER, answer], tools=[{"name": "t2", "input_schema": {}}])
    assert bound_of(known, other_tools) is None
    image = {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}]}
    with_image = call_of("messages", [USER, answer, image], tools=[{"name": "t", "input_schema": {}}])
    assert bound_of(known, with_image) is None


LONG = "x" * 9000
MARK = {"type": "ephemeral", "ttl": "1h"}
PLAIN = {
    "chat": [USER],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
    "responses": [USER],
    "gemini": [GEMINI_USER],
}
# What a client could hide from a count: each grows the input, though its messages read as they did.
HIDDEN: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("chat", [USER | {"reasoning_content": LONG}], {}),
    ("chat", [USER | {"name": LONG}], {}),
    ("chat", [USER], {"tools": [{"type": "function", "function": {"name": "t", "description": LONG}}]}),
    ("chat", [USER], {"response_format": {"type": "json_schema", "json_schema": {"name": LONG}}}),
    ("messages", [{"role": "user", "content": [{"type": "thinking", "thinking": LONG, "signature": "s"}, {"type": "text", "text": "hello"}]}], {}),
    ("messages", [{"role": "user", "content": [{"type": "text", "text": "hello", "citations": [LONG]}]}], {}),
    ("messages", [{"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": {"type": LONG}}]}], {}),
    ("messages", PLAIN["messages"], {"context_management": {"edits": []}}),
    ("responses", [{"type": "reasoning", "encrypted_content": LONG}, USER], {}),
    ("responses", [USER], {"previous_response_id": "resp_long"}),
    ("gemini", [{"role": "user", "parts": [{"text": LONG, "thought": True}, {"text": "hello"}]}], {}),
    ("gemini", [GEMINI_USER], {"generationConfig": {"responseSchema": {"description": LONG}}}),
    ("gemini", [GEMINI_USER], {"systemInstruction": {"parts": [{"text": LONG}]}}),
]  # fmt: skip


@each_row(("kind", "messages", "more"), HIDDEN)
def test_nothing_that_the_model_reads_can_be_hidden_behind_a_count(
    kind: str, messages: list[Any], more: dict[str, Any]
) -> None:
    known = CountedPrefixes(KeyedHash(b"secret"))
    short, longer = call_of(kind, PLAIN[kind]), call_of(kind, messages, **more)
    longer = longer._replace(media_items=short.media_items)
    known.count(known.prefixes(short, "k", "m"), short, 20)
    assert bound_of(known, short) == 20
    assert bound_of(known, longer) is None


def test_cache_marks_that_move_leave_a_count_good() -> None:
    known = CountedPrefixes(KeyedHash(b"secret"))
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "text", "text": "r", "cache_control": MARK}],
    }
    first = call_of(
        "messages", [{"role": "user", "content": [result, {"type": "text", "text": "hello", "cache_control": MARK}]}]
    )
    known.count(known.prefixes(first, "k", "m"), first, 20)
    moved = {**result, "content": [{"type": "text", "text": "r"}], "cache_control": {"type": "ephemeral"}}
    assert (
        bound_of(known, call_of("messages", [{"role": "user", "content": [moved, {"type": "text", "text": "hello"}]}]))
        == 20
    )


def test_a_count_of_another_model_says_nothing() -> None:
    known = CountedPrefixes(KeyedHash(b"secret"))
    call = call_of("chat", [USER])
    known.count(known.prefixes(call, "k", "acme/m"), call, 20)
    assert bound_of(known, call, model="acme/m") == 20
    assert bound_of(known, call, model="acme/m2") is None


def test_new_text_that_a_tokenizer_may_rewrite_counts_as_what_it_may_become() -> None:
    known = CountedPrefixes(KeyedHash(b"secret"))
    first = call_of("chat", [USER])
    known.count(known.prefixes(first, "k", "m"), first, 20)
    longer = call_of("chat", [USER, {"role": "user", "content": "\ufdfa" * 1000}])
    ours, theirs = bound_of(known, longer), bound_of(known, longer, provider="anthropic")
    assert ours is not None
    assert theirs is not None
    assert ours < 3200 < 30_000 < theirs


def test_a_deep_nest_is_no_trouble() -> None:
    deep: Any = []
    for _ in range(245):
        deep = [deep]
    nested = call_of(
        "messages",
        [{"role": "user", "content": [{"type": "x", "y": deep}]}],
        tools=[{"name": "t", "input_schema": {"d": deep}}],
    )
    assert Chains(KeyedHash(b"s")).conversation(nested, "k").digests
    assert CountedPrefixes(KeyedHash(b"s")).prefixes(nested, "k", "m").digests


def test_no_text_is_kept_and_the_latest_are() -> None:
    chains, prefixes = Chains(KeyedHash(b"secret"), most=5), CountedPrefixes(KeyedHash(b"secret"), most=5)
    for number in range(20):
        call = call_of("chat", [{"role": "user", "content": f"confidential {number}"}])
        chains.answered(chains.conversation(call, "k"), [b"confidential answer"], f"s{number}")
        prefixes.count(prefixes.prefixes(call, "k", "m"), call, 1)
    assert len(chains._sessions) == len(prefixes._counted) == 5
    assert all(type(name) is int for name in chains._sessions._table)
    assert b"confidential" not in b"".join(prefixes._counted._table)


@pytest.mark.parametrize("odd", [None, 5, "text", [], {}, {"role": 5, "content": {"a": 1}}, {"content": [1, None, {"type": "tool_use"}], "tool_calls": [3]}])  # fmt: skip
def test_a_strange_message_is_a_turn_too(odd: Any) -> None:
    assert isinstance(turn_of(odd), bytes)


@pytest.mark.parametrize(
    "events",
    [
        [], [None, 5, "x"], [{}], [{"choices": "no"}], [{"choices": [None, {"delta": None}, {"delta": {"tool_calls": [None, {"index": -1, "function": {}}, {"index": 10**9, "function": {}}]}}]}],
        [{"candidates": [None]}], [{"candidates": [{"content": {"parts": [5]}}]}], [{"type": "message", "content": [5]}],
        [{"type": "content_block_delta", "delta": {"text": "x"}}], [{"type": "content_block_start", "content_block": 5}],
    ],
)  # fmt: skip
def test_a_strange_answer_breaks_nothing(events: list[Any]) -> None:
    assert isinstance(answer_turns(events), list)


def test_what_is_remembered_of_one_key_is_no_other_keys() -> None:
    known, fresh = Chains(KeyedHash(b"secret")), Chains(KeyedHash(b"secret"))
    said = call_of("chat", [{"role": "user", "content": "hi"}])
    for whose in ("a curl", "b curl", "a codex", "a curl"):
        assert known.conversation(said, whose).digests == fresh.conversation(said, whose).digests
        fresh = Chains(KeyedHash(b"secret"))
    assert known.conversation(said, "a curl").digests != known.conversation(said, "b curl").digests


LONG = "A long line of a file.\nAnd another.\n" * 500


@pytest.mark.parametrize(
    "written",
    [
        lambda text: {"role": "tool", "tool_call_id": "c", "content": text},
        lambda text: {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": text}]},
        lambda text: {"type": "function_call_output", "call_id": "c", "output": text},
        lambda text: {"role": "assistant", "content": [{"type": "text", "text": text}]},
        lambda text: {"role": "model", "parts": [{"text": text}]},
    ],
)
def test_a_long_text_is_known_by_a_digest_of_all_of_it(written: Callable[[str], dict[str, Any]]) -> None:
    turn = turn_of(written(LONG))
    assert len(turn) < 1000
    assert turn == turn_of(written(LONG))
    assert turn == turn_of(written(LONG + "\n"))  # nobody's turns are told apart by what stands behind them
    assert turn not in {
        turn_of(written(text)) for text in (LONG + "x", LONG.replace("another", "AnotheR", 1), LONG[:-40], "x" + LONG)
    }
    assert turn != turn_of(written(LONG.replace("line", "LINE", 300).replace("LINE", "line", 299)))


def test_a_long_answer_comes_back_in_blocks_or_whole_and_begins_as_it_did() -> None:
    (told,) = answer_turns([{"choices": [{"index": 0, "message": {"role": "assistant", "content": LONG}}]}])
    assert told == turn_of({"role": "assistant", "content": [{"type": "text", "text": LONG}]})
    assert told.startswith(b'["assistant","A long line of a file.\\n')


def test_a_conversation_that_was_read_before_reads_the_same() -> None:
    """What of a long one is recognised, grown, cut, changed in its middle or another's, has the digests that it has anew."""
    keyed = KeyedHash(b"k" * 32)
    chains = Chains(keyed)
    long = [{"role": ("user", "assistant")[number % 2], "content": f"{number} " * 2000} for number in range(40)]
    text = long[20]["content"]
    changed = [*long[:20], {"role": "user", "content": f"{text[:3000]}7{text[3001:]}"}, *long[21:]]
    system = [{"role": "system", "content": "be brief"}, *long]
    for whose in ("one", "other"):
        for messages in (
            long[:3],
            long[:20],
            long,
            long,
            changed,
            long[:38],
            system,
            [*long, *changed],
            long * 13,
            long,
        ):
            call = call_of("chat", messages)
            other = Chains(keyed)
            again, anew = chains.conversation(call, whose), other.conversation(call, whose)
            assert list(again.digests) == list(anew.digests)
            assert (again.replies, again.system, again.asked) == (anew.replies, anew.system, anew.asked)
            assert [*map(list, chains._names(again))] == [*map(list, other._names(anew))]
    as_it_was, as_it_is = [
        chains.conversation(call_of("chat", messages), "one").digests for messages in (long, changed)
    ]
    assert [one == other for one, other in zip(as_it_was, as_it_is, strict=True)] == [True] * 20 + [False] * 20


ODD_MESSAGES: list[tuple[str, list[Any]]] = [
    ("chat", [{"role": "model", "content": "hi"}]),
    ("chat", [USER, {"role": "tool", "tool_call_id": "c", "content": "x"}]),
    ("chat", [USER, {"content": "x"}]),
    ("responses", [{"type": "function_call", "role": "user", "name": "f", "arguments": "{}", "call_id": "c"}]),
    ("responses", [{"role": "user", "content": "x"}, {"type": "reasoning", "id": "rs_1", "summary": []}]),
    ("gemini", [{"parts": [{"text": "x"}]}]),
    ("chat", [USER] * 40),
]


def test_what_is_seen_to_have_no_answer_has_none() -> None:
    known = Chains(KeyedHash(b"k" * 32))
    rows = [(kind, [gemini_or(kind), *back]) for kind, _, back in ANSWERS]
    rows += [(kind, messages) for kind, row in rows for messages in (row[:1], row * 2)] + ODD_MESSAGES
    seen = []
    for kind, messages in rows:
        call = call_of(kind, messages)
        if has_no_answer(call):
            seen.append(kind)
            assert not known.conversation(call, "k").replies
    assert {"chat", "messages", "responses", "gemini"} <= set(seen)
    assert not has_no_answer(call_of("chat", [USER, {"role": "assistant", "content": "hi"}]))


def gemini_or(kind: str) -> dict[str, Any]:
    return GEMINI_USER if kind == "gemini" else USER


def test_a_beginning_is_noted_as_the_conversation_that_it_is() -> None:
    call, answer = call_of("chat", [USER]), answer_turns([{"choices": [{"message": {"content": "hi"}}]}])
    known = [Chains(KeyedHash(b"k" * 32)) for _ in range(2)]
    beginning = Beginning(call, "k")
    assert known[0].answered(beginning, answer, "s") == known[1].answered(known[1].conversation(call, "k"), answer, "s")
    assert beginning.read(known[0]) is beginning.read(known[0])
