"""What frameworks write down in another spelling, or send back beside the answer, leaves a run one session."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from typing import Any

import orjson
import pytest

from proxy.budgets.guards import repeated_tool, request_digest
from proxy.ceilings.prefixes import CountedPrefixes
from proxy.dialects import tool_arguments
from proxy.dialects.reminders import without_reminders
from proxy.dialects.tool_arguments import meaning
from proxy.dialects.turns import answer_turns, turn_of
from proxy.sessions.chains import Chains
from proxy.sessions.keyed_hash import KeyedHash
from tests.support.calls import call_of
from tests.support.rows import each_row

ARGUMENTS = {"path": "src/é.py", "lines": [1, 2.0, -3.5], "nested": {"b": None, "a": "say \"hi\"\n{\"x\": 1}"}, "deep": True}  # fmt: skip
TOOLS = 6


def compact(value: Any) -> str:
    return orjson.dumps(value).decode()


def spaced(value: Any) -> str:
    return json.dumps(value)


def sorted_and_wide(value: Any) -> str:
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False)


def reversed_keys(value: Any) -> str:
    return json.dumps(dict(reversed(value.items())), separators=(" , ", " : "))


def as_javascript(value: Any) -> str:
    """`JSON.stringify` knows no 2.0."""
    return compact(value).replace("2.0", "2")


SPELLINGS = [compact, spaced, sorted_and_wide, reversed_keys, as_javascript]
Spell = Callable[[Any], str]


def answer_and_back(kind: str, number: int, told: Spell, back: Spell) -> tuple[list[Any], list[Any], Any]:
    """An answer that calls a tool, as events; what comes back of it; and the tool's result."""
    arguments, name, call_id = {"step": number, **ARGUMENTS}, "look", f"call_{number}"
    if kind == "chat":

        def message(spell: Spell) -> dict[str, Any]:
            function = {"name": name, "arguments": spell(arguments)}
            return {"role": "assistant", "content": None, "tool_calls": [{"id": call_id, "type": "function", "function": function}]}  # fmt: skip

        result = {"role": "tool", "tool_call_id": call_id, "content": f"result {number}"}
        return [{"choices": [{"index": 0, "message": message(told)}]}], [message(back)], result
    if kind == "responses":

        def item(spell: Spell) -> dict[str, Any]:
            return {"type": "function_call", "id": f"fc_{number}", "call_id": call_id, "name": name, "arguments": spell(arguments)}  # fmt: skip

        thought = {"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": "x" * 9}
        result = {"type": "function_call_output", "call_id": call_id, "output": f"result {number}"}
        sent = [thought, {"type": "item_reference", "id": f"rs_{number}"}][number % 2]
        return [{"object": "response", "output": [thought, item(told)]}], [sent, item(back)], result
    if kind == "messages":
        block = {"type": "tool_use", "id": call_id, "name": name}
        events = [
            {"type": "content_block_start", "content_block": {**block, "input": {}}},
            {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": told(arguments)}},
        ]
        result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call_id, "content": "r"}]}
        return events, [{"role": "assistant", "content": [{**block, "input": json.loads(back(arguments))}]}], result

    def content(spell: Spell) -> dict[str, Any]:
        return {"role": "model", "parts": [{"functionCall": {"name": name, "args": json.loads(spell(arguments))}}]}

    result = {"role": "user", "parts": [{"functionResponse": {"name": name, "response": {"n": number}}}]}
    return [{"candidates": [{"content": content(told)}]}], [content(back)], result


@each_row("kind", ["chat", "responses", "messages", "gemini"])
@each_row("told", SPELLINGS)
@each_row("back", SPELLINGS)
def test_a_run_of_six_tools_is_one_session(kind: str, told: Spell, back: Spell) -> None:
    known = Chains(KeyedHash(b"secret"))
    history: list[Any] = [{"role": "user", "parts": [{"text": "go"}]} if kind == "gemini" else {"role": "user", "content": "go"}]  # fmt: skip
    sessions = []
    for number in range(TOOLS):
        chain = known.conversation(call_of(kind, history), "key client")
        sessions.append(known.session(chain) or f"session-{number}")
        events, sent, result = answer_and_back(kind, number, told, back)
        known.answered(chain, answer_turns(events), sessions[-1])
        history = [*history, *sent, result]
    assert set(sessions) == {"session-0"}


