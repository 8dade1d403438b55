"""Bedrock's conversations read the same when they come back, in the form of whoever made the model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.dialects import find
from proxy.dialects.turns import answer_turns
from proxy.sessions.chains import Chains
from proxy.sessions.keyed_hash import KeyedHash
from proxy.types import Call

USE = {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"at": "x", "deep": True}}}
THOUGHT = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}


def call_of(action: str, body: dict[str, Any]) -> Call:
    endpoint = find("POST", f"/model/m/{action}", b"")
    assert endpoint is not None
    return endpoint.parse(json.dumps(body).encode())


def delta(index: int, **what: Any) -> dict[str, Any]:
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": what}}


def llama(*turns: tuple[str, str], marks: tuple[str, str, str] = ("start_header_id", "end_header_id", "eot_id")) -> str:
    opening, closing, end = (f"<|{mark}|>" for mark in marks)
    said = "".join(f"{opening}{role}{closing}\n\n{text}{end}" for role, text in turns)
    return f"<|begin_of_text|>{said}{opening}assistant{closing}\n\n"


# What is asked, what comes back (events or a whole answer), and what is asked then.
WHOLE = {"output": {"message": {"role": "assistant", "content": [THOUGHT, {"text": "Let me look."}, USE]}}}
STREAM = [
    {"messageStart": {"role": "assistant"}},
    delta(0, reasoningContent={"text": "hm"}),
    delta(1, text="Let me "),
    delta(1, text="look."),
    {"contentBlockStop": {"contentBlockIndex": 1}},
    {"contentBlockStart": {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t1", "name": "look"}}}},
    delta(2, toolUse={"input": '{"at":"x",'}),
    delta(2, toolUse={"input": '"deep":true}'}),
    {"messageStop": {"stopReason": "tool_use"}},
]
ASKED = {"messages": [{"role": "user", "content": [{"text": "hello"}, {"cachePoint": {"type": "default"}}]}]}
AGAIN = {
    "messages": [
        {"role": "user", "content": [{"text": "hello"}]},
        {"role": "assistant", "content": [{"text": "Let me look."}, USE, {"cachePoint": {"type": "default"}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "a zebra"}]}}]},
    ]
}
HAIKU = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9}
NOVA = {"schemaVersion": "messages-v1", "inferenceConfig": {"maxTokens": 9}}
SAYS = {"prompt": llama(("system", "Be kind."), ("user", "hello")), "max_gen_len": 9}
LLAMA4 = ("header_start", "header_end", "eot")
CARRIED_ON: list[tuple[str, dict[str, Any], list[Any], dict[str, Any]]] = [
    ("converse", ASKED, [WHOLE], AGAIN),
    ("converse-stream", ASKED, STREAM, AGAIN),
    ("invoke", NOVA | ASKED, [WHOLE], NOVA | AGAIN),
    ("invoke-with-response-stream", NOVA | ASKED, STREAM, NOVA | AGAIN),
    (
        "invoke",
        HAIKU | {"messages": [{"role": "user", "content": "hello"}]},
        [{"type": "message", "role": "assistant", "content": [{"type": "text", "text": "hi"}]}],
        HAIKU | {"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "x"}]},
    ),
    (
        "invoke", SAYS, [{"generation": "\n\nhi there", "stop_reason": "stop"}],
        SAYS | {"prompt": llama(("system", "Be kind."), ("user", "hello"), ("assistant", "hi there"), ("user", "x"))},
    ),
    (
        "invoke", SAYS | {"prompt": llama(("user", "hello"), marks=LLAMA4)}, [{"generation": "hi "}, {"generation": "there"}],
        SAYS | {"prompt": llama(("user", "hello"), ("assistant", "hi there"), ("user", "x"), marks=LLAMA4)},
    ),
    (
        "invoke", {"prompt": "<s>[INST] hello [/INST]", "max_tokens": 9}, [{"outputs": [{"text": " hi", "stop_reason": "stop"}]}],
        {"prompt": "<s>[INST] hello [/INST] hi</s>[INST] x [/INST]", "max_tokens": 9},
    ),
    (
        "invoke", {"prompt": "\n\nHuman: hello\n\nAssistant:", "max_tokens_to_sample": 9}, [{"completion": " hi", "stop": "x"}],
        {"prompt": "\n\nHuman: hello\n\nAssistant: hi\n\nHuman: x\n\nAssistant:", "max_tokens_to_sample": 9},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("action", "asked", "told", "then"), CARRIED_ON)
def test_a_call_that_carries_an_answer_on_is_of_its_session(
    action: str, asked: dict[str, Any], told: list[Any], then: dict[str, Any]
) -> None:
    known = Chains(KeyedHash(b"secret"))
    known.answered(known.conversation(call_of(action, asked), "key client"), answer_turns(told), "s1")

    assert known.session(known.conversation(call_of(action, then), "key client")) == "s1"
    assert known.session(known.conversation(call_of(action, then), "other client")) is None
    other = json.loads(json.dumps(then).replace("hi", "bye").replace("Let me", "May I").replace("hello", "good day"))
    assert known.session(known.conversation(call_of(action, other), "key client")) is None


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("invoke", {"inputText": "x", "dimensions": 256}),
        ("invoke", {"taskType": "TEXT_IMAGE", "textToImageParams": {"text": "x"}}),
        ("invoke", {"prompt": ""}),
        ("invoke", {"prompt": "<|start_header_id|>", "max_gen_len": 9}),
        ("converse", {"messages": [{"role": "user", "content": [{}, {"toolUse": 1}, {"toolResult": {"content": 5}}]}]}),
        ("converse", {"messages": [{"role": "user", "content": [{"guardContent": 5}, {"citationsContent": []}]}]}),
    ],
)
def test_what_is_no_conversation_breaks_nothing(action: str, body: dict[str, Any]) -> None:
    chains = Chains(KeyedHash(b"s"))
    call = call_of(action, body)

    assert chains.session(chains.conversation(call, "k")) is None


@pytest.mark.parametrize(
    "events",
    [
        [{"output": 5}], [{"output": {"message": {"content": "x"}}}], [{"contentBlockDelta": 5}], [{"contentBlockStart": {"start": {"toolUse": {}}}}],
        [delta(0, toolUse={"input": 5})], [{"generation": 5}], [{"outputs": [5]}, {"results": []}], [None, 5],
    ],
)  # fmt: skip
def test_a_strange_answer_breaks_nothing(events: list[Any]) -> None:
    assert isinstance(answer_turns(events), list)