def test_other_arguments_are_another_conversation() -> None:
    known = Chains(KeyedHash(b"secret"))
    user = {"role": "user", "content": "go"}
    events, sent, result = answer_and_back("chat", 1, compact, spaced)
    known.answered(known.conversation(call_of("chat", [user]), "k"), answer_turns(events), "s")
    sent[0]["tool_calls"][0]["function"]["arguments"] = spaced({"step": 2, **ARGUMENTS})
    assert known.session(known.conversation(call_of("chat", [user, *sent, result]), "k")) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("", "{}"), (None, "{}"), (" {} ", {}), ('{"a": 1.0}', {"a": 1}), ('{"a":1e3}', '{"a": 1000}'),
        ('{"a":"\\u00e9\\/"}', '{"a": "é/"}'), ('{"a":[ 1 , 2 ]}', '{"a":[1,2]}'), ('{"b":1,"a":2}', '{"a": 2, "b": 1}'),
    ],
)  # fmt: skip
def test_arguments_are_compared_by_what_they_mean(one: object, other: object) -> None:
    assert orjson.dumps(meaning(one)) == orjson.dumps(meaning(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"a": 1}', '{"a": "1"}'), ('{"a": 1.5}', '{"a": 1}'), ('{"a": "x y"}', '{"a":"x  y"}'), ('{"a":[1,2]}', '{"a":[2,1]}'),
        ('{"a": "1.0"}', '{"a": "1"}'), ('{"a":', '{"a" :'), ('{"a": true}', '{"a": 1}'), ("{}", '{"a": null}'),
        ('{"a":"{\\"b\\":1}"}', '{"a":{"b":1}}'), ("free text", "free  text"), ('"{}"', "{}"),
    ],
)  # fmt: skip
def test_what_means_something_else_stays_apart(one: str, other: str) -> None:
    assert orjson.dumps(meaning(one)) != orjson.dumps(meaning(other))


@pytest.mark.parametrize("depth", [200, 300, 2000])
def test_deep_arguments_stay_apart_and_break_nothing(depth: int) -> None:
    texts = [('{"a":' * depth) + leaf + "}" * depth for leaf in ("1", "2")]
    turns = {turn_of({"role": "assistant", "tool_calls": [{"function": {"name": "t", "arguments": text}}]}) for text in texts}  # fmt: skip
    assert len(turns) == 2


def test_arguments_of_too_many_parts_are_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    many = "[" + "[]," * tool_arguments._MAX_CONTAINERS + "0]"
    read: list[object] = []
    monkeypatch.setattr(tool_arguments.orjson, "loads", read.append)
    assert meaning(many) == many
    assert read == []


def test_arguments_within_arguments_cost_their_bytes_once() -> None:
    """Texts in texts, each with the quotes of the one inside escaped once more: only the outermost is read."""
    nested: Any = {"a": 1}
    for _ in range(10):
        nested = {"a": json.dumps(nested)}
    text = json.dumps(nested)
    turn = turn_of({"role": "assistant", "tool_calls": [{"function": {"name": "t", "arguments": text}}]})
    assert len(turn) < len(text) + 100


def test_a_guard_sees_one_call_however_it_is_spelled() -> None:
    history: list[Any] = [{"role": "user", "content": "go"}]
    for spell in SPELLINGS:
        _, sent, result = answer_and_back("chat", 1, spell, spell)
        history += [*sent, result]
    assert repeated_tool(call_of("chat", history)) == ("look", len(SPELLINGS))
    digests = {
        request_digest(call_of("chat", [history[0], *answer_and_back("chat", 1, spell, spell)[1]]))
        for spell in SPELLINGS
    }
    assert len(digests) == 1


def test_money_trusts_equal_bytes_only() -> None:
    """The bound that a provider's count gives holds for what it counted, not for what means the same."""
    known = CountedPrefixes(KeyedHash(b"secret"))
    user = {"role": "user", "content": "go"}
    told, back = ([user, *answer_and_back("chat", 1, spell, spell)[1]] for spell in (compact, spaced))
    counted = call_of("chat", told)
    known.count(known.prefixes(counted, "k", "m"), counted, 20)
    assert known.bound(known.prefixes(counted, "k", "m"), counted, "openai") == 20
    other = call_of("chat", back)
    assert known.bound(known.prefixes(other, "k", "m"), other, "openai") is None


def chat(text: str) -> list[dict[str, Any]]:
    return [{"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}]


def test_a_reminder_that_moves_leaves_a_run_one_session() -> None:
    """As aider has it: what it was told about edits stands last in each call."""
    known = Chains(KeyedHash(b"secret"))
    begin, reminder = {"role": "system", "content": "You edit."}, {"role": "system", "content": "Only diffs!"}
    history: list[Any] = []
    sessions = []
    for number in range(TOOLS):
        history.append({"role": "user", "content": f"do {number}"})
        conversation = known.conversation(call_of("chat", [begin, *history, reminder]), "k")
        sessions.append(known.session(conversation) or f"session-{number}")
        known.answered(conversation, answer_turns(chat(f"done {number}")), sessions[-1])
        history.append({"role": "assistant", "content": f"done {number}"})
    assert set(sessions) == {"session-0"}
    other = {"role": "system", "content": "You talk."}
    assert known.session(known.conversation(call_of("chat", [other, *history, reminder]), "k")) is None


@pytest.mark.parametrize("kind", ["chat", "responses", "messages", "gemini"])
def test_tool_calls_that_come_back_as_text_leave_a_run_one_session(kind: str) -> None:
    """As smolagents has it: an assistant's text, and the observation from the user."""
    known = Chains(KeyedHash(b"secret"))

    def said(role: str, text: str) -> dict[str, Any]:
        if kind == "gemini":
            return {"role": "model" if role == "assistant" else role, "parts": [{"text": text}]}
        return {"role": role, "content": text}

    history: list[Any] = [said("user", "go")]
    sessions = []
    for number in range(TOOLS):
        conversation = known.conversation(call_of(kind, history), "k")
        sessions.append(known.session(conversation) or f"session-{number}")
        events, _, _ = answer_and_back(kind, number, compact, compact)
        known.answered(conversation, answer_turns(events), sessions[-1])
        history += [said("assistant", f"Calling tools:\n[{number}]"), said("user", f"Observation: {number}")]
    assert set(sessions) == {"session-0"}
    assert known.session(known.conversation(call_of(kind, history[:1]), "k")) is None, "a run that begins anew"
    assert known.session(known.conversation(call_of(kind, history), "another key")) is None


def test_a_text_that_was_broken_off_or_ended_by_its_client_is_the_same_answer() -> None:
    known = Chains(KeyedHash(b"secret"))
    user, text = {"role": "user", "content": "go"}, "Thought: I have to look at the file first. <code>look()"
    known.answered(known.conversation(call_of("chat", [user]), "k"), answer_turns(chat(text)), "s")
    for back, session in ((f"{text}</code>", "s"), (text[:-4], "s"), ("Another answer", None)):
        longer = call_of("chat", [user, {"role": "assistant", "content": back}, user])
        assert known.session(known.conversation(longer, "k")) == session


AIDER = [
    {"role": "system", "content": "Act as an expert software developer."},
    {"role": "user", "content": "Change the greeting to be more casual"},
    {"role": "assistant", "content": "Ok, I will."},
    {"role": "user", "content": "I switched to a new code base."},
    {"role": "assistant", "content": "Ok."},
]


def test_files_and_reminders_that_move_leave_a_run_one_session() -> None:
    """As aider 0.86.2 has it: files stand before the latest question, which ends with a reminder; answers come back stripped."""
    known = Chains(KeyedHash(b"secret"))

    def run(task: str, chats: int) -> list[str]:
        done: list[Any] = []
        sessions = []
        for number in range(chats):
            files = [{"role": "user", "content": f"*added these files*\nversion {number}"}, {"role": "assistant", "content": "Ok."}]  # fmt: skip
            asked = f"{task} {number}"
            sent = [*AIDER, *done, *files, {"role": "user", "content": f"{asked}\n\nTo suggest changes, ..."}]
            conversation = known.conversation(call_of("chat", sent), "k")
            sessions.append(known.session(conversation) or f"{task}-{number}")
            known.answered(conversation, answer_turns(chat(f"a.txt\n```\n{task} {number}\n```\n")), sessions[-1])
            done += [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": f"a.txt\n```\n{task} {number}\n```"},
                {"role": "user", "content": "I updated the files."},
                {"role": "assistant", "content": "Ok."},
            ]
        return sessions

    assert run("hello", TOOLS) == ["hello-0"] * TOOLS
    assert run("goodbye", TOOLS) == ["goodbye-0"] * TOOLS


def test_the_same_answer_to_another_question_is_another_conversation() -> None:
    known = Chains(KeyedHash(b"secret"))
    system = {"role": "system", "content": "be brief"}
    known.answered(known.conversation(call_of("chat", [system, {"role": "user", "content": "one"}]), "k"), answer_turns(chat("Yes, of course.")), "s")  # fmt: skip
    back = {"role": "assistant", "content": "Yes, of course."}

    def session(prompt: str, asked: str) -> str | None:
        messages = [{"role": "system", "content": prompt}, {"role": "user", "content": "before"}, back, {"role": "user", "content": asked}, back]  # fmt: skip
        return known.session(known.conversation(call_of("chat", messages), "k"))

    assert [session("be brief", "two"), session("be long", "one"), session("be brief", "one")] == [None, None, "s"]


def test_what_a_client_that_rewrites_all_asks_is_bounded() -> None:
    known = Chains(KeyedHash(b"secret"))
    talk = [{"role": role, "content": f"{n}"} for n in range(2000) for role in ("user", "assistant")]
    conversation = known.conversation(call_of("chat", talk), "k")
    names = [*chain.from_iterable(known._names(conversation))]
    assert len(names) == len(set(names)) <= len(talk) + 64
    assert len(known.asked_elsewhere(conversation)) == 64
    assert known.asked_elsewhere(known.conversation(call_of("chat", talk[:1]), "k")) == []


@pytest.mark.parametrize("where", ["block before", "block behind", "in the text", "a message"])
@pytest.mark.parametrize("kind", ["chat", "messages"])
def test_a_reminder_in_what_the_user_says_may_move(kind: str, where: str) -> None:
    """As Claude Code and those that follow it: the reminder stands with the latest question, and is gone from those before."""
    known = Chains(KeyedHash(b"secret"))
    said: list[str] = []
    sessions = []
    for number in range(TOOLS):
        said.append(f"do {number}")
        history: list[Any] = []
        for place, text in enumerate(said):
            content: Any = text if where in ("in the text", "a message") else [{"type": "text", "text": text}]
            reminder = f"<system-reminder>\nTodo list of call {number}\n</system-reminder>"
            last = place == number
            if last and where == "in the text":
                content = f"{reminder}\n{text}"
            if last and where.startswith("block"):
                content.insert(0 if where == "block before" else 1, {"type": "text", "text": reminder})
            history.append({"role": "user", "content": content})
            if last and where == "a message":
                history.append({"role": "user", "content": reminder})
            if not last:
                history.append({"role": "assistant", "content": f"done {place}"})
        conversation = known.conversation(call_of(kind, history), "k")
        sessions.append(known.session(conversation) or f"session-{number}")
        known.answered(conversation, answer_turns(chat(f"done {number}")), sessions[-1])
    assert set(sessions) == {"session-0"}


@pytest.mark.parametrize(
    "text", ["<system-reminder>", "</system-reminder> a <system-reminder>", "<system-reminder>" * 9, "a"]
)
def test_what_is_no_whole_reminder_stays(text: str) -> None:
    message = {"role": "user", "content": text}
    assert without_reminders(message) == message


def test_many_openings_cost_their_bytes_once() -> None:
    text = "<system-reminder>" * 200_000
    assert without_reminders({"role": "user", "content": text})["content"] == text


def legacy(text: str, number: int) -> dict[str, Any]:
    return {"function_call": {"name": "look", "arguments": text}}


def custom(text: str, number: int) -> dict[str, Any]:
    return {
        "tool_calls": [
            {"index": 0, "id": f"call_{number}", "type": "custom", "custom": {"name": "look", "input": text}}
        ]
    }


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("call", [legacy, custom])
def test_older_and_custom_tools_are_one_session_and_told_apart(
    call: Callable[[str, int], dict[str, Any]], streamed: bool
) -> None:
    known = Chains(KeyedHash(b"secret"))
    history: list[Any] = [{"role": "user", "content": "go"}]
    sessions = []
    for number in range(TOOLS):
        conversation = known.conversation(call_of("chat", history), "k")
        sessions.append(known.session(conversation) or f"session-{number}")
        text = json.dumps({"step": number}, separators=(",", ":"))
        events: list[Any] = [
            {"choices": [{"index": 0, "message": {"role": "assistant", "content": None, **call(text, number)}}]}
        ]
        if streamed:
            pieces = [call(text[:4], number), call(text[4:], number)]
            events = [{"choices": [{"index": 0, "delta": {"content": None, **piece}}]} for piece in pieces]
        known.answered(conversation, answer_turns(events), sessions[-1])
        # A custom tool's input has no form to be rewritten in.
        back = json.dumps({"step": number}) if call is legacy else text
        result = (
            {"role": "function", "name": "look"}
            if call is legacy
            else {"role": "tool", "tool_call_id": f"call_{number}"}
        )
        history += [{"role": "assistant", "content": None, **call(back, number)}, {**result, "content": f"r {number}"}]
    assert set(sessions) == {"session-0"}
    other = [*history[:1], {"role": "assistant", "content": None, **call('{"step": 99}', 0)}, *history[2:3]]
    assert known.session(known.conversation(call_of("chat", other), "k")) is None


def test_a_guard_tells_older_calls_apart() -> None:
    history: list[Any] = [{"role": "user", "content": "go"}]
    turns = {turn_of({"role": "assistant", "content": None, **legacy(f'{{"n":{n}}}', n)}) for n in range(3)}
    assert len(turns) == 3
    assert (
        len({request_digest(call_of("chat", [*history, {"role": "assistant", **legacy(str(n), n)}])) for n in range(3)})
        == 3
    )
